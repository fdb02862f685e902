"""Promise: an effect on our own rows is seen together with "delivered", a try outside is seen before it leaves, and nothing is published before it is written."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection

from orders.events import OrderFulfilled
from sideeffects import discovery, relay
from sideeffects.models import Delivery
from tests.sideeffects.conftest import ALL_LOST, RecordFact, deliver
from tests.witness import Witness

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def witness(transactional_db: None) -> Iterator[Witness]:
    witness = Witness("ORD-1")
    yield witness
    witness.close()


def states(saw: list[str]) -> list[str]:
    return [line.replace("placed /", "").replace("placed", "").replace("fact", "").strip() or "no row" for line in saw]


def balance(witness: Witness) -> int:
    row = witness._session.execute("SELECT coalesce(sum(points), 0) FROM sideeffects_loyalty_balance").fetchone()
    assert row is not None
    return int(row[0])


def test_an_effect_on_our_own_rows_and_delivered_are_seen_together(record_fact: RecordFact, witness: Witness) -> None:
    owed = record_fact("loyalty")
    pairs: set[tuple[int, str]] = set()

    def before(execute: Any, *statement: Any) -> Any:
        witness.observe()
        pairs.add((balance(witness), states(witness.saw)[-1]))
        return execute(*statement)

    with witness.watching() as saw, connection.execute_wrapper(before):
        owed.run()
    pairs.add((balance(witness), states(saw)[-1]))

    assert states(saw) == ["no row", "loyalty:delivered"]
    assert pairs == {(0, "no row"), (84, "loyalty:delivered")}


def test_a_try_outside_is_seen_before_it_leaves_and_recorded_when_it_is_back(record_fact: RecordFact, witness: Witness) -> None:
    owed = record_fact("email")
    with witness.watching() as saw:
        deliver(owed, lambda event, delivery: witness.leaves("mail"))

    assert states(saw) == ["no row", "email:started", "→ mail", "email:delivered"]


def test_a_second_try_on_our_own_rows_is_seen_before_it_begins(record_fact: RecordFact, witness: Witness) -> None:
    """So that one which kills its worker is counted."""
    owed = record_fact("loyalty")

    def fails(event: OrderFulfilled, delivery: Delivery) -> None:
        raise RuntimeError("broken")

    deliver(owed, fails)
    with witness.watching() as saw:
        deliver(owed, lambda event, delivery: witness.leaves("try"))

    assert states(saw) == ["loyalty:retry_wait", "loyalty:started", "→ try", "loyalty:delivered"]


def test_what_fails_leaves_nothing_of_its_effect(record_fact: RecordFact, witness: Witness) -> None:
    owed = record_fact("loyalty")
    handler = discovery.subscriptions()["loyalty"].handler

    def half(event: OrderFulfilled, delivery: Delivery) -> None:
        handler(event, delivery)
        raise RuntimeError("broken")

    with witness.watching() as saw:
        deliver(owed, half)

    assert (states(saw), balance(witness)) == (["no row", "loyalty:retry_wait"], 0)


def test_what_is_owed_is_written_before_it_is_published(record_fact: RecordFact, witness: Witness) -> None:
    """The broker is away: the row says so, and is due again."""
    record_fact("email")
    relay.owe(ALL_LOST)
    launched: list[Any] = []
    leaves = witness.leaves

    def then_read(what: str) -> None:
        launched.append(witness._session.execute("SELECT relaunches, launched_at IS NOT NULL FROM sideeffects_delivery").fetchone())
        leaves(what)

    setattr(witness, "leaves", then_read)  # noqa: B010
    with witness.watching() as saw:
        relay.run_round(lambda: True)

    assert [line for line in saw if line.startswith("→")] == ["→ sideeffects.email"]
    assert launched == [(1, True)]
    assert Delivery.objects.values_list("relaunches", "launched_at").get() == (0, None)
    assert Delivery.objects.get().wake_at is not None


def test_a_fact_is_numbered_and_then_relayed_with_all_that_is_owed(record_fact: RecordFact, witness: Witness) -> None:
    record_fact("email")
    record_fact("analytics", "ORD-2")
    seen: list[Any] = []

    def before(execute: Any, *statement: Any) -> Any:
        row = witness._session.execute(
            "SELECT f.number IS NOT NULL, f.relayed_at IS NOT NULL, (SELECT count(*) FROM sideeffects_delivery d WHERE d.event_id = f.id)"
            " FROM orders_fact f JOIN orders_order o ON o.id = f.order_id WHERE o.number = 'ORD-1'"
        ).fetchone()
        if not seen or seen[-1] != row:
            seen.append(row)
        return execute(*statement)

    with connection.execute_wrapper(before):
        relay.owe(ALL_LOST)
        relay.waiting()

    assert seen == [(False, False, 0), (True, False, 0), (True, True, 2)]
