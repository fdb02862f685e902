"""Promise: time in which nobody of ours looked at an order is not the provider's, and spends none of its deadlines."""

import pytest
from django.conf import settings

from fulfillment import engine, recovery
from fulfillment.engine import budget
from fulfillment.errors import InDoubt, Unavailable
from fulfillment.models import Saga, SagaState, StepState, StockLevel
from fulfillment.recovery import circuits, sweep
from orders.models import Order
from orders.queue_probes import QueueProbe
from tests.actors import AMARA
from tests.fulfillment.driving import found, paid, record, refused, start
from tests.shop_clock import LIMITS_S, ShopClock

STEP_DEADLINE, COMPENSATION_DEADLINE, SAGA_DEADLINE = (
    LIMITS_S["STEP_DEADLINE_S"],
    LIMITS_S["COMPENSATION_DEADLINE_S"],
    LIMITS_S["SAGA_DEADLINE_S"],
)


@pytest.fixture
def saga(clock: ShopClock, order: Order) -> int:
    return engine.open_saga(order).saga


def failed(saga: int, clock: ShopClock, compensating: bool = False) -> None:
    """One try, without an answer."""
    engine.record_failure(start(saga, compensating=compensating), InDoubt("No answer within 1 s."))


def lost(saga: int, clock: ShopClock) -> None:
    """What is scheduled is known to be lost."""
    QueueProbe.objects.update_or_create(queue="compensation" if found(saga).is_backward else "saga", defaults={"out_at": clock.now})


def test_a_sweep_that_stood_still_spends_no_deadline(saga: int, clock: ShopClock) -> None:
    """Woken after longer than the step's whole deadline, and the saga's: what was left is still left."""
    failed(saga, clock)
    before = found(saga)
    late_s = SAGA_DEADLINE + STEP_DEADLINE
    clock.until(before.wake_at, late_s)

    launch = recovery.inspect_saga(saga)

    after = found(saga)
    assert (after.state, record(saga).state) == (SagaState.RUNNING, StepState.SCHEDULED)
    assert launch is not None and not launch.compensating
    assert ((after.deadline_at - before.deadline_at).total_seconds(), after.paused_s) == (late_s, late_s)  # type: ignore[operator]


def test_no_more_is_given_than_was_lost(saga: int, clock: ShopClock) -> None:
    """The step's own deadline still ends it, later by exactly the time in which nobody looked."""
    failed(saga, clock)
    first_started_at = record(saga).first_started_at
    clock.until(found(saga).wake_at, 100)
    recovery.inspect_saga(saga)
    engine.record_failure(start(saga), Unavailable("down"))

    clock.until(first_started_at, STEP_DEADLINE + 100)
    Saga.objects.filter(pk=saga).update(wake_at=clock.now)
    recovery.inspect_saga(saga)
    assert found(saga).state == SagaState.RUNNING

    engine.record_failure(start(saga), Unavailable("down"))
    clock.passes(0.001)
    Saga.objects.filter(pk=saga).update(wake_at=clock.now)
    recovery.inspect_saga(saga)
    assert found(saga).state == SagaState.COMPENSATING


def test_an_inspection_that_is_hardly_late_gives_nothing(saga: int, clock: ShopClock) -> None:
    failed(saga, clock)
    before = found(saga).deadline_at
    clock.until(found(saga).wake_at, budget.LATE_AFTER_S)

    recovery.inspect_saga(saga)

    assert (found(saga).deadline_at, found(saga).paused_s) == (before, 0.0)


def test_an_order_that_nobody_has_seen_for_longer_than_a_provider_remembers_gets_no_more_than_that(saga: int, clock: ShopClock) -> None:
    """Stranded for a month: it turns back, or a person is notified, instead of being charged as if it were new."""
    failed(saga, clock)
    before = found(saga).deadline_at
    clock.until(found(saga).wake_at, 30 * settings.KEY_WINDOW_S)

    recovery.inspect_saga(saga)

    assert found(saga).state == SagaState.COMPENSATING
    assert (found(saga).deadline_at - before).total_seconds() == settings.KEY_WINDOW_S  # type: ignore[operator]


def test_a_compensation_whose_message_was_lost_while_nothing_inspected_it_has_all_of_its_time(saga: int, clock: ShopClock) -> None:
    """It is never reported to a person as "out of deadline" before it was tried once."""
    refused(saga)
    lost_s = COMPENSATION_DEADLINE + 10
    clock.passes(lost_s)
    lost(saga, clock)
    clock.passes(settings.TASK_HARD_LIMIT_S)
    QueueProbe.objects.update(out_at=clock.now)

    launch = recovery.inspect_saga(saga)

    assert launch is not None and launch.compensating
    assert (found(saga).state, record(saga).state) == (SagaState.COMPENSATING, StepState.COMPENSATION_SCHEDULED)
    assert found(saga).paused_s == lost_s + settings.TASK_HARD_LIMIT_S


def test_a_worker_that_dies_before_an_open_circuit_and_a_late_sweep_cost_no_time(saga: int, clock: ShopClock) -> None:
    start(saga)
    before = found(saga).deadline_at
    circuits.hold("payments.sandbox.do", AMARA, "maintenance")
    clock.passes(STEP_DEADLINE)
    recovery.inspect_saga(saga)
    assert (record(saga).state, found(saga).held_by) == (StepState.IN_DOUBT, "payments.sandbox.do")
    circuits.release("payments.sandbox.do", AMARA, "done")
    clock.passes(5)
    Saga.objects.filter(pk=saga).update(wake_at=clock.now)

    assert recovery.inspect_saga(saga) is not None

    assert (found(saga).deadline_at - before).total_seconds() == found(saga).paused_s == STEP_DEADLINE + 5  # type: ignore[operator]


def test_an_errback_that_comes_late_costs_no_time_but_that_of_its_try(saga: int, clock: ShopClock) -> None:
    """It waited in a queue, and the sweep stood still as well."""
    start(saga)
    before = found(saga).deadline_at
    clock.until(found(saga).wake_at, 95)

    engine.chain_stopped(saga, 1)

    assert record(saga).state == StepState.IN_DOUBT
    assert ((found(saga).deadline_at - before).total_seconds(), found(saga).paused_s) == (95, 95)  # type: ignore[operator]


# --- a long queue -----------------------------------------------------------------------------------------------------------


def test_a_retry_that_waited_in_a_long_queue_has_lost_no_time(saga: int, clock: ShopClock) -> None:
    """The sweep leaves it there, rightly; the worker that comes to it at last finds the time that it had."""
    failed(saga, clock)
    clock.until(found(saga).wake_at)
    recovery.inspect_saga(saga)
    before = found(saga).deadline_at
    scheduled_at = clock.now
    while (clock.now - scheduled_at).total_seconds() < STEP_DEADLINE:
        clock.until(found(saga).wake_at)
        assert recovery.inspect_saga(saga) is None, "backlog is not loss"
    waited_s = (clock.now - scheduled_at).total_seconds()
    engine.record_failure(start(saga), Unavailable("down"))
    assert ((found(saga).deadline_at - before).total_seconds(), found(saga).paused_s) == (waited_s, waited_s)  # type: ignore[operator]
    clock.until(found(saga).wake_at)

    recovery.inspect_saga(saga)

    assert found(saga).state == SagaState.RUNNING


def test_a_first_try_that_waited_has_its_whole_deadline_and_no_more(saga: int, clock: ShopClock) -> None:
    """It runs from the first start: what was lost before is the saga's alone."""
    before = found(saga).deadline_at
    clock.passes(1000)

    start(saga)

    assert ((found(saga).deadline_at - before).total_seconds(), found(saga).paused_s) == (1000, 0)  # type: ignore[operator]


def test_a_local_compensation_that_waited_in_a_long_queue_has_lost_no_time(saga: int, clock: ShopClock) -> None:
    paid(saga)
    StockLevel.objects.update(on_hand=5)
    before = found(saga).deadline_at
    clock.passes(1000)

    engine.run_local(saga, 1, "inventory", compensating=False)

    assert (found(saga).deadline_at - before).total_seconds() == 1000  # type: ignore[operator]


def test_a_broker_that_takes_nothing_spends_no_time(saga: int, clock: ShopClock) -> None:
    failed(saga, clock)
    clock.until(found(saga).wake_at)
    launch = recovery.inspect_saga(saga)
    before = found(saga).deadline_at
    for _ in range(100):
        assert launch is not None and not launch.compensating
        sweep.not_published(launch)
        clock.until(found(saga).wake_at)
        launch = recovery.inspect_saga(saga)

    given = 100 * LIMITS_S["PATIENCE_S"]
    assert ((found(saga).deadline_at - before).total_seconds(), found(saga).paused_s) == (given, given)  # type: ignore[operator]
