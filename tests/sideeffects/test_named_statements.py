"""Promise: a delivery that goes well takes few statements, and they write what the rare paths would have written."""

from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from orders.clock import ShopNow
from orders.events import OrderFulfilled
from orders.timeline import TimelineEntry
from sideeffects import deliveries, discovery, relay, tasks
from sideeffects.models import Delivery, DeliveryState
from sideeffects.tasks import Message
from tests.shop_clock import ShopClock
from tests.sideeffects.conftest import ALL_LOST, Owed, RecordFact, deliver

LEASE_S, CUT_S = 20.0, 8.0
NOT_COMPARED = {"id", "fact_id", "order_id", "claim"}  # of another row, or drawn


def columns(row: Delivery | TimelineEntry) -> dict[str, Any]:
    return {field.attname: getattr(row, field.attname) for field in row._meta.concrete_fields if field.attname not in NOT_COMPARED}


def written(owed: Owed) -> list[dict[str, Any]]:
    """All columns of a delivery and of its history. The clock stands still, so that instants are equal, too."""
    history = TimelineEntry.objects.filter(order=owed.fact.order, kind="delivery").order_by("id")
    return [columns(owed.delivery), *map(columns, history)]


def does_nothing(event: OrderFulfilled, delivery: Delivery) -> None:
    """A handler."""


# --- the same rows -----------------------------------------------------------------------------------------------------------


def test_a_first_success_is_written_as_any_change_is(record_fact: RecordFact, clock: ShopClock) -> None:
    named, by_orm = record_fact("loyalty"), record_fact("loyalty", "ORD-2")

    deliver(named, does_nothing)
    untried = deliveries.untried(by_orm.fact.pk, "loyalty")
    assert untried is not None
    deliveries.move(untried, DeliveryState.DELIVERED, tries=1, delivered_at=ShopNow())

    assert written(named) == written(by_orm)


def test_a_first_start_is_written_as_a_later_one(record_fact: RecordFact, clock: ShopClock) -> None:
    named, by_orm = record_fact("email"), record_fact("email", "ORD-2")

    first = deliveries._start_first_try(named.fact.pk, "email", LEASE_S)
    other = deliveries._start_later_try(by_orm.fact.pk, "email", LEASE_S, CUT_S)

    assert written(named) == written(by_orm)
    assert first is not None
    assert other is not None
    assert columns(first) == columns(named.delivery)
    assert first.claim == named.delivery.claim


def test_a_success_of_a_started_try_is_written_as_any_change_is(record_fact: RecordFact, clock: ShopClock) -> None:
    named, by_orm = record_fact("email"), record_fact("email", "ORD-2")
    for owed in (named, by_orm):
        deliver(owed, fails)
        assert deliveries.start(owed.fact.pk, "email", LEASE_S, CUT_S)

    assert deliveries.record_success(named.delivery)
    is_over: dict[str, Any] = {"claim": None, "wake_at": None, "launched_at": None, "failing_since": None}
    deliveries.move(by_orm.delivery, DeliveryState.DELIVERED, delivered_at=ShopNow(), error_code="", error_message="", **is_over)

    assert written(named) == written(by_orm)


def fails(event: OrderFulfilled, delivery: Delivery) -> None:
    raise RuntimeError


# --- what a handler is given ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("outside", [False, True], ids=["on our rows", "outside"])
def test_a_handler_has_the_fact_and_its_order_without_asking(
    record_fact: RecordFact, django_assert_num_queries: Any, outside: bool
) -> None:
    """As the ORM would have read them."""
    owed = record_fact("loyalty")
    given: list[Delivery] = []

    def reads(event: OrderFulfilled, delivery: Delivery) -> None:
        with django_assert_num_queries(0):
            assert (delivery.fact.order.customer_email, event.number) == ("amara@example.com", "ORD-1")
        given.append(delivery)

    assert deliver(owed, reads, outside=outside) == "delivered"

    fact = given[0].fact
    assert {field.attname: getattr(fact, field.attname) for field in fact._meta.concrete_fields} == {
        field.attname: getattr(owed.fact, field.attname) for field in fact._meta.concrete_fields
    }
    assert fact.order.shipping_address == {}
    assert (fact._state.adding, fact._state.db) == (False, "default")


def test_a_first_try_runs_within_the_limits_of_its_subscriber_and_does_not_wait_for_the_disk(record_fact: RecordFact) -> None:
    limits: list[tuple[str, str]] = []

    def reads(event: OrderFulfilled, delivery: Delivery) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT current_setting('statement_timeout'), current_setting('synchronous_commit')")
            limits.append(cursor.fetchone())

    deliver(record_fact("loyalty"), reads, timeout_s=100)

    assert limits == [("8s", "off")]


# --- how many ------------------------------------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("subscriber", "at_most"),
    [
        ("analytics", 5),  # BEGIN, lock and read, the effect, delivered, COMMIT
        ("loyalty", 5),
        ("recommendations", 5),
        ("email", 3),  # started, the lines of the order, delivered
    ],
)
def test_a_delivery_takes_few_statements(record_fact: RecordFact, subscriber: str, at_most: int) -> None:
    owed = record_fact(subscriber)
    message = {"fact": str(owed.fact.pk), "order": "ORD-1"}

    with CaptureQueriesContext(connection) as statements:
        assert tasks.TASKS[subscriber](**message) == "ORD-1: delivered"

    assert len(statements) <= at_most, [one["sql"] for one in statements]


def statements_of(work: Callable[[], Any]) -> int:
    with CaptureQueriesContext(connection) as statements:
        work()
    return len(statements)


def test_the_relay_takes_no_statement_for_each_delivery(record_fact: RecordFact) -> None:
    """Neither where it is owed, nor where it is published, nor where the broker did not take it."""
    relay.register(discovery.types(), 1)
    taken: list[Message] = []
    counts = []
    for numbers in (["ORD-1"], ["ORD-2", "ORD-3", "ORD-4"]):
        for number in numbers:
            record_fact("email", number)
        taken.clear()
        owed = statements_of(lambda: relay.owe(ALL_LOST))
        published = statements_of(lambda: taken.extend(relay.due(discovery.names(), None, relay.after_loss)))
        assert len(taken) == 4 * len(numbers)
        refused = statements_of(lambda: relay.not_published(taken))
        Delivery.objects.update(state="delivered", wake_at=None)
        counts.append((owed, published, refused))

    assert counts[0] == counts[1]
    assert counts[0][2] == 1


def test_a_message_that_is_published_needs_no_personal_data(record_fact: RecordFact) -> None:
    record_fact("email")
    relay.owe(ALL_LOST)

    with CaptureQueriesContext(connection) as statements:
        assert relay.due(["email"], None, relay.after_loss)

    assert not [one["sql"] for one in statements if "customer_" in one["sql"] or "payload" in one["sql"]]
