"""Compensation: a saga that turns back compensates every step that succeeded or was perhaps called, in reverse order, each within a budget of its own."""

from fulfillment.clock import ShopNow
from fulfillment.engine import public_events
from fulfillment.engine.action import DONE, Action, ActionState
from fulfillment.engine.circuit_holds import release
from fulfillment.engine.claim import Recorded
from fulfillment.engine.compensation_end import park_failed
from fulfillment.engine.database_trouble import goes_on
from fulfillment.engine.escalation import park
from fulfillment.engine.journal import append_entry, change, keep_failure_code, move, save
from fulfillment.engine.launch import launch_of
from fulfillment.engine.pinned_plan import capabilities, is_local, planned, step_of
from fulfillment.engine.position import compensations, pivot_succeeded, steps
from fulfillment.engine.progress import schedule_next
from fulfillment.models import Saga, SagaState
from orders.incidents import IncidentKind
from orders.models import Status
from orders.timeline import EntryKind


def turn_back(saga: Saga, why: str = "", failed: Action | None = None, code: str = "") -> None:
    """→ compensating under a new epoch. Never once the pivot has succeeded: then a person decides.

    ``why`` and ``code`` are kept; without them, the error of the step where the saga stands. ``failed``: the step that is the cause, where it is another one.
    """
    if pivot_succeeded(saga):
        park(saga, IncidentKind.STUCK, _stands_at(saga), "after_pivot", "the parcel is on its way, so it can only go forward")
        return
    at = failed or _stands_at(saga)
    if saga.held_by:
        release(saga, at, "the order turns back")
    name = at.name if at else ""
    failure = Status.CANCELLED if saga.cancel_requested_at else Status.failure_of(name)
    if at is not None:
        goes_on(saga, at)
    _begin_compensations(saga)
    saga.epoch += 1
    detail = {"message": why or (at.error_message if at else "")}
    append_entry(saga, EntryKind.SAGA, from_state=saga.state, to_state=SagaState.COMPENSATING, code=failure, detail=detail)
    save(
        saga,
        state=SagaState.COMPENSATING,
        epoch=saga.epoch,
        failure=failure,
        failed_step="" if saga.cancel_requested_at else name,
        wake_at=ShopNow(),
    )
    if not saga.cancel_requested_at:
        code = code or (at.error_code if at else "")
        keep_failure_code(saga, code)
        if at is not None:
            public_events.step_failed(saga, at, code)
    schedule_next(saga)


def _stands_at(saga: Saga) -> Action | None:
    return next((action for action in steps(saga) if action.state not in DONE), None)


def _begin_compensations(saga: Saga) -> None:
    for step, compensation in zip(steps(saga), reversed(compensations(saga)), strict=True):
        if step.state in (ActionState.SUCCEEDED, ActionState.DONE_BY_HAND):
            move(saga, compensation, ActionState.PENDING)
        elif perhaps_called(saga, step):
            change(step, doubt=True)
            move(saga, compensation, ActionState.PENDING, claim=None)
        else:
            move(saga, compensation, ActionState.LEFT_OUT, claim=None)


def perhaps_called(saga: Saga, step: Action) -> bool:
    """The step was scheduled at some time, and has neither succeeded nor finally been rejected. Its effect may exist, whatever the state says.

    A local step leaves nothing behind, because it commits together with its rows. Where the provider does not keep rejections under their key, a rejection ends
    one try, and says nothing about the others.
    """
    if is_local(saga, step):
        return False
    if step.state == ActionState.REJECTED:
        promise = capabilities(saga, step)
        return step_of(saga, step.name) is None or (promise is not None and not promise.rejection_ends_doubt)
    return step.state in (ActionState.SCHEDULED, ActionState.STARTED, ActionState.RETRY_WAIT, ActionState.IN_DOUBT)


def park_compensation(saga: Saga, failed: Action) -> Recorded:
    """This compensation has failed for good. If it blocks, everything stops here; else the others go on, and the saga stops at its end."""
    if planned(saga, failed.name).get("compensation_blocks"):
        park_failed(saga, failed)
    else:
        schedule_next(saga)
    return Recorded(mine=True, turned=launch_of(saga))
