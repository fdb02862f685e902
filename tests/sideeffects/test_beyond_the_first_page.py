"""Promise: the relay works through thousands to the last one, each once, oldest first, however its pages and rounds fall."""

import uuid
from datetime import timedelta

import pytest
from django.db import connection

from orders import lowwater, queue_probes
from orders.clock import shop_now
from orders.models import Fact
from sideeffects import dead_letters, deliveries, discovery, relay, tasks
from sideeffects.containment import Containment
from sideeffects.models import Delivery, Subscriber
from sideeffects.relay import Marks
from sideeffects.tasks import Message
from tests.actors import AMARA
from tests.holding import held, outside
from tests.shop_clock import ShopClock
from tests.sideeffects.conftest import ALL_LOST, NONE_LOST, RecordFact, wanting

PAGE = 10  # small, so that a test has many
MANY = 2 * PAGE + 3
LONG_AGO = "2020-01-01T00:00Z"


@pytest.fixture(autouse=True)
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (relay.fan_out, relay.dispatch, relay.subscriber_registration, lowwater):
        assert vars(module)["A_PAGE"] == 100
        monkeypatch.setattr(module, "A_PAGE", PAGE)


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch) -> list[Message]:
    """The broker is not this file's business."""
    sent: list[Message] = []

    def publish(messages: list[Message]) -> list[Message]:
        sent.extend(messages)
        return []

    monkeypatch.setattr(tasks, "publish", publish)
    monkeypatch.setattr(tasks, "probe_the_queue", lambda oldest: None)
    return sent


@pytest.fixture
def facts(record_fact: RecordFact, clock: ShopClock) -> list[Fact]:
    """A second apart."""
    found = []
    for number in range(MANY):
        clock.passes(1)
        found.append(record_fact("email", f"ORD-{1000 + number}").fact)
    return found


def numbers(messages: list[Message]) -> list[str]:
    return [message.order for message in messages]


def owed(facts: list[Fact]) -> list[Fact]:
    """Those of them that have a delivery row."""
    delivered = set(Delivery.objects.values_list("fact_id", flat=True))
    return [fact for fact in facts if fact.pk in delivered]


def wake_one_after_another(ago: timedelta, apart: timedelta) -> None:
    """The first of them so long ago. Numbers of rows go on from test to test, so they say nothing but the order."""
    for place, delivery in enumerate(Delivery.objects.order_by("id").values_list("pk", flat=True)):
        Delivery.objects.filter(pk=delivery).update(wake_at=shop_now() - ago + place * apart)


def owe_all(lost: object = ALL_LOST, marks: Marks | None = None) -> int:
    """Looks until there is nothing more to look at now."""
    rounds = 1
    while relay.owe(lost, marks):  # type: ignore[arg-type]
        rounds += 1
    return rounds


def test_facts_are_owed_page_by_page_to_the_last(facts: list[Fact]) -> None:
    rounds = owe_all()

    assert rounds == 3
    assert Delivery.objects.count() == MANY
    assert not Fact.objects.filter(relayed_at=None).exists()


def test_facts_whose_messages_only_waited_are_owed_once_they_are_lost(facts: list[Fact]) -> None:
    """The same relay has looked at all of them before."""
    marks = Marks()
    for _ in range(3):
        relay.owe(NONE_LOST, marks)
    assert not Delivery.objects.exists()

    owe_all(ALL_LOST, marks)

    assert Delivery.objects.count() == MANY


def test_a_burst_that_is_larger_than_a_round_goes_out_in_the_rounds_that_follow(
    facts: list[Fact], published: list[Message], clock: ShopClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody waits until the relay has read all that lies behind it once more."""
    monkeypatch.setattr(relay.rounds, "LAUNCHES_A_ROUND", PAGE)
    marks = Marks()
    relay.run_round(lambda: True, marks)
    clock.passes(3600)
    relay.run_round(lambda: True, marks)
    owe_all()
    clock.passes(10)  # it stood still

    for _ in range(3):
        relay.run_round(lambda: True, marks)

    assert len(published) == len(set(numbers(published))) == MANY


def test_numbers_are_given_batch_by_batch_in_the_order_of_the_facts(facts: list[Fact], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay.fan_out, "NUMBERED_AT_ONCE", 5)
    marks = Marks()
    for _ in range(MANY // 5 + 1):
        relay.owe(NONE_LOST, marks)

    given = dict(Fact.objects.values_list("pk", "number"))
    assert [given[fact.pk] for fact in facts] == list(range(1, MANY + 1))


def test_a_round_publishes_all_that_is_due_each_once(facts: list[Fact], published: list[Message]) -> None:
    owe_all()

    assert relay.run_round(lambda: True, Marks()) == MANY

    assert sorted(numbers(published)) == sorted(fact.order.number for fact in facts)
    assert set(Delivery.objects.values_list("relaunches", flat=True)) == {1}


def test_a_page_of_a_long_backlog_begins_where_the_last_one_ended(facts: list[Fact]) -> None:
    """It does not pass the entries of all pages before it."""
    owe_all()
    wake_one_after_another(timedelta(days=1), apart=timedelta(minutes=1))
    instants = list(Delivery.objects.order_by("wake_at").values_list("wake_at", flat=True)[:PAGE])
    marks = Marks()

    relay.due(discovery.names(), None, relay.after_loss, marks)

    assert instants[-1] is not None
    assert marks.due.since == instants[-1] - lowwater.OVERLAP


def test_rounds_with_marks_find_who_committed_late(facts: list[Fact], published: list[Message]) -> None:
    """More than a page of them, all due before what was read already."""
    marks = Marks()
    owe_all()
    late = list(Delivery.objects.order_by("id").values_list("pk", flat=True)[: PAGE + 20])
    Delivery.objects.filter(pk__in=late).update(state="held", wake_at=None)
    relay.run_round(lambda: True, marks)
    assert len(published) == MANY - len(late)

    Delivery.objects.filter(pk__in=late).update(state="pending", wake_at=shop_now() - timedelta(seconds=30))
    for _ in range(5):
        relay.run_round(lambda: True, marks)

    assert len(published) == len(set(numbers(published))) == MANY


def test_what_was_launched_and_lost_is_found_on_every_page(facts: list[Fact], published: list[Message]) -> None:
    owe_all()
    relay.run_round(lambda: True, Marks())
    published.clear()
    Delivery.objects.update(launched_at=shop_now() - timedelta(hours=1))

    found: list[Message] = []
    while messages := relay.due(discovery.names(), shop_now() - timedelta(minutes=1), relay.after_loss, Marks()):
        found += messages

    assert len(found) == len(set(numbers(found))) == MANY


@pytest.mark.django_db(transaction=True)
def test_a_page_that_somebody_holds_is_passed(facts: list[Fact], published: list[Message]) -> None:
    owe_all()
    marks = Marks()
    wake_one_after_another(timedelta(minutes=10), apart=timedelta(milliseconds=1))
    last = Delivery.objects.order_by("id").values_list("pk", flat=True)[PAGE + 1]
    with held(f"SELECT FROM sideeffects_delivery WHERE id <= {last} FOR UPDATE"):
        for _ in range(4):
            relay.run_round(lambda: True, marks)
        assert len(published) == MANY - PAGE - 2

    for _ in range(4):
        relay.run_round(lambda: True, marks)
    assert len(published) == len(set(numbers(published))) == MANY


@pytest.mark.django_db(transaction=True)
def test_a_page_of_facts_that_somebody_holds_is_passed(facts: list[Fact], monkeypatch: pytest.MonkeyPatch) -> None:
    """Two pages of them, more than a round looks at."""
    monkeypatch.setattr(relay.rounds, "PAGES_A_ROUND", 1)
    monkeypatch.setattr(queue_probes, "lost_before", lambda queue: ALL_LOST)
    monkeypatch.setattr(tasks, "publish", lambda messages: [])
    monkeypatch.setattr(tasks, "probe_the_queue", lambda oldest: None)
    marks = Marks()
    relay.owe(NONE_LOST, marks)
    with held(f"SELECT FROM orders_fact WHERE number <= {2 * PAGE} FOR UPDATE"):
        for _ in range(3):
            relay.run_round(lambda: True, marks)
        assert owed(facts) == facts[2 * PAGE :]

    for _ in range(3):
        relay.run_round(lambda: True, marks)
    assert owed(facts) == facts
    assert not Fact.objects.filter(relayed_at=None).exists()


@pytest.mark.django_db(transaction=True)
def test_a_page_of_facts_that_are_being_delivered_is_passed(facts: list[Fact]) -> None:
    """Their workers stand still in the middle of it."""
    marks = Marks()
    with outside() as worker:
        for fact in facts[:PAGE]:
            worker.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [deliveries._lock_name(fact.pk, "email")])
        owe_all(ALL_LOST, marks)
        assert owed(facts) == facts[PAGE:]

    owe_all(ALL_LOST, marks)
    assert owed(facts) == facts


def test_a_page_of_facts_on_which_nobody_can_work_is_passed(facts: list[Fact], monkeypatch: pytest.MonkeyPatch) -> None:
    """In the same round, and also when their minute is over."""
    broken = {fact.pk for fact in facts[:PAGE]}
    relay_them = relay.fan_out._relay

    def breaks(keys: list[uuid.UUID], lost_before: object) -> list[uuid.UUID]:
        if broken & set(keys):
            raise ValueError("planted")
        return relay_them(keys, lost_before)  # type: ignore[arg-type]

    monkeypatch.setattr(relay.fan_out, "_relay", breaks)
    monkeypatch.setattr(relay.aside, "facts", Containment("fact"))
    marks = Marks()

    owe_all(ALL_LOST, marks)

    assert owed(facts) == facts[PAGE:]
    broken.clear()
    monkeypatch.setattr(relay.aside, "facts", Containment("fact"))
    owe_all(ALL_LOST, marks)
    assert owed(facts) == facts


def test_a_decision_by_a_person_reaches_every_batch(facts: list[Fact], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deliveries, "AT_ONCE", 5)
    owe_all()
    Delivery.objects.update(state="dead", wake_at=None)

    assert dead_letters.discard("email", AMARA, "in vain") == MANY

    assert set(Delivery.objects.values_list("state", flat=True)) == {"discarded"}


def test_whoever_goes_or_comes_back_with_a_long_queue_is_written_down_a_page_a_round(record_fact: RecordFact) -> None:
    """A relay that stands in one transaction for minutes delivers nothing to anybody, is taken for dead, and begins again."""
    one = record_fact("email").fact
    relay.register(wanting("email", "loyalty"), 1)
    relay.owe(NONE_LOST)
    copy_facts(one, 2 * PAGE)
    waiting = [fact for fact in Fact.objects.all() if fact != one]
    Delivery.objects.bulk_create(Delivery(fact=fact, subscriber="email", wake_at=LONG_AGO) for fact in waiting[: PAGE + 5])

    assert (relay.register(wanting("loyalty"), 2), held_of("email")) == (False, 6 + PAGE)  # six that had no row yet, and a page
    assert Subscriber.objects.get(name="email").state == "active"
    assert (relay.register(wanting("loyalty"), 2), held_of("email")) == (True, 2 * PAGE + 1)
    assert Subscriber.objects.get(name="email").state == "removed"

    assert (relay.register(wanting("email", "loyalty"), 3), held_of("email")) == (False, PAGE + 1)
    assert (relay.register(wanting("email", "loyalty"), 3), held_of("email")) == (False, 1)
    assert (relay.register(wanting("email", "loyalty"), 3), held_of("email")) == (True, 0)
    assert Delivery.objects.filter(subscriber="email", state="pending").count() == 2 * PAGE + 1


def held_of(subscriber: str) -> int:
    return Delivery.objects.filter(subscriber=subscriber, state="held").count()


def copy_facts(fact: Fact, count: int) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO orders_fact SELECT (json_populate_record(f, json_build_object('id', gen_random_uuid(), 'number', 10 + n))).*"
            " FROM orders_fact f, generate_series(1, %s) n WHERE f.id = %s",
            [count, fact.pk],
        )
