"""Budgets: how often, and for how long, a step or an undo is tried before the saga does something else."""

from datetime import datetime, timedelta
from typing import Any

from django.conf import settings

from fulfillment.clock import shop_now
from fulfillment.engine.journal import save
from fulfillment.engine.pinned_plan import step_of
from fulfillment.engine.position import pivot_succeeded
from fulfillment.engine.step_states import GRANTED, STARTED
from fulfillment.errors import WATCHING
from fulfillment.models import Saga, StepRecord, StepState
from fulfillment.step import Step

LATE_AFTER_S = settings.SWEEP_EVERY_S + 5.0 * settings.TIME_SCALE  # a sweep at work comes sooner: what is longer is our own trouble


def spent(saga: Saga, record: StepRecord, undo: bool) -> str:
    """What is spent: "tries", "deadline" or nothing. A step that never started spends nothing but the saga's time."""
    if tries_spent(step_of(saga, record.name), record, undo):
        return "tries"
    return "deadline" if (_undo_deadline_passed(saga, record) if undo else _deadline_passed(saga, record)) else ""


def tries_spent(step: Step | None, record: StepRecord, undo: bool) -> bool:
    if undo:
        return record.undo_tries >= ((step.undo_tries if step else None) or settings.UNDO_TRIES)
    return record.tries >= ((step.tries if step else None) or settings.STEP_TRIES)


def give_time(saga: Saga, time: timedelta) -> None:
    """Every deadline that runs is moved by ``time``: the saga's, and that of the step or undo where it stands. Facts (when it was started, granted) stay.

    Never back: between two instants with a jump of the clock between them, the time that has passed may look negative.
    """
    time = max(time, timedelta(0))
    save(
        saga,
        paused_s=saga.paused_s + time.total_seconds(),
        deadline_at=saga.deadline_at + time if saga.deadline_at is not None else None,
    )


def give_back_what_was_lost(saga: Saga, record: StepRecord) -> None:
    """Before a look, or a try, judges it: the time in which a message waited, or nobody looked, is our own trouble and not the provider's.

    What is started is not meant (a take-over gives back all of its time), nor what is held (its release does). At most what a provider remembers a key for: an
    order that was lost for longer is to turn back, or to be told.
    """
    if record.state not in STARTED:
        _give_back_since(saga, saga.launched_at if record.state in GRANTED and saga.launched_at else saga.wake_at)


def give_back_what_its_worker_lost(saga: Saga) -> None:
    """Before a try is settled that nobody has taken over: beyond its lease its worker stood still, or the clock was set, and no sweep has seen either."""
    _give_back_since(saga, saga.wake_at)


def _give_back_since(saga: Saga, since: datetime | None) -> None:
    if since is None or saga.held_by:
        return
    lost = shop_now() - since
    if lost > timedelta(seconds=LATE_AFTER_S):
        give_time(saga, min(lost, most_given_back()))


def most_given_back() -> timedelta:
    return timedelta(seconds=settings.KEY_WINDOW_S)


def try_given_back(record: StepRecord, undo: bool) -> dict[str, Any]:
    """The columns of a try that ended through nobody's fault but ours: it is not counted, and may have had its effect."""
    if undo:
        return {"undo_tries": max(record.undo_tries - 1, 0), "undo_doubt": True}
    return {"tries": max(record.tries - 1, 0), "doubt": True}


def _deadline_passed(saga: Saga, record: StepRecord) -> bool:
    """The step's own, from its first start; the saga's, until the pivot has succeeded."""
    now = shop_now()
    if record.first_started_at is not None and record.state != StepState.GRANTED:
        step = step_of(saga, record.name)
        own = step.deadline_s * settings.TIME_SCALE if step and step.deadline_s is not None else settings.STEP_DEADLINE_S
        if now > record.first_started_at + timedelta(seconds=own + saga.paused_s):
            return True
    return saga.deadline_at is not None and now > saga.deadline_at and not pivot_succeeded(saga)


def _undo_deadline_passed(saga: Saga, record: StepRecord) -> bool:
    """From its grant; watching for what may still land has an end of its own."""
    if record.undo_granted_at is None or record.error_code == WATCHING:
        return False
    return shop_now() > record.undo_granted_at + timedelta(seconds=settings.UNDO_DEADLINE_S + saga.paused_s)
