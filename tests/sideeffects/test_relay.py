"""Promise: whoever subscribes is owed every fact from its start on, however it was published; what is lost is found, what only waits is left alone."""

import re
from datetime import timedelta
from typing import Any

import pytest
from django.conf import settings
from django.db import connection
from django.test.utils import CaptureQueriesContext

from orders.clock import shop_now
from orders.models import Fact, QueueProbe
from orders.timeline import TimelineEntry
from sideeffects import deliveries, discovery, relay, tasks
from sideeffects.deliveries import Failure
from sideeffects.models import Delivery
from sideeffects.tasks import Message
from tests.sideeffects.conftest import ALL_LOST, NONE_LOST, RecordFact, wanting

LONG_AGO = "2020-01-01T00:00Z"


def lost(subscriber: str, tries: int) -> Failure:
    return Failure(code="worker_lost", message=f"lost in try {tries}", retry_in_s=None if tries > 3 else 1.0)


def due(before: Any = None) -> list[Message]:
    return relay.due(discovery.names(), before, lost)


def make_due() -> None:
    Delivery.objects.exclude(wake_at=None, launched_at=None).update(wake_at=LONG_AGO)


# --- who is owed what ---


def test_a_fact_is_owed_to_all_that_start_at_or_before_it_whoever_has_published_what(record_fact: RecordFact) -> None:
    """An older worker that knew of one subscriber only has forgotten nobody."""
    owed = record_fact("email")
    relay.register(wanting("email", "loyalty"), release=1)
    owed.run()

    relay.owe(ALL_LOST)

    assert set(Delivery.objects.values_list("subscriber", "state")) == {("email", "delivered"), ("loyalty", "pending")}
    assert Fact.objects.get().relayed_at is not None


def test_a_new_subscriber_is_not_owed_what_was_numbered_before(record_fact: RecordFact) -> None:
    record_fact("email")
    relay.owe(ALL_LOST)
    relay.register(wanting("email", "survey"), release=1)
    record_fact("email", "ORD-2")

    relay.owe(ALL_LOST)

    owed = Delivery.objects.values_list("fact__order__number", "subscriber")
    assert set(owed) == {("ORD-1", "email"), ("ORD-2", "email"), ("ORD-2", "survey")}


def test_numbers_follow_the_commits_and_none_is_given_twice(record_fact: RecordFact) -> None:
    for number in range(3):
        record_fact("email", f"ORD-{number}")
        relay.owe(NONE_LOST)

    assert list(Fact.objects.order_by("at").values_list("number", flat=True)) == [1, 2, 3]


def test_a_message_that_may_still_wait_is_not_owed_again(record_fact: RecordFact) -> None:
    """Waiting is not loss."""
    record_fact("email")

    relay.owe(NONE_LOST)

    assert not Delivery.objects.exists()
    assert Fact.objects.get().relayed_at is None
    relay.owe(ALL_LOST)
    assert Delivery.objects.get().state == "pending"


def test_a_fact_that_everybody_has_heard_is_not_read_again(record_fact: RecordFact) -> None:
    owed = record_fact("email")
    owed.run()

    relay.owe(NONE_LOST)

    assert Fact.objects.get().relayed_at is not None


@pytest.mark.django_db(transaction=True)
def test_the_relay_writes_by_the_round_and_not_by_the_order(record_fact: RecordFact) -> None:
    """A hundred facts cost it one transaction: numbered and found relayed at once."""
    for number in range(100):
        Delivery.objects.create(fact=record_fact("email", f"ORD-{number}").fact, subscriber="email", state="delivered")

    with CaptureQueriesContext(connection) as asked:
        relay.owe(NONE_LOST)

    assert Fact.objects.filter(relayed_at__isnull=False).count() == 100
    assert transactions_that_write(asked) == 1


def test_a_fact_that_is_heard_after_it_was_numbered_is_relayed_then(record_fact: RecordFact) -> None:
    owed = record_fact("email")
    relay.owe(NONE_LOST)
    assert Fact.objects.get().relayed_at is None
    owed.run()

    relay.owe(NONE_LOST)

    assert Fact.objects.get().relayed_at is not None


def transactions_that_write(asked: CaptureQueriesContext) -> int:
    """By their statements: the server's own counter also counts other tests, and itself."""
    statements = "\n".join(one["sql"] for one in asked)
    return len([one for one in statements.split("COMMIT") if re.search(r"\b(INSERT|UPDATE|DELETE)\b (?!OF)", one)])


@pytest.mark.django_db(transaction=True)
def test_what_is_being_delivered_right_now_is_not_owed(record_fact: RecordFact, other_connection: Any) -> None:
    owed = record_fact("email")
    other_connection.execute("BEGIN")
    other_connection.execute(deliveries.TRY_LOCK, [f"delivery {owed.fact.pk} email"])

    relay.owe(ALL_LOST)

    assert not Delivery.objects.exists()
    assert Fact.objects.get().relayed_at is None
    other_connection.execute("ROLLBACK")


# --- what is due ---


def test_what_is_owed_is_published_once_and_again_only_if_it_is_lost(record_fact: RecordFact) -> None:
    record_fact("email")
    relay.owe(ALL_LOST)

    (message,) = due()

    assert (message.subscriber, message.order, message.launch) == ("email", "ORD-1", 2)
    assert due() == []
    assert due(before=shop_now() - timedelta(seconds=60)) == []
    (again,) = due(before=shop_now() + timedelta(seconds=60))
    assert again.launch == 3


def test_what_the_broker_did_not_take_is_due_at_once(record_fact: RecordFact) -> None:
    record_fact("email")
    relay.owe(ALL_LOST)

    relay.not_published(due())

    assert Delivery.objects.get().relaunches == 0
    assert len(due()) == 1


@pytest.mark.parametrize("subscriber", ["email", "loyalty"])
def test_a_subscriber_that_kills_its_worker_ends_as_a_dead_letter(record_fact: RecordFact, subscriber: str) -> None:
    """It is counted, try by try, and not published for ever."""
    owed = record_fact(subscriber)
    relay.owe(ALL_LOST)

    for _ in range(60):
        make_due()
        for _ in due():
            deliveries.start(owed.fact.pk, subscriber, 1, 1)  # ... and the hard limit or the OOM killer ends the process

    assert owed.row() == ("dead", 4, "worker_lost")
    assert TimelineEntry.objects.filter(to_state="dead").count() == 1


def test_a_message_that_nobody_starts_however_often_it_is_published_is_a_dead_letter(record_fact: RecordFact) -> None:
    owed = record_fact("email")
    relay.owe(ALL_LOST)

    for _ in range(settings.POISON_AFTER + 5):
        due(before=shop_now() + timedelta(seconds=60))

    assert owed.row() == ("dead", 0, "no_progress")
    assert owed.delivery.relaunches == settings.POISON_AFTER


def test_what_newer_code_subscribes_to_is_left_to_newer_code(record_fact: RecordFact) -> None:
    record_fact("survey")
    relay.owe(ALL_LOST)

    assert due() == []
    assert Delivery.objects.get().state == "pending"


# --- probes ---


@pytest.mark.django_db(transaction=True)
def test_a_probe_is_wanted_once_a_message_is_late_and_decides(
    record_fact: RecordFact, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before it comes out nothing is published again; when it does, what it has overtaken is lost."""
    sent: list[str] = []
    monkeypatch.setattr(tasks.probe, "apply_async", lambda kwargs, task_id: sent.append(kwargs["stamp"]))
    published: list[Message] = []

    def publish(messages: list[Message]) -> list[Message]:
        published.extend(messages)
        return []

    monkeypatch.setattr(tasks, "publish", publish)
    record_fact("email")
    relay.run_round(lambda: True)
    assert sent == [], "its message went out a moment ago"

    settings.PATIENCE_S = 0
    relay.run_round(lambda: True)
    relay.run_round(lambda: True)
    assert (len(sent), published) == (1, [])

    settings.TASK_HARD_LIMIT_S = 0
    assert tasks.probe(stamp=sent[0]) == "sideeffects is consumed"
    relay.run_round(lambda: True)
    assert [message.subscriber for message in published] == ["email"]
    assert QueueProbe.objects.get().queue == "sideeffects"


def test_a_round_has_a_bound(record_fact: RecordFact, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "publish", lambda messages: [])
    monkeypatch.setattr(relay.rounds, "LAUNCHES_A_ROUND", 200)
    fact = record_fact("email").fact
    Delivery.objects.bulk_create(Delivery(fact=fact, subscriber=f"s{n}", wake_at=LONG_AGO) for n in range(500))
    monkeypatch.setattr(discovery, "names", lambda: ["email", *(f"s{n}" for n in range(500))])

    assert relay.run_round(lambda: True) == 200
    assert relay.run_round(lambda: False) == 0, "whoever has lost its turn stops"


def test_how_much_waits_is_counted_with_what_no_row_shows(record_fact: RecordFact) -> None:
    record_fact("email")
    assert (relay.waiting(), relay.waiting(60)) == (1, 0)

    relay.owe(ALL_LOST)
    assert relay.waiting() == 1
    make_due()
    assert (relay.waiting(), relay.waiting(60)) == (1, 1)

    Delivery.objects.update(state="dead", wake_at=None)
    assert relay.waiting() == 0


def test_the_relay_s_last_work_is_known(db: None) -> None:
    assert relay.age_s() is None
    relay.record_heartbeat()
    assert relay.age_s() == 0
