"""One reconciliation sees the loss, then a person recovers: the list is complete, each entry has its incident, and nothing moves."""

import json
import re
from collections import Counter

from tests.proofs.black_box.orders import body
from tests.proofs.storms import roles_down
from tests.proofs.storms.data_loss import DataLoss
from tests.proofs.storms.scenarios.restored.before import TOTALS
from tests.proofs.storms.storm import Storm

ALONE_UP_TO = 50  # findings of one cause; more of them are one incident (docs/reconcile.md)
NOT_TAKEN = (503, "orders_not_taken")
INCIDENTS = "SELECT subject, kind, step, amount_minor FROM orders_incident WHERE code = 'restored' AND state = 'open'"
UNKNOWN = (
    "SELECT subject, amount_minor, count FROM orders_incident WHERE code = 'unknown_order' AND kind = 'orphan_payment' AND state = 'open'"
)
CLOSED = "SELECT outcome FROM orders_incident WHERE kind = 'forgotten_orders'"
LINE = re.compile(r"(ORD-\d+): (unknown_order: )?.*?(?:\(€([\d,]+\.\d\d) at risk\))?")
SUMMARY = re.compile(
    r"(\d+) open orders: (\d+) go on by themselves, (\d+) wait for a person as before, (\d+) become a person's; "
    r"(\d+) orders are known to providers only"
)


def it_is_seen(storm: Storm, found: DataLoss) -> None:
    """One reconciliation finds it, with its amount; from then on no order is taken, and doctor says what to do."""
    shop = storm.shop
    code, report = shop.reconcile()
    findings = sorted((one["rule"], one["amount_minor"]) for one in report["findings"])
    alone = [("unknown_order", left) for number, left in found.held.items() if number not in found.newer]
    expected = sorted([*alone, ("forgotten_orders", sum(found.held.values()) - sum(left for _, left in alone))])
    storm.expect((code, findings) == (1, expected), f"the first reconciliation exits with {code} and finds {findings}, not {expected}")
    roles_down.bring_up(storm, "web")
    answers = [shop.post(body()) for _ in range(3)]
    refused = sum((answer.status_code, answer.json().get("code")) == NOT_TAKEN for answer in answers)
    storm.expect(refused == len(answers), f"orders were answered {Counter(answer.status_code for answer in answers)}")
    doctor = [one for one in json.loads(shop.manage("doctor", "--json").stdout)["findings"] if one["what"] == "recovery"]
    storm.expect([one["level"] for one in doctor] == ["FAIL"], f"doctor says of it: {doctor}")
    storm.diagnostics.take("the database was restored", min(found.differing or found.known))
    storm.diagnosed()
    too_early = shop.manage("recover", "--restored", "--yes")
    storm.expect(too_early.returncode == 1 and "Still at work" in too_early.stderr, f"with the web at work: {too_early.stderr}")
    roles_down.take_down(storm, "web")
    roles_down.wait_until_nobody_is_at_work(storm)
    storm.counts |= {"seen at the first reconciliation": len(findings), "orders refused": refused}


def a_person_recovers(storm: Storm, found: DataLoss) -> None:
    """Shown first, then done: the same list, nothing is missing in it, and nothing of it moves."""
    shown = storm.shop.manage("recover", "--restored", within_s=540)
    storm.expect(shown.returncode == 0 and "Nothing was done." in shown.stdout, f"recover exits with {shown.returncode}: {shown.stderr}")
    _the_list_is_complete(storm, found, shown.stdout)
    done = storm.shop.manage("recover", "--restored", "--yes", within_s=540)
    storm.expect(done.returncode == 0 and "Done." in done.stdout, f"recover --yes exits with {done.returncode}: {done.stderr}")
    _the_list_is_complete(storm, found, done.stdout)
    storm.expect(storm.shop.effects() == found.effects, "the recovery itself has moved something at the provider")
    storm.expect(storm.shop.sql(CLOSED) == [("recovered",)], f"the incident of the forgotten orders ended as {storm.shop.sql(CLOSED)}")
    _each_has_its_incident(storm, found)
    storm.needs_person = set(found.held)


def _the_list_is_complete(storm: Storm, found: DataLoss, printed: str) -> None:
    """With amounts."""
    lines = [line for line in map(LINE.fullmatch, printed.splitlines()) if line]
    open_orders, unknown = ({line[1]: _minor(line[3]) for line in lines if bool(line[2]) == is_unknown} for is_unknown in (False, True))
    for what, listed, due in (
        ("differ", open_orders, dict(storm.shop.sql(TOTALS, list(found.differing)))),
        ("are held by the provider alone", unknown, found.held),
    ):
        storm.expect_none(
            f"{what}, and are not listed, or not with what is at risk",
            {number for number in due if listed.get(number) != due[number]},
        )
        storm.expect_none(f"are listed, and nothing shows that they {what}", listed.keys() - due.keys())
    counted = SUMMARY.search(printed)
    differing, waiting = len(found.differing), len(found.waiting)
    expected = (len(found.state), len(found.state) - waiting - differing, waiting, differing, len(found.newer))
    storm.expect(counted is not None and tuple(map(int, counted.groups())) == expected, f"it counts {printed[-300:]}, not {expected}")
    storm.counts |= {"listed": len(open_orders) + len(unknown), "of them open": len(open_orders)}


def _minor(euros: str | None) -> int:
    return int(re.sub(r"\D", "", euros or "0"))


def _each_has_its_incident(storm: Storm, found: DataLoss) -> None:
    """With its amount; many of one cause are one incident with their number and their sum."""
    incidents = {(subject, kind, amount) for subject, kind, _, amount in storm.shop.sql(INCIDENTS)}
    totals = dict(storm.shop.sql(TOTALS, list(found.differing)))
    expected = {(number, "in_doubt", total) for number, total in totals.items()}
    storm.expect(incidents == expected, f"open orders: {sorted(incidents ^ expected)[:5]} have wrong incidents, or none")
    rows, count, amount = storm.shop.sql(UNKNOWN), len(found.held), sum(found.held.values())
    if count > ALONE_UP_TO:
        storm.expect([row[1:] for row in rows] == [(amount, count)], f"{count} orders, {amount} in all, have the incidents {rows[:3]}")
    else:
        alone = {subject: minor for subject, minor, _ in rows}
        storm.expect(alone == found.held, f"forgotten orders: incidents {alone}, not {found.held}")
    storm.counts["at risk of forgotten orders (minor units)"] = amount
