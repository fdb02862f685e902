"""Promise: a subscriber hears of the types that it reacts to and of no other, as the right class, whatever old processes do; what it cannot read does no harm."""

from dataclasses import replace
from typing import Any

import pytest
from django.db import connection

from orders import facts
from orders.clock import ShopNow
from orders.events import Event, OrderFulfilled, PaymentCompleted, PaymentRefunded, signal_of, subscriber
from orders.models import Fact
from orders.timeline import TimelineEntry
from sideeffects import checks, delivery_try, discovery, relay, subscriber_audits, tasks
from sideeffects.models import Delivery, Subscriber
from tests.sideeffects.conftest import ALL_LOST, NONE_LOST, Owed, RecordFact, deliver

heard: list[Event] = []


@subscriber(OrderFulfilled, PaymentRefunded)
def loyalty(event: Event, delivery: Delivery) -> None:
    heard.append(event)


@pytest.fixture(autouse=True)
def forget() -> None:
    heard.clear()


@pytest.fixture
def both(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loyalty reacts to refunds too."""
    monkeypatch.setitem(discovery.subscriptions(), "loyalty", loyalty.subscription)  # type: ignore[attr-defined]


def record(owed: Owed, event: Event) -> Fact:
    facts.record(event, owed.fact.order_id, "c")
    return Fact.objects.get(pk=event.fact_id)


def refund(owed: Owed, amount_minor: int = 100, attempt: int = 1) -> Fact:
    return record(owed, PaymentRefunded(number=owed.fact.order.number, currency="EUR", amount_minor=amount_minor, attempt=attempt))


def paid(owed: Owed) -> Fact:
    return record(owed, PaymentCompleted(number=owed.fact.order.number, currency="EUR", amount_minor=100))


def owed_to(subscriber: str) -> list[str]:
    return sorted(Delivery.objects.filter(subscriber=subscriber).values_list("fact__type", flat=True))


def test_a_fact_is_owed_to_those_who_react_to_its_type(record_fact: RecordFact, both: None) -> None:
    relay.register(discovery.types(), release=2)
    owed = record_fact("email")
    refund(owed)

    relay.owe(ALL_LOST)

    assert owed_to("email") == ["order.fulfilled"]
    assert owed_to("loyalty") == ["order.fulfilled", "payment.refunded"]


def test_a_fact_that_nobody_reacts_to_is_closed_as_it_gets_its_number(record_fact: RecordFact) -> None:
    relay.register(discovery.types(), release=2)
    fact = paid(record_fact("email"))

    relay.owe(NONE_LOST)

    fact.refresh_from_db()
    assert (fact.number is not None, fact.relayed_at is not None) == (True, True)
    assert not Delivery.objects.filter(fact=fact).exists()


def test_a_subscriber_of_two_types_receives_each_as_its_class(record_fact: RecordFact) -> None:
    owed = record_fact("loyalty")

    for fact in (owed.fact, refund(owed)):
        assert delivery_try.deliver(loyalty.subscription, fact.pk) == "delivered"  # type: ignore[attr-defined]

    assert [type(event) for event in heard] == [OrderFulfilled, PaymentRefunded]


def test_a_type_that_is_added_later_owes_nothing_of_before(record_fact: RecordFact, monkeypatch: pytest.MonkeyPatch) -> None:
    """And nothing of it is missing, either."""
    relay.register(discovery.types(), release=2)
    owed = record_fact("loyalty")
    refund(owed)
    relay.owe(ALL_LOST)
    monkeypatch.setitem(discovery.subscriptions(), "loyalty", loyalty.subscription)  # type: ignore[attr-defined]

    relay.register(discovery.types(), release=3)
    second = refund(owed, attempt=2)
    relay.owe(ALL_LOST)

    assert owed_to("loyalty") == ["order.fulfilled", "payment.refunded"]
    assert Delivery.objects.get(fact=second).subscriber == "loyalty"
    missing = subscriber_audits.missing_deliveries([owed.fact.order_id])[owed.fact.order_id]
    assert sorted(missing) == [("order.fulfilled", ()), ("payment.refunded", ()), ("payment.refunded", ())]


def test_a_row_from_before_this_column_is_owed_fulfilled_orders(record_fact: RecordFact) -> None:
    """Old code that inserts a subscriber knows no types."""
    owed = record_fact("email")
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO sideeffects_subscriber (name, starts_at, state, release) VALUES ('survey', 1, 'active', 1)")
    refund(owed)

    relay.owe(ALL_LOST)

    assert owed_to("survey") == ["order.fulfilled"]


def test_older_code_forgets_no_type(record_fact: RecordFact, both: None) -> None:
    relay.register(discovery.types(), release=3)

    relay.register({"loyalty": {OrderFulfilled.type}}, release=2)

    assert set(Subscriber.objects.get(name="loyalty").types) == {"order.fulfilled", "payment.refunded"}


def test_what_an_old_relay_has_owed_by_mistake_is_discarded(record_fact: RecordFact) -> None:
    """It knows no types. The handler is not called, and nobody has to decide anything."""
    relay.register(discovery.types(), release=2)
    fact = paid(record_fact("email"))
    Delivery.objects.create(fact=fact, subscriber="loyalty", wake_at=ShopNow())

    assert tasks.TASKS["loyalty"](fact=str(fact.pk), order="ORD-1") == "ORD-1: loyalty does not react to payment.completed"

    assert Delivery.objects.get(fact=fact).state == "discarded"
    assert TimelineEntry.objects.get(code="not_subscribed").name == "loyalty"
    assert tasks.TASKS["loyalty"](fact=str(fact.pk), order="ORD-1") == "ORD-1: nothing to deliver here"


def test_a_type_that_newer_code_has_subscribed_to_waits_for_newer_code(record_fact: RecordFact) -> None:
    relay.register({"loyalty": {OrderFulfilled.type, PaymentRefunded.type}}, release=3)
    fact = refund(record_fact("loyalty"))

    assert tasks.TASKS["loyalty"](fact=str(fact.pk), order="ORD-1") == "ORD-1: NewerVersion: waits for newer code"

    delivery = Delivery.objects.get(fact=fact)
    assert (delivery.state, delivery.tries, delivery.error_code) == ("retry_wait", 0, "newer_version")
    assert delivery_try.deliver(loyalty.subscription, fact.pk) == "delivered", "and newer code delivers it"  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", ["loyalty", "email"])
def test_a_newer_version_waits_spends_no_try_and_is_told_in_time(record_fact: RecordFact, name: str, settings: Any) -> None:
    owed = record_fact(name)
    with connection.cursor() as cursor:
        cursor.execute(
            "SET LOCAL session_replication_role = replica; UPDATE orders_fact SET version = 3; SET LOCAL session_replication_role = origin"
        )

    for _ in range(2):
        assert owed.run() == "ORD-1: NewerVersion: waits for newer code"

    assert owed.row() == ("retry_wait", 0, "newer_version")
    assert owed.delivery.error_message == "order.fulfilled has version 3, and this code knows 2"
    assert owed.delivery.failing_since is not None, "a person is told before the limit"
    settings.DELIVERY_LIMIT_S = 0
    owed.run()
    assert owed.row()[0] == "dead"


@pytest.mark.parametrize("name", ["loyalty", "email"])
def test_a_payload_that_matches_no_schema_is_a_dead_letter_at_once_and_names_the_field(record_fact: RecordFact, name: str) -> None:
    owed, other = record_fact(name), record_fact(name, "ORD-2")
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")
        cursor.execute("""UPDATE orders_fact SET payload = payload || '{"total_minor": "8420"}' WHERE payload->>'number' = 'ORD-1'""")
        cursor.execute("SET LOCAL session_replication_role = origin")

    assert owed.run() == "ORD-1: InvalidPayload: dead letter"

    assert owed.row() == ("dead", 1, "invalid_payload")
    assert owed.delivery.error_message == "order.fulfilled: total_minor must be integer"
    assert deliver(other, lambda event, delivery: None) == "delivered", "nothing else is held up"


def test_only_what_somebody_reacts_to_is_published(record_fact: RecordFact, monkeypatch: pytest.MonkeyPatch) -> None:
    assert [len(signal_of(event).receivers) for event in (OrderFulfilled, PaymentCompleted)] == [1, 0]
    assert discovery.wanting("order.fulfilled") == ["analytics", "email", "loyalty", "recommendations"]
    assert discovery.wanting("payment.completed") == []


def test_a_subscriber_that_reacts_to_nothing_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    declared = discovery.subscriptions()["loyalty"]
    monkeypatch.setitem(discovery.subscriptions(), "loyalty", replace(declared, events=()))

    (error,) = checks.packages_are_complete(None)

    assert (error.id, error.msg) == ("sideeffects.E004", "loyalty reacts to no event, or to one that the catalogue does not have.")
