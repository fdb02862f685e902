"""Did it hold? What every storm must leave behind, whatever its scenario: nothing lost, nobody stranded, nobody charged twice, all money explained, and a
clean reconciliation.

And ``checks``: liveness, the pools' processes, the database's sessions, money; and what clients saw, by itself.
"""

import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import httpx

from tests.proofs.black_box.waiting import wait_for
from tests.proofs.storms.checks import client_consistency, database_sessions, liveness, money, pool_processes
from tests.proofs.storms.storm import Storm

SIDE_BY_SIDE = 8
STRANDED = """
SELECT o.number FROM fulfillment_saga s JOIN orders_order o ON o.id = s.order_id
WHERE s.state NOT IN ('completed', 'compensated', 'closed_by_operator') AND s.wake_at IS NULL
    AND NOT EXISTS (SELECT FROM orders_incident i WHERE i.order_id = o.id AND i.state <> 'resolved')
"""


def judge(storm: Storm) -> None:
    """Adds a breach for each thing that does not hold, with the orders that it is about."""
    storm.show("judging", 0, 1)
    storm.expect(storm.fault_ended_at > 0, "the storm does not say when its fault ended")
    _diagnostics_were_answered(storm)
    liveness.stalled_orders_have_incidents(storm)
    pool_processes.every_pool_process_works(storm)
    database_sessions.sessions_are_back(storm)
    clients_agree(storm)
    _nothing_is_lost(storm)
    _nobody_is_stranded(storm)
    _nobody_is_charged_twice(storm)
    code, report = money.money_is_explained(storm)
    if not storm.scenario.lies:
        _all_agree(storm, code, report)


def _diagnostics_were_answered(storm: Storm) -> None:
    """What people could read at the worst moment is kept; nobody was left without an answer."""
    if not (found := storm.diagnosed()):
        return
    (storm.run_dir / "diagnostics.json").write_text(json.dumps(found, indent=1, ensure_ascii=False))
    storm.counts["asked at the worst moment"] = len(found)
    for moment, answers in found.items():
        for what, answer in answers.items():
            storm.expect("error" not in answer, f"{moment}: {what}: {answer.get('error')}")


def clients_agree(storm: Storm) -> None:
    """By what they were answered alone. Whoever was answered 201 asks for the order once more first."""
    known = client_consistency.acknowledged(list(storm.history))
    with ThreadPoolExecutor(SIDE_BY_SIDE) as clients:
        list(clients.map(partial(_found, storm), known))
    history = list(storm.history)
    storm.counts |= {"requests recorded": len(history), "orders checked": len(known)}
    for breach in client_consistency.check(history):
        storm.expect(False, f"clients saw: {breach}")


def _found(storm: Storm, number: str) -> None:
    """Asked for until it is answered, however that may be."""

    def answered() -> bool:
        try:
            return storm.owner(number).http.get(f"/orders/{number}").status_code in (httpx.codes.OK, httpx.codes.NOT_FOUND)
        except httpx.TransportError:
            return False

    wait_for(answered, 60, every_s=0.5)


def _nothing_is_lost(storm: Storm) -> None:
    known = {number for (number,) in storm.shop.sql("SELECT number FROM orders_order WHERE number = ANY(%s)", storm.numbers)}
    storm.expect_none("were answered 201 and are missing", set(storm.numbers) - known)
    storm.expect(len(set(storm.numbers)) == len(storm.numbers), "one order was answered to two clients")
    storm.expect(bool(storm.numbers), "no order was placed: nothing is shown")


def _nobody_is_stranded(storm: Storm) -> None:
    storm.expect_none("are open with neither a wake-up nor an incident", {number for (number,) in storm.shop.sql(STRANDED)})


def _nobody_is_charged_twice(storm: Storm) -> None:
    """By what the provider says that it did: one charge and one label at most for an order, whatever was given back later."""
    done = Counter((effect["order"], effect["operation"]) for effect in storm.shop.effects() if effect["order"] not in storm.planted)
    for operation in ("charge", "label"):
        storm.expect_none(
            f"have more than one {operation}", {order for (order, what), times in done.items() if what == operation and times > 1}
        )


def _all_agree(storm: Storm, code: int, report: dict[str, Any]) -> None:
    for finding in report["findings"]:
        storm.expect(finding["subject"] in storm.needs_person, f"reconcile: {finding['subject']}: {finding['rule']}")
    storm.expect(code == 0 or bool(report["findings"]), f"reconcile exits with {code}")
