"""Budgets: how often, and for how long, a step or an undo is tried before the saga does something else."""

from datetime import timedelta
from typing import Any

from django.conf import settings

from fulfillment.clock import shop_now
from fulfillment.engine.journal import pivot_succeeded, save, step_of
from fulfillment.errors import WATCHING
from fulfillment.models import Saga, StepRecord, StepState
from fulfillment.step import Step


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
    """Every deadline that runs is moved by ``time``: the saga's, and that of the step or undo where it stands. Facts (when it was started, granted) stay."""
    save(
        saga,
        paused_s=saga.paused_s + time.total_seconds(),
        deadline_at=saga.deadline_at + time if saga.deadline_at is not None else None,
    )


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
