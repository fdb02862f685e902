"""Promise: every instant that is written when somebody takes over, puts off or decides is the one that the rules name."""

import pytest
from django.conf import settings

from fulfillment import engine, recovery
from fulfillment.models import Saga, StepRecord
from fulfillment.recovery import Request, decide, version_of
from orders.models import Fact, Order
from tests.actors import AMARA
from tests.fulfillment.driving import found, paid, record, refused, start
from tests.fulfillment.instants.conftest import (
    BACKOFF,
    BACKOFF_CAP,
    DOWN,
    LEASE,
    PATIENCE,
    SAGA_DEADLINE,
    fail,
    inspected_when_due,
    out_of_stock,
)
from tests.shop_clock import ShopClock

# --- taken over, stopped, put off ----------------------------------------------------------------------------------------------


def test_a_take_over_is_launched_now_and_gives_the_lost_time_back(saga: int, clock: ShopClock) -> None:
    clock.passes(5)
    start(saga)
    deadline_at = found(saga).deadline_at
    clock.passes(LEASE + 2)

    assert recovery.inspect_saga(saga) is not None

    it = found(saga)
    assert deadline_at is not None
    assert it.deadline_at is not None
    assert [clock.left(at) for at in (it.wake_at, it.launched_at)] == [2 * PATIENCE, 0], "it counts as one launch without progress"
    assert ((it.deadline_at - deadline_at).total_seconds(), it.paused_s) == (LEASE + 2, LEASE + 2)


@pytest.mark.parametrize("compensating", [False, True], ids=["do", "compensate"])
def test_a_chain_that_stopped_in_the_middle_of_a_try_waits_that_try_s_back_off(saga: int, clock: ShopClock, compensating: bool) -> None:
    if compensating:
        out_of_stock()
        refused(saga)
    for _ in range(2):
        fail(saga, DOWN, compensating=compensating)
        inspected_when_due(saga, clock)
    start(saga, compensating=compensating)

    engine.chain_stopped(saga, found(saga).epoch)

    assert clock.left(found(saga).wake_at) == 4 * BACKOFF


@pytest.mark.parametrize("is_started", [False, True], ids=["scheduled", "started"])
def test_what_our_own_database_cannot_serve_waits_and_has_all_of_it_given_back(saga: int, clock: ShopClock, is_started: bool) -> None:
    """From the launch, or from the start, until the next inspection."""
    clock.passes(3)
    claim = start(saga) if is_started else None
    clock.passes(2)
    before = found(saga).deadline_at

    assert engine.put_off(saga, 1, "payment", False, claim.claim if claim else None, is_held=True)

    it = found(saga)
    wait_s = 2 * BACKOFF if is_started else BACKOFF
    assert before is not None
    assert it.deadline_at is not None
    assert (clock.left(it.wake_at), it.launched_at) == (wait_s, None)
    assert (it.deadline_at - before).total_seconds() == it.paused_s == wait_s + (2 if is_started else 5)


def test_what_this_code_does_not_serve_is_inspected_after_half_the_time_for_which_it_was_left(saga: int, clock: ShopClock) -> None:
    StepRecord.objects.filter(saga=saga, name="payment").update(name="gift_wrap")
    Saga.objects.update(launched_at=None)
    waits, since = [], None
    for _ in range(14):
        assert inspected_when_due(saga, clock) is None
        waits.append(clock.left(found(saga).wake_at))
        since = since or clock.now

    left_for = [0.0]
    for waited in waits[:-1]:
        left_for.append(left_for[-1] + (waited or 0))
    assert found(saga).left_since == since
    assert waits == [pytest.approx(min(max(seconds / 2, BACKOFF), BACKOFF_CAP)) for seconds in left_for]
    assert waits[-1] == BACKOFF_CAP


# --- a person ----------------------------------------------------------------------------------------------------------------


def test_a_retry_by_a_person_gives_time_anew_and_the_memory_of_the_provider_no_time_at_all(
    saga: int, order: Order, clock: ShopClock
) -> None:
    """The key window counts from when it was first scheduled, whoever tries again."""
    scheduled_at = record(saga).scheduled_at
    for _ in range(settings.POISON_AFTER):
        start(saga)
        clock.until(found(saga).wake_at)
        recovery.inspect_saga(saga)
    start(saga)
    clock.until(found(saga).wake_at)
    recovery.inspect_saga(saga)
    assert found(saga).state == "needs_attention"
    assert found(saga).wake_at is None
    clock.passes(10_000)

    decide(Request(order=order.number, verb="retry", version=version_of(order.pk), actor=AMARA, reason="it is back"))

    it, step = found(saga), record(saga)
    assert [clock.left(at) for at in (it.wake_at, it.deadline_at)] == [0, SAGA_DEADLINE]
    assert (it.launched_at, it.paused_s, step.first_started_at, step.scheduled_at) == (None, 0.0, None, scheduled_at)


def test_the_end_of_an_order_is_the_instant_of_its_last_outcome(saga: int, order: Order, clock: ShopClock) -> None:
    paid(saga)
    engine.run_local(saga, 1, "inventory", compensating=False)
    claim = start(saga, "shipping")
    clock.passes(9)

    engine.record_success(claim, {"label_id": "l", "tracking": "t"})

    it = found(saga)
    order.refresh_from_db()
    assert (
        it.wake_at,
        clock.left(it.closed_at),
        clock.left(order.finished_at),
        clock.left(Fact.objects.get(type="order.fulfilled").at),
    ) == (None, 0, 0, 0)
