"""Promise: each subscriber hears once; what fails waits and is tried again; what is hopeless is kept and shown; what kills its worker is counted."""

import threading
import uuid
from typing import Any

import pytest
from django.db import connection

from orders import facts
from orders.events import OrderFulfilled
from orders.models import Fact
from orders.timeline import TimelineEntry
from sideeffects import deliveries, discovery, tasks
from sideeffects.models import Delivery
from tests.holding import held
from tests.sideeffects.conftest import Owed, RecordFact, deliver

LEASE_S, CUT_S = 10.0, 10.0


def count(sql: str) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return list(cursor.fetchall())


def start(owed: Owed) -> Delivery | None:
    return deliveries.start(owed.fact.pk, owed.subscriber, LEASE_S, CUT_S)


def fails(event: OrderFulfilled, delivery: Delivery) -> None:
    raise RuntimeError("broken")


def succeeds(event: OrderFulfilled, delivery: Delivery) -> None:
    return None


def test_every_room_is_discovered_with_a_task_of_its_own() -> None:
    assert discovery.names() == ["analytics", "email", "loyalty", "recommendations"]
    assert {task.name for task in tasks.TASKS.values()} == {f"sideeffects.{name}" for name in discovery.names()}


def test_an_effect_on_our_rows_happens_once_however_often_it_is_delivered(record_fact: RecordFact) -> None:
    """Points are not doubled by a doubled message."""
    owed = record_fact("loyalty")

    assert [owed.run(), owed.run()] == ["ORD-1: delivered", "ORD-1: nothing to deliver here"]

    assert count("SELECT points FROM sideeffects_loyalty_balance") == [(84,)]
    assert count("SELECT order_number, points FROM sideeffects_loyalty_pointsentry") == [("ORD-1", 84)]
    assert owed.row() == ("delivered", 1, "")
    assert owed.delivery.wake_at is None


def test_a_first_try_on_our_own_rows_writes_once(record_fact: RecordFact) -> None:
    """What goes well costs one row and one line of history."""
    owed = record_fact("loyalty")

    owed.run()

    assert list(TimelineEntry.objects.filter(kind="delivery").values_list("from_state", "to_state")) == [("", "delivered")]


def test_the_sums_of_two_orders_add_up(record_fact: RecordFact) -> None:
    for number in ("ORD-1", "ORD-2"):
        record_fact("analytics", number).run()

    assert count("SELECT orders, revenue_minor FROM sideeffects_analytics_dailyrevenue") == [(2, 16840)]
    assert count("SELECT sku, units FROM sideeffects_analytics_dailyunits ORDER BY sku") == [("A", 4), ("B", 4)]


def test_pairs_bought_together_are_counted_in_both_directions(record_fact: RecordFact) -> None:
    record_fact("recommendations", "ORD-1", skus=("A", "B", "C")).run()
    record_fact("recommendations", "ORD-2", skus=("A", "B")).run()

    found = count("SELECT sku, other, orders FROM sideeffects_recommendations_copurchase ORDER BY 1, 2")
    assert found == [("A", "B", 2), ("A", "C", 1), ("B", "A", 2), ("B", "C", 1), ("C", "A", 1), ("C", "B", 1)]


def test_a_failed_effect_leaves_no_trace_but_its_waiting_delivery(record_fact: RecordFact) -> None:
    """Half an effect is none."""
    owed = record_fact("loyalty")
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE sideeffects_loyalty_balance RENAME TO gone")

    assert owed.run() == "ORD-1: ProgrammingError: tried again later"

    assert count("SELECT 1 FROM sideeffects_loyalty_pointsentry") == []
    assert owed.row() == ("retry_wait", 1, "ProgrammingError")
    assert owed.delivery.wake_at is not None
    assert TimelineEntry.objects.filter(kind="delivery", to_state="retry_wait").count() == 1


@pytest.mark.parametrize("subscriber", ["analytics", "email"])
def test_what_its_subscriber_calls_final_is_a_dead_letter_at_once(record_fact: RecordFact, subscriber: str) -> None:
    """Nothing is tried in vain, nothing is thrown away."""
    owed = record_fact(subscriber)

    for _ in range(2):
        deliver(owed, fails, final=(RuntimeError,))

    assert owed.row() == ("dead", 1, "RuntimeError")
    assert owed.delivery.wake_at is None


def test_what_has_failed_once_is_started_before_it_is_tried_again(record_fact: RecordFact) -> None:
    """So that a try which takes its worker with it is counted."""
    owed = record_fact("loyalty")
    deliver(owed, fails)

    def dies(event: OrderFulfilled, delivery: Delivery) -> None:
        raise SystemExit

    with pytest.raises(SystemExit):
        deliver(owed, dies)

    assert owed.row()[:2] == ("started", 2)
    assert owed.run() == "ORD-1: nothing to deliver here", "it is its worker's until its lease ends"


def test_a_second_try_commits_its_effect_with_the_word_that_it_was_delivered(record_fact: RecordFact) -> None:
    owed = record_fact("loyalty")
    deliver(owed, fails)

    assert owed.run() == "ORD-1: delivered"

    assert owed.row() == ("delivered", 2, "")
    assert count("SELECT points FROM sideeffects_loyalty_balance") == [(84,)]


def test_a_mail_is_sent_once_with_the_delivery_s_key(record_fact: RecordFact, mailoutbox: list[Any]) -> None:
    owed = record_fact("email")

    owed.run()
    owed.run()

    (mail,) = mailoutbox
    assert mail.to == ["amara@example.com"]
    assert mail.extra_headers["Message-ID"] == f"<{owed.delivery.key}@shop.example>"
    assert "Dear Amara Okafor" in mail.body
    assert "€84.20" in mail.body
    assert "2 × Product A" in mail.body


def test_a_worker_past_its_lease_is_fenced(record_fact: RecordFact) -> None:
    """The machine stood still while mailing: its word no longer counts once somebody else has started."""
    owed = record_fact("email")
    dead = start(owed)
    assert dead is not None
    assert start(owed) is None
    Delivery.objects.update(state="retry_wait", claim=None)  # as the relay does it when the lease has ended

    alive = start(owed)

    assert alive is not None
    assert not deliveries.record_success(dead)
    assert not deliveries.record_failure(dead, deliveries.Failure(code="late", message="late", retry_in_s=1))
    assert deliveries.record_success(alive)


def test_the_same_fact_recorded_twice_is_once(record_fact: RecordFact) -> None:
    owed = record_fact("email")

    facts.record(OrderFulfilled.from_json(owed.fact.payload), owed.fact.order_id, "c")

    assert Fact.objects.count() == 1


def test_a_fact_names_nobody(record_fact: RecordFact) -> None:
    """Names and addresses stay with the order."""
    kept = str(record_fact("email").fact.payload)

    assert "amara" not in kept.lower()
    assert "Product" not in kept


@pytest.mark.django_db(transaction=True)
def test_the_twin_of_a_doubled_message_ends_at_once(record_fact: RecordFact) -> None:
    """It does not wait for the whole effect of the other."""
    owed = record_fact("loyalty")
    inside, twin_is_done, said = threading.Event(), threading.Event(), []

    def slow(event: OrderFulfilled, delivery: Delivery) -> None:
        inside.set()
        assert twin_is_done.wait(10)

    def first() -> None:
        said.append(deliver(owed, slow))
        connection.close()

    worker = threading.Thread(target=first)
    worker.start()
    assert inside.wait(10)

    twin = deliver(owed, succeeds)
    twin_is_done.set()
    worker.join()

    assert twin == "nothing to deliver here"
    assert said == ["delivered"]
    assert owed.row() == ("delivered", 1, "")


@pytest.mark.parametrize(
    "message",
    [
        {"delivery": 7, "order": "ORD-1"},  # of the first release
        {"order": "ORD-1"},
        {"fact": "no uuid", "order": "ORD-1"},
        {"fact": None, "order": "ORD-1"},
        {"fact": str(uuid.uuid4()), "order": "ORD-1", "more": 1},
    ],
)
def test_a_message_that_this_code_does_not_know_is_refused_and_harms_nobody(record_fact: RecordFact, message: dict[str, Any]) -> None:
    owed = record_fact("loyalty")

    assert str(tasks.TASKS["loyalty"](**message)).startswith("refused: ")

    assert owed.run() == "ORD-1: delivered"


def test_a_message_about_a_fact_that_is_not_there_does_nothing(db: None) -> None:
    assert tasks.TASKS["email"](fact=str(uuid.uuid4()), order="ORD-9") == "ORD-9: nothing to deliver here"


# --- our own database ---------------------------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("tried", [False, True], ids=["first try", "started try"])
def test_rows_that_somebody_holds_spend_no_try_of_a_subscriber(record_fact: RecordFact, tried: bool) -> None:
    """Somebody works on the points' table: my points come when they have finished, and not as a dead letter."""
    owed = record_fact("loyalty")
    if tried:
        deliver(owed, fails)
    tries = int(tried)
    with connection.cursor() as cursor:
        cursor.execute("SET lock_timeout = '100ms'")

    with held("LOCK TABLE sideeffects_loyalty_balance IN ACCESS EXCLUSIVE MODE"):
        for _ in range(18):
            assert owed.run() == "ORD-1: waits for our own database"
            assert owed.row() == ("retry_wait", tries, "own_database")

    assert owed.run() == "ORD-1: delivered"
    assert owed.row() == ("delivered", tries + 1, "")


@pytest.mark.django_db(transaction=True)
def test_what_cannot_even_be_noted_ends_in_a_sentence_and_is_published_again(record_fact: RecordFact) -> None:
    owed = record_fact("loyalty")
    with connection.cursor() as cursor:
        cursor.execute("SET lock_timeout = '100ms'")

    with held("LOCK TABLE sideeffects_delivery IN ACCESS EXCLUSIVE MODE"):
        assert owed.run() == "ORD-1: waits for our own database (OperationalError)"

    assert owed.run() == "ORD-1: delivered"


def test_a_statement_that_takes_longer_than_it_may_is_a_failure_of_its_subscriber(record_fact: RecordFact) -> None:
    owed = record_fact("loyalty")

    def hangs(event: OrderFulfilled, delivery: Delivery) -> None:
        count("SELECT pg_sleep(9)")

    deliver(owed, hangs, timeout_s=1.0)

    assert owed.row() == ("retry_wait", 1, "OperationalError")
