"""Local steps: the work of a step on our own rows, and everything that the journal says about it, commit together or not at all."""

from fulfillment.crashpoints import ANY, crash_point
from fulfillment.engine import hot_path
from fulfillment.engine.action import ActionState
from fulfillment.engine.budget import return_waiting_time
from fulfillment.engine.claim import Claim, Recorded, action_of
from fulfillment.engine.database_trouble import wait_briefly_if_held
from fulfillment.engine.journal import find_action, find_locked, locked, set_order_status
from fulfillment.engine.outcomes import fail, succeed
from fulfillment.engine.pinned_plan import step_of
from fulfillment.engine.position import direction
from fulfillment.engine.rolling_deploys import drop
from fulfillment.engine.transition import transition
from fulfillment.errors import Rejected, StepError, Unavailable
from fulfillment.models import Saga
from fulfillment.step import Receipt
from fulfillment.steps import known
from orders.database import is_our_trouble
from orders.models import Status


def run_local(saga_id: int, epoch: int, name: str, compensating: bool, order: str = ANY) -> Recorded:
    """A step on our own rows, in ONE transaction: the start's checks, the work, its outcome, and the next scheduling.

    Raises Rejected (of a step, not of a compensation), or Unavailable for whatever else went wrong: the transaction was rolled back whole, and a second one has
    recorded the outcome. Raises DatabaseError: our own database could not serve it, nothing was written, and the caller puts the step off.
    """
    crash_point("before_start", order, name, compensating=compensating)
    try:
        recorded = _run_local(saga_id, epoch, name, compensating)
    except Rejected as error:
        refused = _record_local_failure(saga_id, epoch, name, compensating, error)
        if not compensating:
            raise
        return refused
    except Exception as error:
        if is_our_trouble(error):
            raise
        failed = Unavailable(f"{type(error).__name__}: nothing was changed", code="local_error")
        _record_local_failure(saga_id, epoch, name, compensating, failed)
        raise failed from error
    crash_point("after_outcome_commit", order, name, compensating=compensating)
    return recorded


@transition
def _run_local(saga_id: int, epoch: int, name: str, compensating: bool) -> Recorded:
    claim = None if compensating else hot_path.begin_local(saga_id, epoch, name)
    return _run_unusual(saga_id, epoch, name, compensating) if claim is None else _run_plain(claim)


def _run_plain(claim: Claim) -> Recorded:
    step = known(claim.name, claim.version)
    assert step is not None
    receipt = step.execute(claim.placed, claim.key)
    recorded = Recorded(mine=True) if hot_path.record_local(claim, receipt) else _succeed(claim, receipt)
    crash_point("before_outcome_commit", claim.order, claim.name, compensating=False)
    return recorded


def _succeed(claim: Claim, receipt: Receipt | None) -> Recorded:
    saga = locked(claim.saga)
    return succeed(saga, action_of(saga, claim), receipt, claim.tries)


def _run_unusual(saga_id: int, epoch: int, name: str, compensating: bool) -> Recorded:
    saga = find_locked(saga_id)
    claim = _local_claim(saga, epoch, name, compensating) if saga else None
    if saga is None or claim is None:
        return Recorded(mine=False)
    step, order, action = step_of(saga, name), saga.order, action_of(saga, claim)
    if step is None:
        drop(saga, action)
        return Recorded(mine=False)
    wait_briefly_if_held(action)
    return_waiting_time(saga, action)
    if order.status == Status.PLACED:
        set_order_status(saga, Status.PROCESSING)
    receipt = step.compensate(order, claim.compensation) if compensating else step.execute(order, claim.key)
    recorded = succeed(saga, action, receipt, claim.tries)
    crash_point("before_outcome_commit", claim.order, name, compensating=compensating)
    return recorded


@transition
def _record_local_failure(saga_id: int, epoch: int, name: str, compensating: bool, error: StepError) -> Recorded:
    saga = locked(saga_id)
    claim = _local_claim(saga, epoch, name, compensating)
    if claim is None:
        return Recorded(mine=False)
    if saga.order.status == Status.PLACED:
        set_order_status(saga, Status.PROCESSING)
    return_waiting_time(saga, action_of(saga, claim))
    return fail(saga, claim, error)


def _local_claim(saga: Saga, epoch: int, name: str, compensating: bool) -> Claim | None:
    action = find_action(saga, name, compensating)
    if saga.epoch != epoch or (saga.state, action.state) != (direction(compensating), ActionState.SCHEDULED):
        return None
    if saga.cancel_requested_at and not compensating:
        return None
    return Claim(
        saga=saga.pk,
        epoch=epoch,
        placed=saga.order,
        name=name,
        compensating=compensating,
        claim=None,
        key=action.key,
        do_key=action.forward.key,
        tries=action.tries + 1,
        receipt=action.forward.receipt,
        amount_minor=action.amount_minor,
    )
