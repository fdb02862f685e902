"""Promise: whatever our providers did that we did not ask for is found, all of it and nothing else; what landed late is given back."""

import json
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import pytest

from orders.management.placing_client import FINAL
from tests.engines import RUN_DIR
from tests.promises.conftest import Shop
from tests.proofs import prepared
from tests.proofs.black_box.stack import RunningStack
from tests.proofs.black_box.waiting import wait_for

ORPHAN, MISMATCH = "orphan_payment", "mismatch"


class Planted(NamedTuple):
    """What was planted for one order, and the finding that it must become."""

    number: str
    rule: str
    kind: str
    amount: int


@pytest.fixture(scope="module")
def own() -> Iterator[Shop]:
    """A shop of this file's own, which begins empty: a refund that was planted cannot be taken back. Its sweep stands still while it is meddled with."""
    shutil.rmtree(RUN_DIR / "reconciled", ignore_errors=True)
    prepared.lay(RUN_DIR / "reconciled")
    running = RunningStack(RUN_DIR / "reconciled")
    yield Shop(running)
    running.stop()


def at_rest(shop: Shop, count: int, within_s: float, **changes: Any) -> list[str]:
    """Place orders and wait for their end."""
    numbers = shop.place_many(count, **changes)
    wait_for(lambda: not shop.moving(), within_s, every_s=0.3)
    rows = shop.sql("SELECT DISTINCT status FROM orders_order WHERE number = ANY(%s)", numbers)
    assert {status for (status,) in rows} <= FINAL
    return numbers


def incidents(shop: Shop) -> list[Planted]:
    rows = shop.sql("SELECT subject, code, kind, amount_minor FROM orders_incident WHERE state = 'open'")
    return [Planted(*row) for row in rows]


@pytest.mark.timeout(120)
def test_a_reconciliation_of_orders_that_are_on_their_way_is_no_false_alarm(own: Shop) -> None:
    """Orders are charged, refunded and shipped while the bank's list is being read: none of them is called wrong."""
    known = {planted.number for planted in incidents(own)}
    with ThreadPoolExecutor(2) as pool:
        placing = [pool.submit(own.place_many, 20), pool.submit(own.place_many, 10, postal_code="00422")]
        reports = []
        while own.moving() or not all(placed.done() for placed in placing):
            reports.append(own.reconcile()[1])

    assert any(report["open"] for report in reports)
    for report in reports:
        assert {finding["subject"] for finding in report["findings"]} <= known


def test_what_lands_after_its_compensation_is_given_back_and_shown_as_an_orphan(own: Shop) -> None:
    """I had cancelled and was told that nothing was charged. It was, later. I get it back, and the order's history says so."""
    number = own.place(token="tok_slow_8s")
    own.until_paying(number)
    own.cancel(number)
    assert own.ends(number) == "cancelled"
    other = own.place(token="tok_declined")
    assert own.ends(other) == "payment_failed"

    with own.stopped("sweep"):
        own.plant("charge", other, own.key(other, "payment"), own.total(other))
        own.plant("label", number, own.key(number, "shipping"))
        code, report = own.reconcile()

    assert code == 1
    assert {finding["subject"]: finding["rule"] for finding in report["findings"] if finding["repaired"]} == {other: "late", number: "late"}
    assert own.ledger(other) == [("charge", own.total(other)), ("refund", own.total(other))]
    assert [operation for operation, _ in own.ledger(number)] == ["charge", "refund", "label", "cancel_label"]
    rows = own.sql("SELECT kind, code, outcome, amount_minor FROM orders_incident WHERE subject = %s", other)
    assert rows == [(ORPHAN, "late", "refunded", own.total(other))]
    sentences = [entry["sentence"] for entry in json.loads(own.manage("timeline", other, "--json").stdout)["entries"]]
    assert any("the provider holds what nobody owns" in sentence for sentence in sentences), sentences
    assert any("undo late landing (payment)" in sentence for sentence in sentences), sentences
    assert sentences[-1].startswith("Incident resolved by reconcile")
    assert other not in {finding["subject"] for finding in own.reconcile()[1]["findings"]}


def test_a_provider_that_does_not_answer_is_reported_and_nothing_is_judged_by_half(own: Shop) -> None:
    """Half a list would make half of the orders look wrong: they are not judged, a person is notified of the silence, and no longer once it is over."""
    before = sorted(incidents(own))

    with own.stopped("sandbox"):
        code, report = own.reconcile()

    assert code == 1
    assert {finding["rule"] for finding in report["findings"]} == {"not_listed"}
    assert (report["judged"], report["entries"]) == (0, 0)
    assert len(incidents(own)) == len(before) + len(report["findings"])
    assert own.reconcile()[0] == 0
    assert sorted(incidents(own)) == before
