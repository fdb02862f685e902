"""Promise: every instant that the engine writes is the one that the rules name, read back from the rows after the transition itself."""

import random
from typing import Any

import pytest
from django.conf import settings

from fulfillment import engine, recovery
from fulfillment.errors import Busy, InDoubt, Rejected, StepError, Throttled, Unavailable
from fulfillment.models import Saga, StepRecord, StockLevel
from fulfillment.recovery import Request, decide, version_of
from orders.models import Fact, Order
from tests.actors import AMARA
from tests.fulfillment.driving import found, paid, record, refused, start
from tests.shop_clock import LIMITS_S, ShopClock

LEASE, PATIENCE, PATIENCE_CAP = LIMITS_S["LEASE_S"], LIMITS_S["PATIENCE_S"], LIMITS_S["PATIENCE_CAP_S"]
BACKOFF, BACKOFF_CAP, SAGA_DEADLINE = LIMITS_S["BACKOFF_S"], LIMITS_S["BACKOFF_CAP_S"], LIMITS_S["SAGA_DEADLINE_S"]
DOWN, SILENCE = Unavailable("down", code="connect_failed"), InDoubt("No answer", code="timeout")


@pytest.fixture
def saga(clock: ShopClock, order: Order) -> int:
    """Opened by the clock that the test holds."""
    return engine.open_saga(order).saga


def fail(saga: int, error: StepError, name: str = "payment", undo: bool = False) -> None:
    assert engine.settle_failure(start(saga, name, undo), error).mine


def due_and_looked_at(saga: int, clock: ShopClock) -> engine.Launch | None:
    clock.until(found(saga).wake_at)
    return recovery.look(saga)


def out_of_stock() -> None:
    StockLevel.objects.update(on_hand=0)


# --- opened, granted, started ----------------------------------------------------------------------------------------------


def test_an_open_saga_waits_one_patience_and_has_its_deadline(saga: int, clock: ShopClock) -> None:
    it, first, second = found(saga), record(saga), record(saga, "inventory")

    assert [clock.left(at) for at in (it.wake_at, it.launched_at, it.deadline_at, it.opened_at)] == [PATIENCE, 0, SAGA_DEADLINE, 0]
    assert (clock.left(first.granted_at), first.started_at, first.asked_until) == (0, None, None)
    assert (second.granted_at, it.closed_at) == (None, None)


def test_a_start_lasts_one_lease(saga: int, clock: ShopClock) -> None:
    """Whoever looks, asks or takes over reads the same end of it."""
    granted_at = record(saga).granted_at
    clock.passes(4)

    start(saga)

    it, step = found(saga), record(saga)
    assert [clock.left(at) for at in (it.wake_at, step.asked_until, step.started_at, step.first_started_at)] == [LEASE, LEASE, 0, 0]
    assert (step.granted_at, step.undo_asked_until) == (granted_at, None)


def test_a_second_try_has_a_lease_of_its_own_and_the_first_one_s_deadline(saga: int, clock: ShopClock) -> None:
    fail(saga, SILENCE)
    first = record(saga)
    due_and_looked_at(saga, clock)
    clock.passes(2)

    start(saga)

    step = record(saga)
    assert (step.granted_at, step.first_started_at) == (first.granted_at, first.first_started_at)
    assert (clock.left(step.asked_until), clock.left(step.started_at)) == (LEASE, 0)


def test_an_undo_that_starts_has_its_own_lease_and_leaves_that_of_the_step(saga: int, clock: ShopClock) -> None:
    out_of_stock()
    refused(saga)
    before = record(saga)
    clock.passes(50)

    start(saga, undo=True)

    step = record(saga)
    assert [clock.left(at) for at in (found(saga).wake_at, step.undo_asked_until, step.started_at)] == [LEASE, LEASE, 0]
    assert (step.asked_until, step.first_started_at, step.undo_granted_at) == (
        before.asked_until, before.first_started_at, before.undo_granted_at
    )  # fmt: skip


def test_what_is_granted_next_is_granted_now_and_waits_one_patience(saga: int, clock: ShopClock) -> None:
    claim = start(saga)
    clock.passes(7)

    engine.settle_success(claim, {"charge_id": "c", "amount_minor": 100})

    it, done, following = found(saga), record(saga), record(saga, "inventory")
    assert [clock.left(at) for at in (done.settled_at, following.granted_at, it.launched_at, it.wake_at)] == [0, 0, 0, PATIENCE]
    assert clock.left(it.deadline_at) == SAGA_DEADLINE - 7, "progress moves no deadline"


def test_an_undo_is_granted_when_the_saga_turns_back(saga: int, clock: ShopClock) -> None:
    out_of_stock()
    paid(saga)
    with pytest.raises(Rejected):
        engine.run_local(saga, 1, "inventory", undo=False)
    assert clock.left(found(saga).wake_at) == PATIENCE, "a rejection waits for its errback"
    clock.passes(PATIENCE)

    assert recovery.look(saga) is not None

    it = found(saga)
    assert [clock.left(at) for at in (record(saga).undo_granted_at, it.launched_at, it.wake_at)] == [0, 0, PATIENCE]


# --- what waits --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("edge", "times"), [(min, 0.8), (max, 1.2)], ids=["earliest", "latest"])
@pytest.mark.parametrize("error", [DOWN, SILENCE], ids=["unavailable", "in doubt"])
def test_a_try_that_failed_backs_off_doubling_capped_and_within_a_fifth(
    saga: int, clock: ShopClock, monkeypatch: pytest.MonkeyPatch, error: StepError, edge: Any, times: float
) -> None:
    monkeypatch.setattr(random, "uniform", lambda low, high: edge(low, high))
    waits = []
    for _ in range(settings.STEP_TRIES - 1):
        fail(saga, error)
        waits.append(clock.left(found(saga).wake_at))
        due_and_looked_at(saga, clock)

    assert waits == [pytest.approx(times * min(BACKOFF * 2**tries, BACKOFF_CAP)) for tries in range(settings.STEP_TRIES - 1)]
    assert waits[-1] == pytest.approx(times * BACKOFF_CAP), "the cap is reached before the tries are spent"


def test_an_undo_backs_off_by_its_own_tries(saga: int, clock: ShopClock) -> None:
    out_of_stock()
    refused(saga)
    waits = []
    for _ in range(4):
        fail(saga, DOWN, undo=True)
        waits.append(clock.left(found(saga).wake_at))
        due_and_looked_at(saga, clock)

    assert waits == [BACKOFF, 2 * BACKOFF, 4 * BACKOFF, 8 * BACKOFF]


def test_an_answer_that_spends_no_try_backs_off_all_the_same(saga: int, clock: ShopClock) -> None:
    waits = []
    for _ in range(8):
        fail(saga, Busy("working", code="in_progress"))
        waits.append(clock.left(found(saga).wake_at))
        due_and_looked_at(saga, clock)

    assert waits == [min(BACKOFF * 2**times, BACKOFF_CAP) for times in range(8)]
    assert record(saga).tries == 0


@pytest.mark.parametrize(("asked_s", "waits_s"), [(0.1, BACKOFF), (40.0, 40.0), (99_999.0, PATIENCE_CAP)])
def test_a_provider_that_asks_for_patience_gets_what_it_asks_for_within_the_cap(
    saga: int, clock: ShopClock, asked_s: float, waits_s: float
) -> None:
    fail(saga, Throttled("slow down", code="throttled", retry_after_s=asked_s))

    assert clock.left(found(saga).wake_at) == waits_s


def test_what_is_spent_is_due_at_once(saga: int, clock: ShopClock) -> None:
    for _ in range(settings.STEP_TRIES - 1):
        fail(saga, DOWN)
        due_and_looked_at(saga, clock)

    fail(saga, DOWN)

    assert clock.left(found(saga).wake_at) == 0


def test_a_cancel_makes_who_waits_due_and_whom_a_provider_serves_not(saga: int, order: Order, clock: ShopClock) -> None:
    claim = start(saga)
    clock.passes(3)
    assert recovery.cancel(order.number, "web-shop") == "accepted"
    it = found(saga)
    assert (clock.left(it.wake_at), clock.left(it.cancel_requested_at)) == (LEASE - 3, 0)

    engine.settle_failure(claim, SILENCE)

    assert clock.left(found(saga).wake_at) == 0


def test_a_message_that_is_lost_again_and_again_is_published_with_patience_doubling(saga: int, clock: ShopClock) -> None:
    waits = []
    for _ in range(7):
        clock.until(found(saga).wake_at, settings.TASK_HARD_LIMIT_S)
        assert recovery.look(saga) is None, "nobody knows yet: it is asked"
        recovery.probe_came_out("saga", dict(recovery.probes_due())["saga"])
        assert due_and_looked_at(saga, clock) is not None
        assert clock.left(found(saga).launched_at) == 0
        waits.append(clock.left(found(saga).wake_at))

    assert waits == [min(PATIENCE * 2**times, PATIENCE_CAP) for times in range(1, 8)]


def test_what_may_still_wait_in_its_queue_is_put_off_by_the_same_patience(saga: int, clock: ShopClock) -> None:
    launched_at = found(saga).launched_at

    for _ in range(3):
        assert due_and_looked_at(saga, clock) is None
        assert clock.left(found(saga).wake_at) == PATIENCE
    assert (found(saga).launched_at, found(saga).relaunches) == (launched_at, 0)


def test_what_the_broker_did_not_take_waits_one_patience_and_counts_for_nothing(saga: int, clock: ShopClock) -> None:
    fail(saga, DOWN)
    launch = due_and_looked_at(saga, clock)
    assert launch is not None

    recovery.not_published(launch)

    it = found(saga)
    assert (clock.left(it.wake_at), it.launched_at, it.relaunches) == (PATIENCE, None, 0)


# --- taken over, stopped, put off ----------------------------------------------------------------------------------------------


def test_a_take_over_is_launched_now_and_gives_the_lost_time_back(saga: int, clock: ShopClock) -> None:
    clock.passes(5)
    start(saga)
    deadline_at = found(saga).deadline_at
    clock.passes(LEASE + 2)

    assert recovery.look(saga) is not None

    it = found(saga)
    assert deadline_at is not None
    assert it.deadline_at is not None
    assert [clock.left(at) for at in (it.wake_at, it.launched_at)] == [2 * PATIENCE, 0], "it counts as one launch without progress"
    assert ((it.deadline_at - deadline_at).total_seconds(), it.paused_s) == (LEASE + 2, LEASE + 2)


@pytest.mark.parametrize("undo", [False, True], ids=["do", "undo"])
def test_a_chain_that_stopped_in_the_middle_of_a_try_waits_that_try_s_back_off(saga: int, clock: ShopClock, undo: bool) -> None:
    if undo:
        out_of_stock()
        refused(saga)
    for _ in range(2):
        fail(saga, DOWN, undo=undo)
        due_and_looked_at(saga, clock)
    start(saga, undo=undo)

    engine.chain_stopped(saga, found(saga).epoch)

    assert clock.left(found(saga).wake_at) == 4 * BACKOFF


@pytest.mark.parametrize("is_started", [False, True], ids=["granted", "started"])
def test_what_our_own_database_cannot_serve_waits_and_has_all_of_it_given_back(saga: int, clock: ShopClock, is_started: bool) -> None:
    """From the launch, or from the start, until the next look."""
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


def test_what_this_code_does_not_serve_is_looked_at_after_half_the_time_for_which_it_was_left(saga: int, clock: ShopClock) -> None:
    StepRecord.objects.filter(saga=saga, name="payment").update(name="gift_wrap")
    Saga.objects.update(launched_at=None)
    waits, since = [], None
    for _ in range(14):
        assert due_and_looked_at(saga, clock) is None
        waits.append(clock.left(found(saga).wake_at))
        since = since or clock.now

    left_for = [0.0]
    for waited in waits[:-1]:
        left_for.append(left_for[-1] + (waited or 0))
    assert found(saga).left_since == since
    assert waits == [pytest.approx(min(max(seconds / 2, BACKOFF), BACKOFF_CAP)) for seconds in left_for]
    assert waits[-1] == BACKOFF_CAP


# --- a person ----------------------------------------------------------------------------------------------------------------


def test_a_person_s_retry_gives_time_anew_and_the_provider_s_memory_no_time_at_all(saga: int, order: Order, clock: ShopClock) -> None:
    """The key window counts from the first grant, whoever tries again."""
    granted_at = record(saga).granted_at
    for _ in range(settings.POISON_AFTER):
        start(saga)
        clock.until(found(saga).wake_at)
        recovery.look(saga)
    start(saga)
    clock.until(found(saga).wake_at)
    recovery.look(saga)
    assert found(saga).state == "needs_attention"
    assert found(saga).wake_at is None
    clock.passes(10_000)

    decide(Request(order=order.number, verb="retry", version=version_of(order.pk), actor=AMARA, reason="it is back"))

    it, step = found(saga), record(saga)
    assert [clock.left(at) for at in (it.wake_at, it.deadline_at)] == [0, SAGA_DEADLINE]
    assert (it.launched_at, it.paused_s, step.first_started_at, step.granted_at) == (None, 0.0, None, granted_at)


def test_the_end_of_an_order_is_the_instant_of_its_last_settle(saga: int, order: Order, clock: ShopClock) -> None:
    paid(saga)
    engine.run_local(saga, 1, "inventory", undo=False)
    claim = start(saga, "shipping")
    clock.passes(9)

    engine.settle_success(claim, {"label_id": "l", "tracking": "t"})

    it = found(saga)
    order.refresh_from_db()
    assert (it.wake_at, clock.left(it.closed_at), clock.left(order.finished_at), clock.left(Fact.objects.get().at)) == (None, 0, 0, 0)
