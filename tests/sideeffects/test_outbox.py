"""Promise: each subscriber hears once; what fails waits and is tried again; what is lost is found; what is hopeless is kept and shown."""

from dataclasses import replace
from typing import Any

import pytest
from django.db import connection

from orders.events import OrderFulfilled
from orders.timeline import TimelineEntry
from sideeffects import outbox, registry
from sideeffects.models import Delivery, Event
from tests.sideeffects.conftest import Tell


def run(delivery: Delivery) -> str:
    return str(registry.TASKS[delivery.subscriber](delivery=delivery.pk, order="ORD-1"))


def count(sql: str) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return list(cursor.fetchall())


def test_every_room_is_discovered_with_a_task_of_its_own() -> None:
    assert registry.names() == ["analytics", "email", "loyalty", "recommendations"]
    assert {task.name for task in registry.TASKS.values()} == {f"sideeffects.{name}" for name in registry.names()}


def test_an_effect_on_our_rows_happens_once_however_often_it_is_delivered(tell: Tell) -> None:
    """Points are not doubled by a doubled message."""
    delivery = tell("loyalty")

    assert [run(delivery), run(delivery)] == ["ORD-1: delivered", "ORD-1: nothing to deliver here"]

    assert count("SELECT points FROM sideeffects_loyalty_balance") == [(84,)]
    assert count("SELECT order_number, points FROM sideeffects_loyalty_pointsentry") == [("ORD-1", 84)]
    delivery.refresh_from_db()
    assert (delivery.state, delivery.tries, delivery.wake_at) == ("delivered", 1, None)


def test_the_sums_of_two_orders_add_up(tell: Tell) -> None:
    for number in ("ORD-1", "ORD-2"):
        run(tell("analytics", number))

    assert count("SELECT orders, revenue_minor FROM sideeffects_analytics_dailyrevenue") == [(2, 16840)]
    assert count("SELECT sku, units FROM sideeffects_analytics_dailyunits ORDER BY sku") == [("A", 4), ("B", 4)]


def test_pairs_bought_together_are_counted_in_both_directions(tell: Tell) -> None:
    run(tell("recommendations", "ORD-1", skus=("A", "B", "C")))
    run(tell("recommendations", "ORD-2", skus=("A", "B")))

    found = count("SELECT sku, other, orders FROM sideeffects_recommendations_copurchase ORDER BY 1, 2")
    assert found == [("A", "B", 2), ("A", "C", 1), ("B", "A", 2), ("B", "C", 1), ("C", "A", 1), ("C", "B", 1)]


def test_a_failed_effect_leaves_no_trace_but_its_waiting_delivery(tell: Tell) -> None:
    """Half an effect is none."""
    delivery = tell("loyalty")
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE sideeffects_loyalty_balance RENAME TO gone")

    said = run(delivery)

    assert said == "ORD-1: ProgrammingError: tried again later"
    assert count("SELECT 1 FROM sideeffects_loyalty_pointsentry") == []
    delivery.refresh_from_db()
    assert (delivery.state, delivery.tries, delivery.error_code) == ("retry_wait", 1, "ProgrammingError")
    assert delivery.wake_at is not None
    assert TimelineEntry.objects.filter(kind="delivery", to_state="retry_wait").count() == 1


def test_after_its_last_try_it_is_a_dead_letter(tell: Tell, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is tried for ever, nothing is thrown away."""
    delivery = tell("analytics")

    def always_fails(event: OrderFulfilled, delivery: Delivery) -> None:
        raise RuntimeError("broken")

    declared = replace(registry.subscriptions()["analytics"], handler=always_fails, retries=2)
    for _ in range(5):
        registry._deliver_here(declared, delivery.pk)

    delivery.refresh_from_db()
    assert (delivery.state, delivery.tries, delivery.wake_at) == ("dead", 3, None)


def test_a_mail_is_sent_once_with_the_delivery_s_key(tell: Tell, mailoutbox: list[Any]) -> None:
    delivery = tell("email")

    run(delivery)
    run(delivery)

    (mail,) = mailoutbox
    assert mail.to == ["amara@example.com"]
    assert mail.extra_headers["Message-ID"] == f"<{delivery.key}@shop.example>"
    assert "€84.20" in mail.body
    assert "Product A" in mail.body


def test_a_lost_message_is_due_again_with_growing_patience(tell: Tell) -> None:
    delivery = tell("email")
    waits = []
    for _ in range(3):
        Delivery.objects.filter(pk=delivery.pk).update(wake_at="2020-01-01T00:00Z")
        (message,) = outbox.due(patience_s=10)
        waits.append(round(count("SELECT extract(epoch FROM wake_at - now()) FROM sideeffects_delivery")[0][0]))

    assert waits == [10, 20, 40]
    assert (message.subscriber, message.order, message.attempt) == ("email", "ORD-1", 4)
    assert outbox.due(patience_s=10) == []


def test_a_broker_that_is_down_does_not_grow_the_patience(tell: Tell) -> None:
    delivery = tell("email")
    Delivery.objects.filter(pk=delivery.pk).update(wake_at="2020-01-01T00:00Z")

    outbox.not_published(outbox.due(patience_s=10))

    delivery.refresh_from_db()
    assert delivery.relaunches == 0
    assert len(outbox.due(patience_s=10)) == 1


def test_a_started_call_past_its_lease_may_be_started_again_and_its_old_worker_is_fenced(tell: Tell) -> None:
    """The machine died while mailing: the mail is sent again under the same key, and the dead worker's word no longer counts."""
    delivery = tell("email")
    dead = outbox.start(delivery.pk, lease_s=10)
    assert dead is not None
    assert outbox.start(delivery.pk, lease_s=10) is None
    Delivery.objects.filter(pk=delivery.pk).update(wake_at="2020-01-01T00:00Z")

    outbox.due(patience_s=10)
    alive = outbox.start(delivery.pk, lease_s=10)

    assert alive is not None
    assert not outbox.delivered_outside(dead)
    assert outbox.delivered_outside(alive)


def test_the_same_fact_recorded_twice_is_once(tell: Tell) -> None:
    delivery = tell("email")
    event = Event.objects.get()

    again = outbox.record(OrderFulfilled.from_json(event.payload), event.order, ["email"], patience_s=10)

    assert again == []
    assert list(Delivery.objects.all()) == [delivery]
