"""Local steps: the work of a step on our own rows, and everything that the journal says about it, commit together or not at all."""

from fulfillment.crashpoints import ANY, crash_point
from fulfillment.engine import hot_path
from fulfillment.engine.budget import return_waiting_time
from fulfillment.engine.claim import Claim, Recorded
from fulfillment.engine.database_trouble import wait_briefly_if_held
from fulfillment.engine.journal import find_locked, locked, record_of, set_order_status
from fulfillment.engine.outcomes import fail, succeed
from fulfillment.engine.pinned_plan import step_of
from fulfillment.engine.rolling_deploys import drop
from fulfillment.engine.transition import transition
from fulfillment.errors import Rejected, StepError, Unavailable
from fulfillment.models import Saga, SagaState, StepState
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
    assert step is not None and claim.placed is not None
    receipt = step.execute(claim.placed, claim.key)
    recorded = Recorded(mine=True) if hot_path.record_local(claim, receipt) else _succeed(locked(claim.saga), claim, receipt)
    crash_point("before_outcome_commit", claim.order, claim.name, compensating=False)
    return recorded


def _run_unusual(saga_id: int, epoch: int, name: str, compensating: bool) -> Recorded:
    saga = find_locked(saga_id)
    claim = _local_claim(saga, epoch, name, compensating) if saga else None
    if saga is None or claim is None:
        return Recorded(mine=False)
    step = step_of(saga, name)
    if step is None:
        drop(saga, record_of(saga, name))
        return Recorded(mine=False)
    order = saga.order
    wait_briefly_if_held(record_of(saga, name))
    return_waiting_time(saga, record_of(saga, name))
    if order.status == Status.PLACED:
        set_order_status(saga, Status.PROCESSING)
    recorded = _succeed(
        saga, claim, step.compensate(order, claim.compensation_of(order)) if compensating else step.execute(order, claim.key)
    )
    crash_point("before_outcome_commit", claim.order, name, compensating=compensating)
    return recorded


def _succeed(saga: Saga, claim: Claim, receipt: Receipt | None) -> Recorded:
    """A local step has no start of its own that counts its try."""
    counter = "compensation_tries" if claim.compensating else "tries"
    setattr(record_of(saga, claim.name), counter, claim.tries)
    return succeed(saga, claim.name, receipt, claim.compensating)


@transition
def _record_local_failure(saga_id: int, epoch: int, name: str, compensating: bool, error: StepError) -> Recorded:
    saga = locked(saga_id)
    claim = _local_claim(saga, epoch, name, compensating)
    if claim is None:
        return Recorded(mine=False)
    if saga.order.status == Status.PLACED:
        set_order_status(saga, Status.PROCESSING)
    return_waiting_time(saga, record_of(saga, name))
    return fail(saga, claim, error)


def _local_claim(saga: Saga, epoch: int, name: str, compensating: bool) -> Claim | None:
    record = record_of(saga, name)
    wanted = (SagaState.COMPENSATING, StepState.COMPENSATION_SCHEDULED) if compensating else (SagaState.RUNNING, StepState.SCHEDULED)
    if saga.epoch != epoch or (saga.state, record.state) != wanted or (saga.cancel_requested_at and not compensating):
        return None
    return Claim(
        saga=saga.pk,
        epoch=epoch,
        order_id=saga.order_id,
        order=saga.order.number,
        name=name,
        compensating=compensating,
        claim=None,
        key=record.compensation_key if compensating else record.do_key,
        do_key=record.do_key,
        tries=(record.compensation_tries if compensating else record.tries) + 1,
        receipt=record.receipt,
        compensation_amount_minor=record.compensation_amount_minor,
    )
