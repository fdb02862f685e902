"""Promise: two deliverers of one fact, two relays at one queue, two who subscribe: each effect once, each number once, each message once."""

import time
from collections.abc import Iterator
from dataclasses import replace

import pytest
from django.db import IntegrityError, OperationalError, connection, transaction

from orders import facts
from orders.clock import shop_now
from orders.events import OrderFulfilled
from orders.models import Fact, Order
from orders.timeline import TimelineEntry
from sideeffects import dead_letters, deliveries, delivery_try, discovery, relay, replay
from sideeffects.models import Delivery, Subscriber
from sideeffects.replay import Selection
from sideeffects.tasks import Message
from tests.actors import AMARA, BELA
from tests.holding import held, outside
from tests.proofs.black_box.waiting import wait_for
from tests.sideeffects.conftest import ALL_LOST, NONE_LOST, Owed, RecordFact, wanting
from tests.sides import Side, at_once

pytestmark = pytest.mark.django_db(transaction=True)
LONG_AGO = "2020-01-01T00:00Z"
LOCK_S = 0.5  # what a relay waits for


@pytest.fixture(autouse=True)
def as_a_relay() -> Iterator[None]:
    with connection.cursor() as cursor:
        cursor.execute("SET lock_timeout = %s", [f"{LOCK_S}s"])
    yield
    relay.aside.deliveries._until.clear()
    connection.close()


def numbered() -> list[int]:
    """What one relay does to facts that have no number."""
    with transaction.atomic():
        return facts.number_committed(100, None, shop_now())


def balance() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT coalesce(sum(points), 0) FROM sideeffects_loyalty_balance")
        return int(cursor.fetchone()[0])


def due(marks: relay.Marks | None = None) -> list[Message]:
    return relay.due(discovery.names(), None, relay.after_loss, marks)


# --- facts -----------------------------------------------------------------------------------------------------------------


def test_two_relays_give_no_number_twice(record_fact: RecordFact) -> None:
    """The second finds nothing that the first does not hold; what comes meanwhile has its number in the next round."""
    record_fact("email")
    record_fact("email", "ORD-2")

    first, second = at_once(numbered, "SET number = given.number", numbered, must_wait=False)

    assert (sorted(first), second) == ([1, 2], [])
    assert set(Fact.objects.values_list("number", flat=True)) == {1, 2}


def test_a_fact_that_comes_while_another_relay_numbers_gets_a_number_of_its_own(record_fact: RecordFact) -> None:
    record_fact("email")

    def a_new_one_is_numbered() -> list[int]:
        record_fact("email", "ORD-2")
        return numbered()

    first, second = at_once(numbered, "SET number = given.number", a_new_one_is_numbered, must_wait=True)

    assert first == [1]
    assert isinstance(second, IntegrityError)
    assert numbered() == [2]
    assert list(Fact.objects.order_by("at").values_list("number", flat=True)) == [1, 2]


def test_one_fact_is_recorded_once(record_fact: RecordFact) -> None:
    """By two outcomes, if ever."""
    fact = record_fact("email").fact
    order = Order.objects.get()
    event = OrderFulfilled(number="ORD-1", currency="EUR", total_minor=8420, tracking="TR-2", fulfilled_on="2026-11-24", lines=())
    del fact

    def records() -> None:
        with transaction.atomic():
            facts.record(replace(event, number="ORD-X"), order.pk, "c")

    assert at_once(records, "INSERT", records, must_wait=True) == (None, None)
    assert Fact.objects.filter(payload__number="ORD-X").count() == 1


# --- deliverers ---------------------------------------------------------------------------------------------------------------


def test_a_doubled_message_meets_its_twin_and_ends_at_once(record_fact: RecordFact) -> None:
    """It does not wait for the twin's whole effect."""
    owed = record_fact("loyalty")

    first, second = at_once(owed.run, "sideeffects_loyalty", owed.run, must_wait=False)

    assert (first, second) == ("ORD-1: delivered", "ORD-1: nothing to deliver here")
    assert (balance(), owed.row()) == (84, ("delivered", 1, ""))


# A session that finds this function first gets its snapshot, waits, and takes the lock then.
LATE_LOCK = """
CREATE SCHEMA late;
CREATE FUNCTION late.pg_try_advisory_xact_lock(name bigint) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock_shared(4711);
    RETURN pg_catalog.pg_try_advisory_xact_lock(name);
END $$
"""


@pytest.fixture
def late_lock() -> Iterator[None]:
    with outside(autocommit=True) as owner:
        owner.execute(LATE_LOCK)
        yield
        owner.execute("DROP SCHEMA late CASCADE")


def adds_a_point(event: OrderFulfilled, delivery: Delivery) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO sideeffects_loyalty_balance AS mine VALUES (DEFAULT, 'me', 1) ON CONFLICT (account) DO UPDATE SET points = mine.points + 1"
        )


@pytest.mark.parametrize("calls_outside", [False, True], ids=["on our rows", "outside"])
def test_a_twin_that_commits_between_snapshot_and_lock_is_noticed(record_fact: RecordFact, late_lock: None, calls_outside: bool) -> None:
    """One statement reads and locks, and what it reads may be older than its lock: my points are not doubled, and no second receipt is sent."""
    owed = record_fact("loyalty")
    subscription = replace(discovery.subscriptions()["loyalty"], handler=adds_a_point, outside=calls_outside)

    def run() -> str:
        return delivery_try.deliver(subscription, owed.fact.pk)

    def run_late() -> str:
        with connection.cursor() as cursor:
            cursor.execute("SET search_path = late, public, pg_catalog")
        return run()

    with outside(autocommit=True) as observer:
        with held("SELECT pg_advisory_xact_lock(4711)"):
            second = Side(run_late)
            wait_for(lambda: second.waits(observer))
            first = run()
        said = (first, second.end())

    assert said == ("delivered", "nothing to deliver here")
    assert (balance(), owed.row()) == (1, ("delivered", 1, ""))
    assert TimelineEntry.objects.filter(kind="delivery", to_state="delivered").count() == 1


def test_two_workers_start_one_try_outside(record_fact: RecordFact) -> None:
    owed = record_fact("email")
    calls: list[str] = []
    subscription = replace(discovery.subscriptions()["email"], handler=lambda event, delivery: calls.append(delivery.key))

    def run() -> str:
        return delivery_try.deliver(subscription, owed.fact.pk)

    first, second = at_once(run, "pg_try_advisory_xact_lock", run, must_wait=False)

    assert (first, second, len(calls)) == ("delivered", "nothing to deliver here", 1)
    assert owed.row() == ("delivered", 1, "")


def test_a_relay_does_not_owe_what_somebody_is_delivering(record_fact: RecordFact) -> None:
    owed = record_fact("loyalty")

    _, more = at_once(owed.run, "sideeffects_loyalty", lambda: relay.owe(ALL_LOST), must_wait=False)

    assert more is False
    assert owed.row() == ("delivered", 1, "")
    assert Delivery.objects.count() == 1


@pytest.mark.parametrize("succeeded", [True, False], ids=["success", "failure"])
def test_a_worker_that_was_taken_for_lost_records_nothing(record_fact: RecordFact, succeeded: bool) -> None:
    """Its lease is over and the relay has the row; then it comes back."""
    owed = record_fact("email")
    started = deliveries.start(owed.fact.pk, "email", 1.0, 1.0)
    assert started is not None
    Delivery.objects.update(wake_at=LONG_AGO)

    def records() -> bool:
        failure = deliveries.Failure(code="late", message="late", retry_in_s=1)
        return deliveries.record_success(started) if succeeded else deliveries.record_failure(started, failure)

    _, recorded = at_once(due, 'INSERT INTO "orders_history"', records, must_wait=True)

    assert recorded is False
    assert owed.row() == ("retry_wait", 1, "worker_lost")


def test_a_try_that_is_recorded_is_not_taken_for_lost(record_fact: RecordFact) -> None:
    owed = record_fact("email")
    started = deliveries.start(owed.fact.pk, "email", 1.0, 1.0)
    assert started is not None
    Delivery.objects.update(wake_at=LONG_AGO)

    def records() -> bool:
        with transaction.atomic():
            return deliveries.record_success(started)

    recorded, published = at_once(records, "UPDATE sideeffects_delivery", due, must_wait=False)

    assert (recorded, published) == (True, [])
    assert owed.row() == ("delivered", 1, "")


# --- relays -----------------------------------------------------------------------------------------------------------------


def owed(record_fact: RecordFact) -> Owed:
    owed = record_fact("email")
    relay.owe(ALL_LOST)
    return owed


@pytest.mark.parametrize("both_have_read", [False, True], ids=["one has read", "both have read"])
def test_two_relays_publish_one_message(record_fact: RecordFact, both_have_read: bool) -> None:
    one = owed(record_fact)

    def take() -> list[Message]:
        return relay.dispatch._take([one.delivery.pk], None, relay.after_loss) if both_have_read else due()

    first, second = at_once(take, "FOR NO KEY UPDATE", take, must_wait=False)

    assert ([message.launch for message in first], second) == ([2], [])
    assert one.delivery.relaunches == 1


def test_two_relays_owe_one_row(record_fact: RecordFact) -> None:
    owed = record_fact("email")

    at_once(lambda: relay.owe(ALL_LOST), "INSERT", lambda: relay.owe(ALL_LOST))

    assert owed.row() == ("pending", 0, "")
    assert Fact.objects.get().relayed_at is not None


def test_two_persons_who_decide_about_one_letter_decide_once(record_fact: RecordFact) -> None:
    one = owed(record_fact)
    Delivery.objects.update(state="dead", tries=17, wake_at=None)

    decided = at_once(
        lambda: replay.replay(Selection(subscriber="email"), {"email"}, actor=AMARA, reason="mended", rate_per_s=20),
        "FOR NO KEY UPDATE",
        lambda: dead_letters.discard("email", BELA, "old"),
    )

    assert decided == (1, 0)
    assert one.row()[0] == "pending"


def test_two_who_start_at_once_subscribe_once_and_are_owed_from_one_number_on(record_fact: RecordFact) -> None:
    record_fact("email")
    relay.owe(NONE_LOST)

    at_once(lambda: relay.register(wanting("email"), 1), "FOR UPDATE", lambda: relay.register(wanting("email"), 2), must_wait=True)

    assert list(Subscriber.objects.values_list("name", "starts_at", "release", "state")) == [("email", 1, 2, "active")]


# --- whoever holds one order --------------------------------------------------------------------------------------------------


def test_an_order_that_somebody_holds_keeps_no_delivery_back(record_fact: RecordFact) -> None:
    """A forgotten psql has its row. A line of its history needs no lock of it; its worker was lost."""
    held_up, other = record_fact("email", "ORD-1"), record_fact("email", "ORD-2")
    for one in (held_up, other):
        Delivery.objects.create(fact=one.fact, subscriber="email", wake_at=LONG_AGO)
    Delivery.objects.filter(fact=held_up.fact).update(state="started", tries=1)

    marks = relay.Marks()
    with held("SELECT 1 FROM orders_order WHERE number = 'ORD-1' FOR UPDATE"):
        assert [message.order for message in due(marks)] == ["ORD-2"]
        assert held_up.row() == ("retry_wait", 1, "worker_lost")


def test_a_table_that_somebody_holds_ends_the_round_soon(record_fact: RecordFact) -> None:
    """It is not asked for row by row."""
    for number in range(20):
        Delivery.objects.create(fact=record_fact("email", f"ORD-{number}").fact, subscriber="email", wake_at=LONG_AGO)
    Delivery.objects.update(state="started", tries=1)
    begun = time.monotonic()

    with held("LOCK TABLE orders_history IN ACCESS EXCLUSIVE MODE"), pytest.raises(OperationalError):
        due()

    assert time.monotonic() - begun < 20 * LOCK_S / 2  # a wait for each row would be twice that
