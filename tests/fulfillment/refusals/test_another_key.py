"""Promise: what a provider has refused for good is over: whoever tries again asks anew, under another key, for what is left."""

from typing import Any

import pytest

from fulfillment import engine
from fulfillment.errors import Rejected, StepError, Unavailable
from fulfillment.models import SagaState, StepState
from fulfillment.recovery import choices
from orders.models import Incident, TimelineEntry
from orders.timeline import sentence
from tests.fulfillment.driving import REFUSED, compensation_failed, found, record, start
from tests.fulfillment.refusals.conftest import ALL, EDGE, LAG, LEASE, SILENCE, Refusing, entries, past, retried, sweep_when_due, work
from tests.shop_clock import ShopClock


@pytest.mark.parametrize("gateway", ALL)
def test_a_refund_that_was_refused_is_asked_for_anew_under_another_key(refusing: Refusing, clock: ShopClock, gateway: str) -> None:
    """A bank that keeps its refusals would repeat the first one for ever; I get my money back all the same."""
    saga = refusing(gateway)

    retried(saga)
    clock.passes(LEASE + LAG + EDGE)
    sweep_when_due(saga, clock)
    work(saga)

    assert (found(saga).state, found(saga).order.status) == (SagaState.COMPENSATED, "cancelled")
    assert refusing.effects == [("charge", 100), ("refund", 100)]
    assert entries(saga) == [("captured", 100, "payment:do:1:testsnonce"), ("refunded", 100, "payment:compensate:2:testsnonce")]
    assert past(saga) == [(True, 1, "payment:compensate:1:testsnonce", 100, "refund_declined")]


def test_each_refusal_ends_an_attempt_of_its_own(refusing: Refusing, clock: ShopClock) -> None:
    saga = refusing(token="tok_refund_declined")
    for _ in range(2):
        retried(saga)
        clock.passes(LEASE + LAG + EDGE)
        sweep_when_due(saga, clock)
        assert work(saga).code == "refund_declined"

    assert [attempt for _, attempt, *_ in past(saga)] == [1, 2]
    assert record(saga).compensation_key.endswith(":payment:compensate:3:testsnonce")
    assert refusing.effects == [("charge", 100)]
    assert [incident.amount_minor for incident in Incident.objects.exclude(state="resolved")] == [100]


def test_a_person_reads_which_attempt_it_is(refusing: Refusing) -> None:
    """Before the decision, and after it."""
    saga = refusing()
    (retry,) = [choice for choice in choices(found(saga), True) if choice.verb == "retry"]
    assert "under a new key" in retry.warns

    retried(saga)

    sentences = [
        sentence(entry) for entry in TimelineEntry.objects.filter(order_id=found(saga).order_id, to_state="compensation_scheduled")
    ]
    assert sentences == ["Payment undo scheduled", "Payment undo scheduled: attempt 2, under a new key"]


@pytest.mark.parametrize(
    "errors",
    [[SILENCE], [Unavailable("down")], [Unavailable("down"), SILENCE]],
    ids=["in doubt", "unavailable", "unavailable and in doubt"],
)
def test_what_was_not_refused_keeps_its_key(saga: int, clock: ShopClock, settings: Any, errors: list[StepError]) -> None:
    """Out of tries, a person retries: the refund may have landed, and the same key makes it one."""
    settings.COMPENSATION_TRIES = len(errors)
    compensation_failed(saga, errors[0])
    for error in errors[1:]:
        sweep_when_due(saga, clock)
        engine.record_failure(start(saga, compensating=True), error)
    sweep_when_due(saga, clock)
    assert record(saga).state == StepState.COMPENSATION_FAILED

    retried(saga)

    assert record(saga).compensation_key == "ORD-1:payment:compensate:1:testsnonce"
    assert past(saga) == []


def test_in_doubt_then_unavailable_then_refused_is_refused(saga: int, clock: ShopClock) -> None:
    """The last word counts; that an earlier try may have landed is found by the look that follows."""
    compensation_failed(saga, SILENCE)
    for error in (Unavailable("down"), REFUSED):
        sweep_when_due(saga, clock)
        engine.record_failure(start(saga, compensating=True), error)

    retried(saga)

    assert (record(saga).compensation_attempt, record(saga).compensation_doubt) == (2, True)


def test_what_nobody_has_found_was_not_refused(saga: int) -> None:
    """Watched for in vain: nobody was asked under that key."""
    compensation_failed(saga, Rejected("Nothing was found", code="watched_in_vain"))

    retried(saga)

    assert record(saga).compensation_attempt == 1
