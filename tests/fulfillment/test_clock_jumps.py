"""The database's clock jumps: nobody is taken over, turned back or left alone because of it."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.conf import settings
from django.db import connection

from config.management.commands.sweep import Sweep
from config.management.loops import WHOLE_AFTER
from fulfillment import engine, recovery
from fulfillment.clock import shop_now
from fulfillment.errors import Unavailable
from fulfillment.models import Saga, SagaState, StepRecord, StepState
from orders import queue_probes
from orders.models import Order
from orders.queue_probes import QueueProbe
from tests.fulfillment.conftest import now_due

HOUR = timedelta(hours=1)
pytestmark = pytest.mark.django_db(transaction=True)
JUMPING = """
CREATE OR REPLACE FUNCTION shop_now() RETURNS timestamptz LANGUAGE sql STABLE PARALLEL RESTRICTED RETURN now() + interval '{seconds} seconds'
"""
AS_EVER = """
CREATE OR REPLACE FUNCTION shop_now() RETURNS timestamptz LANGUAGE sql STABLE PARALLEL RESTRICTED
RETURN coalesce(nullif(current_setting('shop.now', true), '')::timestamptz, now())
"""
SetClock = Callable[[timedelta], None]


@pytest.fixture
def set_clock(transactional_db: None) -> Iterator[SetClock]:
    """The clock of the whole database is set, for every session at once."""

    def by(ahead: timedelta) -> None:
        with connection.cursor() as cursor:
            cursor.execute(JUMPING.format(seconds=ahead.total_seconds()))

    yield by
    with connection.cursor() as cursor:
        cursor.execute(AS_EVER)


@pytest.fixture
def sweep() -> Sweep:
    sweep = Sweep(lambda _: None)
    sweep.round()
    return sweep


def see_a_lease_pass(sweep: Sweep) -> None:
    sweep.watch._calm_since -= settings.LEASE_S


def record_of(saga: int) -> StepRecord:
    return StepRecord.objects.get(saga=saga, name="payment")


@pytest.mark.parametrize("ahead", [HOUR, timedelta(minutes=2)])
def test_a_worker_is_not_taken_over_because_the_clock_was_set_forward(
    saga: int, sweep: Sweep, set_clock: SetClock, ahead: timedelta
) -> None:
    """Its lease is over by the clock, and nobody has seen it pass: without keys, a second charge."""
    claim = engine.start(saga, 1, "payment", False)
    assert claim is not None
    set_clock(ahead)

    for _ in range(3):
        sweep.round()

    assert (record_of(saga).state, Saga.objects.get(pk=saga).epoch) == (StepState.STARTED, 1)
    assert engine.record_success(claim, {"charge": "c", "amount_minor": 100}).mine


def test_a_sweep_that_has_just_begun_takes_nobody_over_before_it_has_seen_a_lease_pass(saga: int) -> None:
    """Nobody can tell it whether the clock was set before it came."""
    engine.start(saga, 1, "payment", False)
    Saga.objects.filter(pk=saga).update(wake_at="2020-01-01T00:00Z")
    sweep = Sweep(lambda _: None)

    sweep.round()
    assert record_of(saga).state == StepState.STARTED

    see_a_lease_pass(sweep)
    Saga.objects.filter(pk=saga).update(wake_at="2020-01-01T00:00Z")  # behind the mark, where whole rounds look
    for _ in range(WHOLE_AFTER):
        sweep.round()
    assert record_of(saga).state == StepState.SCHEDULED
    assert Saga.objects.get(pk=saga).epoch == 2


def test_deadlines_move_with_the_clock(saga: int, sweep: Sweep, set_clock: SetClock) -> None:
    """A day ahead, every order that waits for its next try would be out of time, and be turned back."""
    claim = engine.start(saga, 1, "payment", False)
    assert claim is not None
    engine.record_failure(claim, Unavailable("down", code="connect_failed"))
    before = Saga.objects.get(pk=saga)
    first_started_at = record_of(saga).first_started_at
    assert before.deadline_at is not None and first_started_at is not None
    see_a_lease_pass(sweep)
    set_clock(timedelta(days=1))

    sweep.round()

    after = Saga.objects.get(pk=saga)
    assert after.state == SagaState.RUNNING
    assert after.deadline_at == pytest.approx(before.deadline_at + timedelta(days=1), abs=timedelta(seconds=1))
    assert record_of(saga).first_started_at == pytest.approx(first_started_at + timedelta(days=1), abs=timedelta(seconds=1))


@pytest.mark.parametrize("back", [HOUR, timedelta(seconds=20)])
def test_nothing_stands_still_because_the_clock_was_set_back(saga: int, sweep: Sweep, set_clock: SetClock, back: timedelta) -> None:
    """What was to wake up in a second would wake up in an hour."""
    due_in = Saga.objects.get(pk=saga).wake_at - shop_now()  # type: ignore[operator]
    set_clock(-back)

    sweep.round()

    wake_at = Saga.objects.get(pk=saga).wake_at
    assert wake_at is not None
    assert wake_at - shop_now() <= due_in


def test_what_wakes_up_later_than_any_rule_says_is_due(saga: int, sweep: Sweep) -> None:
    """Written by a clock that was ahead while no sweep was there to notice."""
    now_due(saga)
    Saga.objects.filter(pk=saga).update(wake_at=shop_now() + timedelta(days=30))

    sweep.round()

    wake_at = Saga.objects.get(pk=saga).wake_at
    assert wake_at is not None
    assert wake_at < shop_now() + timedelta(minutes=1)


def test_a_jump_in_the_middle_of_a_round_ends_it(saga: int, order: Order, sweep: Sweep, set_clock: SetClock, monkeypatch: Any) -> None:
    """No saga is judged by a clock that has jumped since the round began."""
    Saga.objects.filter(pk=saga).update(deadline_at=shop_now() + timedelta(seconds=60), wake_at=shop_now(), launched_at=None)
    page = recovery.sweep._page

    def then_the_clock_jumps(*asked: Any) -> Any:
        found = page(*asked)
        set_clock(HOUR)
        return found

    monkeypatch.setattr(recovery.sweep, "_page", then_the_clock_jumps)
    sweep.round()

    after = Saga.objects.get(pk=saga)
    assert after.state == SagaState.RUNNING
    assert after.deadline_at is not None
    assert after.deadline_at > shop_now()


def test_a_stamp_from_a_clock_that_was_ahead_proves_nothing(db: None) -> None:
    """Else everything that waits in a queue would be taken for lost until the clock has caught up."""
    QueueProbe.objects.create(queue="saga")

    queue_probes.probe_came_out("saga", shop_now() + HOUR)

    assert queue_probes.lost_before("saga") is None
