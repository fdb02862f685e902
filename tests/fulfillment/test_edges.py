"""Promise: a limit ends at its last instant, neither before nor after: each is tried on both sides, with the instants that the engine itself has written."""

from typing import Any

import pytest
from django.conf import settings

from fulfillment import engine, recovery
from fulfillment.errors import Busy, InDoubt, Rejected, Unavailable
from fulfillment.models import Saga, SagaState, StepRecord, StepState, StockLevel
from orders.models import Incident, Order
from tests.fulfillment.driving import found, paid, record, refused, start
from tests.shop_clock import LIMITS_S, ShopClock

LEASE, EDGE = LIMITS_S["LEASE_S"], 0.001
DOWN, BUSY = Unavailable("down", code="connect_failed"), Busy("working", code="in_progress")
BOTH_SIDES = pytest.mark.parametrize(("after_s", "is_over"), [(0, False), (EDGE, True)], ids=["at its end", "just after"])


@pytest.fixture
def saga(clock: ShopClock, order: Order) -> int:
    return engine.open_saga(order).saga


# --- the lease -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("before_s", "is_taken"), [(EDGE, False), (0, True)], ids=["just before its end", "at its end"])
def test_a_worker_is_taken_over_at_the_end_of_its_lease(saga: int, clock: ShopClock, before_s: float, is_taken: bool) -> None:
    clock.passes(3)
    claim = start(saga)
    clock.passes(LEASE - before_s)

    recovery.inspect_saga(saga)

    assert (found(saga).epoch == 2) is is_taken
    assert engine.record_success(claim, {"charge_id": "c", "amount_minor": 100}).mine is not is_taken


# --- deadlines -------------------------------------------------------------------------------------------------------------


def goes_by(clock: ShopClock, seconds: float) -> None:
    """Time that is nobody's trouble: a sweep is at work, and comes when the saga is due."""
    clock.passes(seconds)
    Saga.objects.update(wake_at=clock.now, launched_at=None)


@BOTH_SIDES
def test_a_step_s_deadline_counts_from_its_first_start(saga: int, clock: ShopClock, after_s: float, is_over: bool) -> None:
    clock.passes(40)
    engine.record_failure(start(saga), BUSY)
    goes_by(clock, 500)
    recovery.inspect_saga(saga)
    engine.record_failure(start(saga), BUSY)
    goes_by(clock, settings.STEP_DEADLINE_S - 500 + after_s)

    recovery.inspect_saga(saga)

    assert (found(saga).state == SagaState.COMPENSATING) is is_over


@BOTH_SIDES
def test_a_saga_s_deadline_counts_from_opening_whatever_succeeds_on_the_way(
    saga: int, clock: ShopClock, after_s: float, is_over: bool
) -> None:
    goes_by(clock, settings.SAGA_DEADLINE_S - 100)
    paid(saga)
    goes_by(clock, 100 + after_s)

    recovery.inspect_saga(saga)

    assert (found(saga).state == SagaState.COMPENSATING) is is_over


@BOTH_SIDES
def test_a_compensation_s_deadline_counts_from_its_scheduling(
    saga: int, order: Order, clock: ShopClock, after_s: float, is_over: bool
) -> None:
    clock.passes(40)
    refused(saga)
    goes_by(clock, 300)
    engine.record_failure(start(saga, compensating=True), BUSY)
    goes_by(clock, settings.COMPENSATION_DEADLINE_S - 300 + after_s)

    recovery.inspect_saga(saga)

    assert (found(saga).state == SagaState.NEEDS_ATTENTION) is is_over
    assert [incident.kind for incident in Incident.objects.all()] == ["compensation_exhausted"] * is_over


def lose_a_worker(saga: int, clock: ShopClock, later_s: float) -> None:
    """It dies in its call. The sweep comes ``later_s`` after the end of its lease."""
    start(saga)
    clock.passes(LEASE + later_s)
    recovery.inspect_saga(saga)


@BOTH_SIDES
@pytest.mark.parametrize(("losses", "later_s"), [(1, 40), (3, 10)], ids=["one worker", "several"])
def test_the_time_of_lost_workers_moves_the_step_s_deadline_by_exactly_that(
    saga: int, clock: ShopClock, losses: int, later_s: float, after_s: float, is_over: bool
) -> None:
    for _ in range(losses):
        lose_a_worker(saga, clock, later_s)
    engine.record_failure(start(saga), BUSY)
    goes_by(clock, settings.STEP_DEADLINE_S + after_s)

    recovery.inspect_saga(saga)

    assert (found(saga).state == SagaState.COMPENSATING) is is_over


@BOTH_SIDES
def test_what_one_step_was_given_back_is_not_the_next_one_s(saga: int, clock: ShopClock, after_s: float, is_over: bool) -> None:
    lose_a_worker(saga, clock, 40)
    paid_again(saga)
    engine.run_local(saga, found(saga).epoch, "inventory", compensating=False)
    engine.record_failure(start(saga, "shipping"), BUSY)
    goes_by(clock, settings.STEP_DEADLINE_S + after_s)

    recovery.inspect_saga(saga)

    assert (found(saga).state == SagaState.COMPENSATING) is is_over


@BOTH_SIDES
def test_what_a_step_was_given_back_is_not_its_compensation_s(saga: int, clock: ShopClock, after_s: float, is_over: bool) -> None:
    lose_a_worker(saga, clock, 40)
    paid_again(saga)
    StockLevel.objects.update(on_hand=0)
    with pytest.raises(Rejected):
        engine.run_local(saga, found(saga).epoch, "inventory", compensating=False)
    engine.chain_stopped(saga, found(saga).epoch)
    engine.record_failure(start(saga, compensating=True), BUSY)
    goes_by(clock, settings.COMPENSATION_DEADLINE_S + after_s)

    recovery.inspect_saga(saga)

    assert (found(saga).state == SagaState.NEEDS_ATTENTION) is is_over


@BOTH_SIDES
def test_the_time_of_a_lost_worker_moves_the_saga_s_deadline_by_exactly_that(
    saga: int, clock: ShopClock, after_s: float, is_over: bool
) -> None:
    goes_by(clock, 100)
    lose_a_worker(saga, clock, 40)
    paid_again(saga)
    goes_by(clock, settings.SAGA_DEADLINE_S - 100 + after_s)

    recovery.inspect_saga(saga)

    assert (found(saga).state == SagaState.COMPENSATING) is is_over


def paid_again(saga: int) -> None:
    engine.record_success(start(saga), {"charge_id": "c", "amount_minor": 100})


@BOTH_SIDES
def test_what_no_process_serves_needs_a_person_after_its_time(saga: int, clock: ShopClock, after_s: float, is_over: bool) -> None:
    StepRecord.objects.filter(saga=saga, name="payment").update(name="gift_wrap")
    Saga.objects.update(launched_at=None)
    clock.until(found(saga).wake_at)
    assert recovery.inspect_saga(saga) is None
    clock.until(found(saga).left_since, settings.UNKNOWN_STEP_AFTER_S + after_s)

    recovery.inspect_saga(saga)

    assert (found(saga).state == SagaState.NEEDS_ATTENTION) is is_over


@pytest.mark.parametrize(("tries", "goes_on"), [(7, True), (8, False)])
def test_the_last_try_is_the_one_that_the_setting_names(saga: int, clock: ShopClock, tries: int, goes_on: bool) -> None:
    assert settings.STEP_TRIES == 8
    for _ in range(tries):
        engine.record_failure(start(saga), DOWN)
        clock.until(found(saga).wake_at)
        recovery.inspect_saga(saga)

    assert (found(saga).state == SagaState.RUNNING) is goes_on


@pytest.mark.parametrize(("losses", "goes_on"), [(12, True), (13, False)])
def test_a_step_whose_worker_is_lost_again_and_again_needs_a_person_after_so_many_launches(
    saga: int, clock: ShopClock, losses: int, goes_on: bool
) -> None:
    assert settings.POISON_AFTER == 12
    for _ in range(losses):
        lose_a_worker(saga, clock, 0)

    assert (found(saga).state == SagaState.RUNNING) is goes_on


# --- the sweep's own instants ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("before_s", "is_due"), [(EDGE, False), (0, True)], ids=["just before", "then"])
def test_a_saga_is_due_at_its_instant(saga: int, clock: ShopClock, before_s: float, is_due: bool) -> None:
    engine.record_failure(start(saga), InDoubt("silence"))
    clock.until(found(saga).wake_at, -before_s)

    assert bool([launch for found in recovery.due() for launch in found]) is is_due


@BOTH_SIDES
def test_what_wakes_up_later_than_any_rule_allows_is_due(saga: int, clock: ShopClock, after_s: float, is_over: bool) -> None:
    """Twice the longest wait of all is what no rule reaches."""
    engine.record_failure(start(saga), InDoubt("silence"))
    furthest_s = 2 * max(LEASE, settings.PATIENCE_CAP_S, settings.BACKOFF_CAP_S)
    clock.until(found(saga).wake_at, -furthest_s - after_s)  # the clock was ahead when it was written

    assert bool([launch for found in recovery.due() for launch in found]) is is_over


def test_a_reconciliation_is_due_once_every_so_often(clock: ShopClock) -> None:
    recovery.record_heartbeat()
    clock.passes(settings.RECONCILE_EVERY_S)
    assert not recovery.reconciliation_is_due()
    clock.passes(EDGE)
    assert recovery.reconciliation_is_due()
    assert not recovery.reconciliation_is_due()
    clock.passes(42)
    assert recovery.sweep_age_s() == settings.RECONCILE_EVERY_S + EDGE + 42


def test_nothing_is_started_twice_by_what_is_scheduled_only_once(saga: int, clock: ShopClock, settings: Any) -> None:
    """What is scheduled has no end of its own: however late its message comes, it starts, and once."""
    clock.passes(settings.PATIENCE_CAP_S * 3)

    assert engine.start(saga, 1, "payment", False) is not None
    assert engine.start(saga, 1, "payment", False) is None
    assert record(saga).state == StepState.STARTED
