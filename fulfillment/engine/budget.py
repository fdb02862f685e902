"""Budgets: how often, and for how long, a step or a compensation is tried before the saga does something else. Our own trouble spends nothing of them."""

from datetime import datetime, timedelta
from typing import Any

from django.conf import settings

from fulfillment.clock import shop_now
from fulfillment.engine.action import Action, ActionState
from fulfillment.engine.journal import save
from fulfillment.engine.pinned_plan import step_of
from fulfillment.engine.position import pivot_succeeded
from fulfillment.errors import WATCHING
from fulfillment.models import Saga

LATE_AFTER_S = settings.SWEEP_EVERY_S + 5.0 * settings.TIME_SCALE  # a sweep at work comes sooner; a longer wait is our own trouble


def spent(saga: Saga, action: Action) -> str:
    """What is spent: "tries", "deadline" or "". A step that never started spends only the saga's time."""
    if tries_spent(saga, action):
        return "tries"
    return "deadline" if (_compensation_deadline_passed if action.is_compensation else _deadline_passed)(saga, action) else ""


def tries_spent(saga: Saga, action: Action) -> bool:
    step = step_of(saga, action.name)
    own, default = (
        (step and step.compensation_tries, settings.COMPENSATION_TRIES)
        if action.is_compensation
        else (step and step.tries, settings.STEP_TRIES)
    )
    return action.tries >= (own or default)


def give_time(saga: Saga, time: timedelta) -> None:
    """Every running deadline is moved by ``time``: the saga's, and that of the step or compensation where it stands. When it was started or scheduled stays.

    A deadline never moves back. Where the clock has jumped between two instants, the time between them may look negative.
    """
    time = max(time, timedelta(0))
    save(
        saga,
        paused_s=saga.paused_s + time.total_seconds(),
        deadline_at=saga.deadline_at + time if saga.deadline_at is not None else None,
    )


def return_waiting_time(saga: Saga, action: Action) -> None:
    """The time in which a message waited, or no sweep came, is given back before a deadline is judged: it is our own trouble, not the provider's.

    This is not for a started step (a take-over gives back all of its time), nor for a held saga (its release does). At most ``most_given_back``.
    """
    if action.state != ActionState.STARTED:
        _give_back_since(saga, saga.launched_at if action.state == ActionState.SCHEDULED and saga.launched_at else saga.wake_at)


def return_time_past_lease(saga: Saga) -> None:
    """The time beyond the lease is given back before an outcome is recorded: the worker stood still, or the clock was set, and no sweep has seen it."""
    _give_back_since(saga, saga.wake_at)


def _give_back_since(saga: Saga, since: datetime | None) -> None:
    if since is None or saga.held_by:
        return
    lost = shop_now() - since
    if lost > timedelta(seconds=LATE_AFTER_S):
        give_time(saga, min(lost, most_given_back()))


def most_given_back() -> timedelta:
    """For so long a provider remembers a key. An order that was lost for longer is to turn back, or a person is notified."""
    return timedelta(seconds=settings.KEY_WINDOW_S)


def try_given_back(action: Action) -> dict[str, Any]:
    """The columns of a try that our own trouble has ended: it is not counted, and it may have had its effect."""
    return {"tries": max(action.tries - 1, 0), "doubt": True}


def _deadline_passed(saga: Saga, action: Action) -> bool:
    """The step's own deadline counts from its first start. The saga's holds until the pivot has succeeded."""
    now = shop_now()
    if action.first_started_at is not None and action.state != ActionState.SCHEDULED:
        step = step_of(saga, action.name)
        own = step.deadline_s * settings.TIME_SCALE if step and step.deadline_s is not None else settings.STEP_DEADLINE_S
        if now > action.first_started_at + timedelta(seconds=own + saga.paused_s):
            return True
    return saga.deadline_at is not None and now > saga.deadline_at and not pivot_succeeded(saga)


def _compensation_deadline_passed(saga: Saga, action: Action) -> bool:
    """It counts from the scheduling. Watching for what may still land has an end of its own."""
    if action.scheduled_at is None or action.error_code == WATCHING:
        return False
    return shop_now() > action.scheduled_at + timedelta(seconds=settings.COMPENSATION_DEADLINE_S + saga.paused_s)
