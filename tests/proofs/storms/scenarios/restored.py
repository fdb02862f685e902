"""The database is lost, and a base backup takes its place: hundreds of orders have moved since, and dozens were open then. A person recovers, by the runbook."""

import json
import re
from collections import Counter
from functools import partial
from pathlib import Path

from tests.proofs.black_box.orders import body
from tests.proofs.storms import data_loss as lost
from tests.proofs.storms import invariants as judging
from tests.proofs.storms import roles_down
from tests.proofs.storms.data_loss import Lost
from tests.proofs.storms.postgresql import back_up, put_back, stop_postgres
from tests.proofs.storms.scenario import FULL, SMALL, Scenario
from tests.proofs.storms.storm import Storm

REFUSED = "00422"  # an address that the carrier refuses: the charge is refunded
KEPT = "tok_refund_declined"  # its refund is refused for good, so it waits for a person already
EVERY = 5  # each fifth order that moves is turned back
PREPARED_WITHIN_S = 420.0  # what comes before the loss promises nothing: it only has to be there
TELL_ALONE = 50  # findings of one cause; more of them are one incident (docs/reconcile.md)
NOT_TAKEN = (503, "orders_not_taken")
TOTALS = "SELECT number, total_minor FROM orders_order WHERE number = ANY(%s)"
UNDO_BEGUN = "undo_(granted|started|retry_wait|in_doubt)"
STANDS = """
SELECT count(*) FROM fulfillment_steprecord r JOIN fulfillment_saga s ON s.id = r.saga_id JOIN orders_order o ON o.id = s.order_id
WHERE o.number = ANY(%s) AND r.name = %s AND r.state ~ %s
"""
TOLD = "SELECT subject, kind, step, amount_minor FROM orders_incident WHERE code = 'restored' AND state = 'open'"
UNKNOWN = (
    "SELECT subject, amount_minor, count FROM orders_incident WHERE code = 'unknown_order' AND kind = 'orphan_payment' AND state = 'open'"
)
CLOSED = "SELECT outcome FROM orders_incident WHERE kind = 'forgotten_orders'"
VERSION = "SELECT max(t.id) FROM orders_timelineentry t JOIN orders_order o ON o.id = t.order_id WHERE o.number = %s"
LINE = re.compile(r"(ORD-\d+): (unknown_order: )?.*?(?:\(€([\d,]+\.\d\d) at risk\))?")
SUMMARY = re.compile(r"(\d+) open orders: (\d+) go on by themselves, (\d+) become a person's; (\d+) orders are known to providers only")


class Opened:
    """The orders that are open when the backup is taken, by what becomes of them between it and the crash, and the one that stays as it is."""

    def __init__(self, storm: Storm) -> None:
        shop, each = storm.shop, storm.how_many["of_each_kind"]
        self.kept = storm.place(each, token=KEPT, postal_code=REFUSED)
        _wait(storm, self.kept, "payment", "undo_failed")
        shop.only_down("refunds")
        self.refunded = storm.place(each, postal_code=REFUSED)
        _wait(storm, self.refunded, "payment", UNDO_BEGUN)
        shop.only_down("refunds", "labels", "label_cancels")
        self.withdrawn = storm.place(each)
        _wait(storm, self.withdrawn, "inventory", "succeeded")
        _cancel(storm, self.withdrawn)
        _wait(storm, self.withdrawn, "payment", "undo_")  # next, or under way, as far as its label stands before it
        self.cancelled, self.returned, self.shipped = storm.place(each), storm.place(each), storm.place(each)
        _wait(storm, self.paid, "inventory", "succeeded")
        shop.only_down("refunds", "labels", "label_cancels", "charges")
        self.charged, self.turned_back = storm.place(each), storm.place(each, postal_code=REFUSED)

    @property
    def paid(self) -> list[str]:
        """They wait for their labels."""
        return self.cancelled + self.returned + self.shipped

    @property
    def count(self) -> int:
        return len(self.kept + self.refunded + self.withdrawn + self.paid + self.charged + self.turned_back)


def happens(storm: Storm) -> None:
    storm.place(storm.how_many["before"])
    storm.rest(PREPARED_WITHIN_S)
    opened = Opened(storm)
    acknowledged = list(storm.numbers)
    with storm.orders_flowing(storm.how_many["meanwhile"], storm.how_many["per_s"]):
        backup = back_up(storm)
    _they_move(storm, opened)
    judging.clients_agree(storm)  # what was said until here was true; from here on the shop speaks from the backup
    _the_database_is_lost(storm, backup)

    found = lost.read(storm, storm.numbers)
    storm.counts |= {"open in the backup": len(found.state), "forgotten": len(found.forgotten), "of them on record": len(found.on_record)}
    storm.expect(set(acknowledged) <= found.known, "the backup lacks orders that were answered before it was taken")
    storm.expect(found.known <= found.acknowledged, "the backup holds orders that nobody has placed")
    storm.expect(set(found.done) <= found.acknowledged, "the provider has worked for orders that nobody has placed")
    storm.expect(len(found.state) >= opened.count, f"only {len(found.state)} orders are open in the backup")
    storm.begins_anew(found.known)
    _it_is_seen(storm, found)
    _a_person_recovers(storm, found)
    roles_down.bring_up(storm, *roles_down.OF_THE_SHOP)
    storm.fault_ended()
    _new_orders_work(storm, found)
    storm.rest(120)
    _everything_ends(storm, found, opened)
    _a_person_decides(storm, found)
    _only_what_was_decided_moved(storm, found)


# --- before ----------------------------------------------------------------------------------------------------------------


def _wait(storm: Storm, numbers: list[str], step: str, state: str) -> None:
    """Until all of them stand there."""
    storm.until(
        f"opening, {step} {state}", lambda: storm.shop.sql(STANDS, numbers, step, state)[0][0], len(numbers), PREPARED_WITHIN_S, every_s=0.1
    )


def _cancel(storm: Storm, numbers: list[str]) -> None:
    for number in numbers:
        answer = storm.shop.cancel(number)
        storm.expect(answer.is_success, f"{number}: its cancel was answered {answer.status_code}")


def _they_move(storm: Storm, opened: Opened) -> None:
    """What was open goes on, is cancelled, or is given back by the bank's support; and many more are placed, the last of which are under way at the end."""
    shop, how_many = storm.shop, storm.how_many
    _cancel(storm, opened.cancelled)
    shop.only_down()
    refused = [n % EVERY == 0 for n in range(how_many["moved"])]
    storm.in_parallel("orders move", [partial(shop.place_stubbornly, 60, **({"postal_code": REFUSED} if no else {})) for no in refused])
    storm.rest(PREPARED_WITHIN_S)
    totals = dict(shop.sql(TOTALS, opened.returned))
    for number, total in totals.items():
        shop.plant("refund", number, shop.key(number, "payment"), total)
    shop.only_down("labels")
    paid = storm.place(how_many["under_way"])
    _wait(storm, paid, "inventory", "succeeded")
    shop.only_down("labels", "charges")
    storm.place(how_many["under_way"])


def _the_database_is_lost(storm: Storm, backup: Path) -> None:
    """The server and everybody who works on it die at once; an operator puts the backup in its place, and leaves the shop down."""

    def while_it_is_dead() -> None:
        roles_down.take_down(storm, *roles_down.OF_THE_SHOP)
        put_back(storm, backup)

    storm.show("losing the database", 0, 1)
    stop_postgres(storm, 0, while_it_is_dead)
    storm.shop.only_down()
    roles_down.wait_until_nobody_is_at_work(storm)


# --- one look, then the recovery --------------------------------------------------------------------------------------------


def _it_is_seen(storm: Storm, found: Lost) -> None:
    """One reconciliation tells of it with its amount; from then on no order is taken, and doctor says what to do."""
    shop = storm.shop
    code, report = shop.reconcile()
    told = sorted((one["rule"], one["amount_minor"]) for one in report["findings"])
    alone = [("unknown_order", left) for number, left in found.held.items() if number not in found.newer]
    expected = sorted([*alone, ("forgotten_orders", sum(found.held.values()) - sum(left for _, left in alone))])
    storm.expect((code, told) == (1, expected), f"the first look exits with {code} and finds {told}, not {expected}")
    roles_down.bring_up(storm, "web")
    answers = [shop.post(body()) for _ in range(3)]
    refused = sum((answer.status_code, answer.json().get("code")) == NOT_TAKEN for answer in answers)
    storm.expect(refused == len(answers), f"orders were answered {Counter(answer.status_code for answer in answers)}")
    doctor = [one for one in json.loads(shop.manage("doctor", "--json").stdout)["findings"] if one["what"] == "recovery"]
    storm.expect([one["level"] for one in doctor] == ["FAIL"], f"doctor says of it: {doctor}")
    storm.asker.ask("the database was restored", min(found.differing or found.known))
    storm.said()
    too_early = shop.manage("recover", "--restored", "--yes")
    storm.expect(too_early.returncode == 1 and "Still at work" in too_early.stderr, f"with the web at work: {too_early.stderr}")
    roles_down.take_down(storm, "web")
    roles_down.wait_until_nobody_is_at_work(storm)
    storm.counts |= {"seen at the first look": len(told), "orders refused": refused}


def _a_person_recovers(storm: Storm, found: Lost) -> None:
    """Shown first, then done: the same list, nothing is missing in it, and nothing of it moves."""
    shown = storm.shop.manage("recover", "--restored", within_s=540)
    storm.expect(shown.returncode == 0 and "Nothing was done." in shown.stdout, f"recover exits with {shown.returncode}: {shown.stderr}")
    _the_list_is_complete(storm, found, shown.stdout)
    done = storm.shop.manage("recover", "--restored", "--yes", within_s=540)
    storm.expect(done.returncode == 0 and "Done." in done.stdout, f"recover --yes exits with {done.returncode}: {done.stderr}")
    _the_list_is_complete(storm, found, done.stdout)
    storm.expect(storm.shop.effects() == found.effects, "the recovery itself has moved something at the provider")
    storm.expect(storm.shop.sql(CLOSED) == [("recovered",)], f"of the forgotten orders is told: {storm.shop.sql(CLOSED)}")
    _each_has_its_incident(storm, found)
    storm.a_person_s = set(found.held)


def _the_list_is_complete(storm: Storm, found: Lost, printed: str) -> None:
    """With amounts."""
    lines = [line for line in map(LINE.fullmatch, printed.splitlines()) if line]
    open_orders, unknown = ({line[1]: _minor(line[3]) for line in lines if bool(line[2]) == is_unknown} for is_unknown in (False, True))
    for what, listed, due in (
        ("differ", open_orders, dict(storm.shop.sql(TOTALS, list(found.differing)))),
        ("are held by the provider alone", unknown, found.held),
    ):
        _none(
            storm,
            f"{what}, and are not listed, or not with what is at risk",
            {number for number in due if listed.get(number) != due[number]},
        )
        _none(storm, f"are listed, and nothing shows that they {what}", listed.keys() - due.keys())
    counted = SUMMARY.search(printed)
    differing = len(found.differing)
    expected = (len(found.state), len(found.state) - differing, differing, len(found.newer))
    storm.expect(counted is not None and tuple(map(int, counted.groups())) == expected, f"it counts {printed[-300:]}, not {expected}")
    storm.counts |= {"listed": len(open_orders) + len(unknown), "of them open": len(open_orders)}


def _minor(euros: str | None) -> int:
    return int(re.sub(r"\D", "", euros or "0"))


def _each_has_its_incident(storm: Storm, found: Lost) -> None:
    """With its amount; many of one cause are one incident with their number and their sum."""
    told = {(subject, kind, amount) for subject, kind, _, amount in storm.shop.sql(TOLD)}
    totals = dict(storm.shop.sql(TOTALS, list(found.differing)))
    expected = {(number, "in_doubt", total) for number, total in totals.items()}
    storm.expect(told == expected, f"open orders: told {sorted(told ^ expected)[:5]} wrongly, or not")
    rows, count, amount = storm.shop.sql(UNKNOWN), len(found.held), sum(found.held.values())
    if count > TELL_ALONE:
        storm.expect([row[1:] for row in rows] == [(amount, count)], f"{count} orders, {amount} in all, are told as {rows[:3]}")
    else:
        alone = {subject: minor for subject, minor, _ in rows}
        storm.expect(alone == found.held, f"forgotten orders: told {alone}, not {found.held}")
    storm.counts["at risk of forgotten orders (minor units)"] = amount


# --- afterwards --------------------------------------------------------------------------------------------------------------


def _new_orders_work(storm: Storm, found: Lost) -> None:
    """Under numbers that nobody has ever had."""
    new = storm.place(storm.how_many["new"])
    last = max(lost.place(number) for number in found.acknowledged)
    storm.expect(min(map(lost.place, new)) > last, f"{min(new, key=lost.place)} was issued, and {last} had been")
    storm.rest(120, new)
    ended = storm.statuses(new)
    storm.expect(ended == {"fulfilled": len(new)}, f"new orders ended as {ended}")
    storm.counts["new orders fulfilled"] = ended.get("fulfilled", 0)


def _everything_ends(storm: Storm, found: Lost, opened: Opened) -> None:
    """As if the database had never been lost, where no person is asked."""
    for what, numbers, status in (
        ("that were charged, or shipped, meanwhile", opened.charged + opened.shipped, "fulfilled"),
        ("whose refund had begun", opened.refunded, "shipping_failed"),
        ("whose cancel had begun", opened.withdrawn, "cancelled"),
    ):
        ended = storm.statuses(numbers)
        storm.expect(ended == {status: len(numbers)}, f"orders {what} ended as {ended}")
    due = set(opened.cancelled + opened.returned + opened.turned_back)
    storm.expect(found.differing == due, f"nothing is shown: {sorted(found.differing ^ due)[:5]} differ wrongly, or do not")
    storm.counts["went on by themselves"] = len(found.state) - len(found.differing)


def _a_person_decides(storm: Storm, found: Lost) -> None:
    """Each order that was given back meanwhile is turned back; what forgotten orders hold waits for their customers."""
    for number in found.differing:
        version = storm.shop.sql(VERSION, number)[0][0]
        words = ["decide", number, "start_undo", f"--version={version}", "--reason=it was given back"]
        run = storm.shop.python("manage.py", *words, variables={"OPERATOR_TOKEN": storm.stack.info["operator_token"]})
        storm.expect(run.returncode == 0, f"{number}: a person's decision: {run.stderr}")
    storm.rest(60)
    by_provider = lost.done(storm.shop.effects())
    _none(storm, "were turned back by a person and are not undone", {number for number in found.differing if by_provider[number].is_open})
    storm.counts["decided by a person"] = len(found.differing)


def _only_what_was_decided_moved(storm: Storm, found: Lost) -> None:
    """Nothing twice, nothing for whom nobody knows, and nobody's money back but by a turn that the backup's journal had begun, or that a person has decided."""
    effects = storm.shop.effects()
    later = effects[len(found.effects) :]
    given_back = {one["order"] for one in later if one["operation"] in ("refund", "cancel_label")}
    _none(storm, "are forgotten, and were touched", {one["order"] for one in later} & found.forgotten)
    _none(storm, "were given back, and nobody had decided that", given_back - found.turning_back - found.differing)
    twice = {number for number, done in lost.done(effects).items() if max(done.times.values()) > 1}
    _none(storm, "had something done twice", twice)
    _, report = storm.shop.reconcile()
    left = {one["subject"]: one["amount_minor"] for one in report["findings"] if one["rule"] == "unknown_order"}
    storm.expect(left == found.held, f"the last look finds {len(left)} unknown orders, not {len(found.held)}")
    storm.counts["done twice"] = len(twice)


def _none(storm: Storm, what: str, numbers: set[str]) -> None:
    storm.expect(not numbers, f"{len(numbers)} orders {what}: {', '.join(sorted(numbers)[:5])}")


SCENARIO = Scenario(
    name="restored",
    promise="A base backup takes the place of the database after 200 orders have moved: what differs is listed whole, nobody is charged twice, new orders work.",
    happens=happens,
    sizes={
        SMALL: {"before": 6, "of_each_kind": 1, "meanwhile": 4, "per_s": 4, "moved": 20, "under_way": 2, "new": 4},
        FULL: {"before": 40, "of_each_kind": 4, "meanwhile": 8, "per_s": 4, "moved": 200, "under_way": 10, "new": 20},
    },
    minutes={SMALL: 1.5, FULL: 4.0},
    variables={"STEP_TRIES": "60", "UNDO_TRIES": "60"},  # nobody runs out of them while the providers are down
    program=roles_down.PROGRAM,
)
