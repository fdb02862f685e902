"""Promise: while a subscriber's service is away one delivery asks now and then; the others wait, spend nothing, and go on when it is back. One incident says so."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from orders.models import Incident
from sideeffects import circuit, deliveries, delivery_try, discovery, incidents, relay, tasks
from sideeffects.models import Circuit, Delivery
from sideeffects.tasks import Message
from tests.shop_clock import LIMITS_S, ShopClock
from tests.sideeffects.conftest import Owed, RecordFact

DAYS_S = 10 * 86_400.0


class Service:
    """What the subscriber calls: away, until it is told to be back."""

    def __init__(self) -> None:
        self.error: Exception | None = TimeoutError("away")
        self.asked: list[str] = []

    def __call__(self, event: Any, delivery: Delivery) -> None:
        self.asked.append(event.number)
        if self.error:
            raise self.error


@pytest.fixture
def service() -> Service:
    return Service()


@pytest.fixture
def try_it(service: Service, monkeypatch: pytest.MonkeyPatch) -> Callable[[Owed], str]:
    """What a worker does with its message."""
    subscription = replace(discovery.subscriptions()["email"], handler=service, of_this_one=(LookupError,))
    return lambda one: delivery_try.deliver(subscription, one.fact.pk)


@pytest.fixture
def published(clock: ShopClock, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[str]]:
    """The orders whose message goes out in this round of the relay; it is the same relay each time."""
    sent: list[Message] = []
    monkeypatch.setattr(tasks, "publish", lambda messages: sent.extend(messages) or [])  # type: ignore[func-returns-value]
    marks = relay.Marks()

    def one_round() -> list[str]:
        sent.clear()
        relay.run_round(lambda: True, marks)
        return [message.order for message in sent]

    return one_round


@pytest.fixture
def away(record_fact: RecordFact, clock: ShopClock, try_it: Callable[[Owed], str]) -> list[Owed]:
    """Three have failed, two came later."""
    owed = [record_fact("email", f"ORD-{n}") for n in range(5)]
    for one in owed:
        try_it(one)
    return owed


def rows(deliveries: list[Owed]) -> list[tuple[str, int, str]]:
    return [one.row() for one in deliveries]


def test_three_deliveries_that_fail_open_it_and_the_others_wait_without_asking(away: list[Owed], service: Service) -> None:
    assert service.asked == ["ORD-0", "ORD-1", "ORD-2"]
    assert rows(away)[1:] == [
        ("retry_wait", 1, "TimeoutError"),
        ("retry_wait", 0, "TimeoutError"),  # the one that opened it spends nothing either
        ("retry_wait", 0, "not_answering"),
        ("retry_wait", 0, "not_answering"),
    ]


def test_one_delivery_that_always_fails_opens_nothing(record_fact: RecordFact, clock: ShopClock, try_it: Callable[[Owed], str]) -> None:
    owed = record_fact("email")
    for _ in range(5):
        try_it(owed)

    assert not Circuit.objects.get().is_open


def test_an_answer_in_between_is_an_answer(
    record_fact: RecordFact, clock: ShopClock, service: Service, try_it: Callable[[Owed], str]
) -> None:
    owed = [record_fact("email", f"ORD-{n}") for n in range(6)]
    for one, error in zip(owed, [TimeoutError(), TimeoutError(), None, TimeoutError(), TimeoutError(), LookupError("full")], strict=True):
        service.error = error
        try_it(one)

    assert not Circuit.objects.exists(), "what is said of one mailbox is an answer too"


def test_full_mailboxes_keep_no_other_receipt_back(
    record_fact: RecordFact, clock: ShopClock, service: Service, try_it: Callable[[Owed], str]
) -> None:
    service.error = LookupError("full")
    owed = [record_fact("email", f"ORD-{n}") for n in range(4)]
    for one in owed:
        try_it(one)

    assert rows(owed) == [("retry_wait", 1, "LookupError")] * 4
    assert not Circuit.objects.exists()


def test_one_asks_in_rotation_and_an_outage_of_days_spends_nothing(
    away: list[Owed], clock: ShopClock, service: Service, try_it: Callable[[Owed], str], published: Callable[[], list[str]]
) -> None:
    service.asked.clear()
    assert published() == [], "not at once"
    by_number = {one.fact.order.number: one for one in away}
    ends = clock.now.timestamp() + DAYS_S
    for _ in range(12):
        clock.until(Circuit.objects.get().next_probe_at)
        (number,) = published()
        assert published() == [], "one at a time"
        try_it(by_number[number])
    assert service.asked == [f"ORD-{n % 5}" for n in range(12)]
    clock.passes(ends - clock.now.timestamp())
    (number,) = published()
    try_it(by_number[number])

    assert [(state, tries) for state, tries, _ in rows(away)] == [("retry_wait", tries) for tries in (1, 1, 0, 0, 0)]


def test_an_answer_to_the_one_that_asks_closes_it_and_all_go_on_a_few_each_second(
    away: list[Owed], clock: ShopClock, service: Service, try_it: Callable[[Owed], str], published: Callable[[], list[str]]
) -> None:
    service.error = None
    clock.until(Circuit.objects.get().next_probe_at)
    assert published() == ["ORD-0"]
    assert try_it(away[0]) == "delivered"

    seen: list[str] = []
    for _ in range(4):
        seen += published()
        clock.passes(1 / circuit.WOKEN_PER_S)
    seen += published()

    assert seen == ["ORD-1", "ORD-2", "ORD-3", "ORD-4"]
    assert not Circuit.objects.exists()
    assert [try_it(one) for one in away[1:]] == ["delivered"] * 4
    assert {state for state, _, _ in rows(away)} == {"delivered"}


def test_a_probe_that_is_lost_is_followed_by_another(
    away: list[Owed], clock: ShopClock, published: Callable[[], list[str]], try_it: Callable[[Owed], str]
) -> None:
    clock.until(Circuit.objects.get().next_probe_at)
    assert published() == ["ORD-0"]
    clock.passes(LIMITS_S["PATIENCE_CAP_S"])

    assert published() == ["ORD-1"]
    assert try_it(away[0]) == "waits: nobody is answered there", "its message comes late"


def test_the_limit_in_time_begins_anew_when_it_is_answered(
    away: list[Owed], clock: ShopClock, service: Service, try_it: Callable[[Owed], str], published: Callable[[], list[str]]
) -> None:
    clock.passes(DAYS_S)
    service.error = None
    published()
    try_it(away[0])
    published()
    service.error = ConnectionError("away again")

    try_it(away[1])

    assert away[1].row() == ("retry_wait", 2, "ConnectionError")


def test_where_nobody_is_left_to_ask_it_closes(away: list[Owed], clock: ShopClock, published: Callable[[], list[str]]) -> None:
    Delivery.objects.update(state="discarded", wake_at=None, failing_since=None)
    clock.until(Circuit.objects.get().next_probe_at)

    published()
    published()

    assert not Circuit.objects.exists()


def test_the_others_subscribers_notice_nothing(
    away: list[Owed], record_fact: RecordFact, clock: ShopClock, published: Callable[[], list[str]]
) -> None:
    other = record_fact("loyalty", "ORD-9")
    Delivery.objects.create(fact=other.fact, subscriber="loyalty", wake_at=clock.now)

    assert published() == ["ORD-9"]


def test_it_is_one_incident_that_counts_those_who_wait_and_closes_itself(
    away: list[Owed], clock: ShopClock, service: Service, try_it: Callable[[Owed], str], published: Callable[[], list[str]]
) -> None:
    incidents.refresh()
    clock.passes(LIMITS_S["PATIENCE_CAP_S"] * 100)  # long enough for what fails by itself to be reported
    incidents.refresh()
    incident = Incident.objects.get()
    assert (incident.subject, incident.code, incident.state) == ("email", "not_answering", "open")
    assert incident.message == "no answer since 2027-01-04 09:00:00 UTC (TimeoutError); one asks again and again, 5 wait and spend no try"

    service.error = None
    published()
    try_it(away[0])
    incidents.refresh()
    incident.refresh_from_db()
    assert incident.state == "resolved"
    assert list(Incident.objects.filter(kind="dead_letter").values_list("code", "state", "message")) == [
        ("not_answering", "resolved", incident.message)
    ]


def test_while_nothing_fails_it_costs_no_statement(
    record_fact: RecordFact, clock: ShopClock, service: Service, try_it: Callable[[Owed], str]
) -> None:
    service.error = None
    owed = record_fact("email")

    with CaptureQueriesContext(connection) as asked:
        assert try_it(owed) == "delivered"

    of_circuits = [query["sql"] for query in asked if "sideeffects_circuit" in query["sql"]]
    assert len(of_circuits) == 1
    assert "pg_try_advisory_xact_lock" in of_circuits[0], "in the statement that is there anyway"


def test_what_is_held_back_again_and_again_is_no_message_that_nobody_starts(
    record_fact: RecordFact, clock: ShopClock, try_it: Callable[[Owed], str], settings: Any
) -> None:
    owed = record_fact("email", "ORD-7")
    row = Delivery.objects.create(fact=owed.fact, subscriber="email", wake_at=clock.now)
    for _ in range(settings.POISON_AFTER + 3):
        assert relay.due(["email"], None, relay.after_loss)
        Circuit.objects.get_or_create(subscriber="email", defaults={"opened_at": clock.now})
        try_it(owed)
    row.refresh_from_db()

    assert (row.state, row.error_code) == ("retry_wait", deliveries.NOT_ANSWERING)
