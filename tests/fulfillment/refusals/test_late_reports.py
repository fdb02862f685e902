"""Promise: whatever lands late has an owner, and refusals of before are known by their history."""

from collections.abc import Callable
from typing import Any

import pytest

from fulfillment import engine, ledger
from fulfillment.errors import Unavailable
from fulfillment.models import PastAttempt, Saga, SagaState, StepState
from orders.models import Incident, Order, TimelineEntry
from orders.timeline import sentence
from tests.fulfillment.driving import REFUSED, compensation_failed, found, record, start
from tests.fulfillment.refusals.conftest import entries, retried, sweep_when_due
from tests.shop_clock import ShopClock

GIVEN_BACK = {"refund_id": "re_1", "amount_minor": 100, "currency": "EUR"}

# --- whoever comes late ----------------------------------------------------------------------------------------------------


def taken_over_and_refused(saga: int, clock: ShopClock) -> engine.Claim:
    """Two workers under one key: the first stands still, the second is refused. The claim of the first."""
    compensation_failed(saga, Unavailable("down"))
    sweep_when_due(saga, clock)
    first = start(saga, compensating=True)
    sweep_when_due(saga, clock)
    engine.record_failure(start(saga, compensating=True), REFUSED)
    assert found(saga).state == SagaState.NEEDS_ATTENTION
    return first


@pytest.mark.parametrize("is_retried", [False, True], ids=["before the retry", "after it"])
def test_a_refund_that_a_late_worker_reports_is_entered(saga: int, clock: ShopClock, is_retried: bool) -> None:
    """It was refused under the same key meanwhile, and took place after all."""
    first = taken_over_and_refused(saga, clock)
    if is_retried:
        retried(saga)

    assert not engine.record_success(first, GIVEN_BACK).mine

    assert entries(saga)[1:] == [("refunded", 100, "payment:compensate:1:testsnonce")]
    (late,) = TimelineEntry.objects.filter(kind="late")
    assert sentence(late) == "A late worker of payment (epoch 3) learned 'undone': €1.00 was given back after all, and is entered"
    if not is_retried:
        retried(saga)
        assert (found(saga).state, record(saga).state) == (SagaState.COMPENSATED, StepState.NOT_NEEDED)


def test_a_refund_that_took_place_under_both_keys_is_reported_with_its_amount(saga: int, order: Order, clock: ShopClock) -> None:
    first = taken_over_and_refused(saga, clock)
    retried(saga)
    sweep_when_due(saga, clock)
    engine.record_success(start(saga, compensating=True), GIVEN_BACK)
    assert found(saga).state == SagaState.COMPENSATED

    engine.record_success(first, GIVEN_BACK)

    (incident,) = Incident.objects.exclude(state="resolved")
    assert (incident.kind, incident.code, incident.amount_minor) == ("mismatch", "refunded_twice", 100)
    assert ledger.remaining(order.pk) == 0


def test_a_refund_that_the_look_up_had_found_is_not_reported_as_a_second_one(saga: int, clock: ShopClock) -> None:
    first = taken_over_and_refused(saga, clock)
    retried(saga)
    sweep_when_due(saga, clock)
    engine.record_success(start(saga, compensating=True), {"found_compensated": True, "amount_minor": 100})

    engine.record_success(first, GIVEN_BACK)

    assert not Incident.objects.exclude(state="resolved").exists()


def test_nothing_of_it_is_written_for_an_order_that_is_fulfilled(saga: int) -> None:
    record_outcome: Callable[..., Any] = engine.record_success
    record_outcome(start(saga), {"charge_id": "ch_1", "amount_minor": 100})
    engine.run_local(saga, 1, "inventory", compensating=False)
    record_outcome(start(saga, "shipping"), {"label_id": "l", "tracking": "t"})

    assert found(saga).state == SagaState.COMPLETED
    assert not PastAttempt.objects.exists()
    assert Saga.objects.get().records.filter(do_attempt=1, compensation_refused_at=None).count() == 3
