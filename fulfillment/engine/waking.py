"""What wakes a saga that nobody runs: an errback, the sweep, a cancel."""

from django.db import transaction

from fulfillment.clock import ShopNow, backoff_s, in_seconds, patience_s
from fulfillment.engine.journal import (
    GRANTED,
    STARTED,
    WAITING,
    Launch,
    border,
    is_pivot,
    launch_of,
    locked,
    move,
    save,
    tell,
)
from fulfillment.engine.walking import turn_back
from fulfillment.models import Saga, SagaState, StepRecord, StepState
from fulfillment.steps import BY_NAME
from orders.models import Status
from orders.timeline import Kind


def meet_cancel(saga_id: int, epoch: int) -> Launch | None:
    """A start that found nothing to start: if that is because of a cancel, turn back in the same task."""
    with transaction.atomic():
        saga = locked(saga_id)
        at = border(saga)
        stands = at is not None and at[0].state == StepState.GRANTED
        if saga.epoch != epoch or saga.state != SagaState.RUNNING or not saga.cancel_requested_at or not stands:
            return None
        turn_back(saga)
        return launch_of(saga)


def chain_stopped(saga_id: int, epoch: int) -> Launch | None:
    """An errback fired. It means only "the chain stopped here": read the journal, then act. Twice is once; a missing one costs a lease."""
    with transaction.atomic():
        saga = locked(saga_id)
        at = border(saga)
        if saga.epoch != epoch or at is None:
            return None
        record, undo = at
        if record.state == StepState.REJECTED:
            turn_back(saga)
            return launch_of(saga)
        if record.state in STARTED:
            _put_in_doubt(saga, record, undo)
        elif record.state in GRANTED and saga.relaunches == 0:
            return _relaunch(saga)
        return None


def _put_in_doubt(saga: Saga, record: StepRecord, undo: bool) -> None:
    """This try stopped between start and settle; whoever may still run it is fenced, and its key makes it one effect."""
    tries = record.undo_tries if undo else record.tries
    saga.epoch += 1
    state = StepState.UNDO_IN_DOUBT if undo else StepState.IN_DOUBT
    move(saga, record, state, doubt=True, claim=None, error_code="stopped", error_message="The worker stopped before an answer came")
    save(saga, epoch=saga.epoch, wake_at=in_seconds(0.0 if saga.cancel_requested_at and not undo else backoff_s(tries)))


def look(saga: Saga) -> Launch | None:
    """What the sweep does with a locked saga that is due: turn back, take over, grant a retry, or publish the same message again."""
    at = border(saga)
    if at is None:
        return None
    record, undo = at
    if not undo and (saga.cancel_requested_at or record.state == StepState.REJECTED):
        turn_back(saga)
        return launch_of(saga)
    if record.name not in BY_NAME:
        _wait_for_code(saga, record)
        return None
    if record.state in GRANTED:
        return _relaunch(saga)
    return _grant_again(saga, record, undo)


def _relaunch(saga: Saga) -> Launch | None:
    """Granted and never started: the same message under the same epoch, so whichever arrives first wins."""
    relaunches = saga.relaunches + 1
    at = border(saga)
    tell(saga, Kind.RELAUNCH, name=at[0].name if at else "")
    save(saga, relaunches=relaunches, wake_at=in_seconds(patience_s(relaunches)))
    return launch_of(saga)


def _grant_again(saga: Saga, record: StepRecord, undo: bool) -> Launch | None:
    """Started and past its lease (a take-over), or a retry that is due: granted under the next epoch; the key stays the same."""
    taken_over = record.state in STARTED
    saga.epoch += 1
    if taken_over:
        tell(saga, Kind.TAKE_OVER, name=record.name)
    doubt = record.doubt or taken_over
    move(saga, record, StepState.UNDO_GRANTED if undo else StepState.GRANTED, doubt=doubt, claim=None)
    save(saga, epoch=saga.epoch, wake_at=in_seconds(patience_s(saga.relaunches)))
    return launch_of(saga)


def _wait_for_code(saga: Saga, record: StepRecord) -> None:
    """A step that this code does not know waits, and says so once; nothing is launched that Celery would drop."""
    if record.error_code != "unknown_step":
        message = f"This code has no step named {record.name!r}"
        move(saga, record, StepState(record.state), error_code="unknown_step", error_message=message, detail={"message": message})
    relaunches = saga.relaunches + 1
    save(saga, relaunches=relaunches, wake_at=in_seconds(backoff_s(relaunches)))


def request_cancel(saga: Saga, actor: str) -> str:
    """Record a cancel at the locked saga. Says "accepted", "already" (a cancel or an undo is under way) or "too_late" (shipped, or closed)."""
    if saga.state == SagaState.COMPENSATING or saga.cancel_requested_at or saga.failure == Status.CANCELLED:
        return "already"
    shipped = any(record.state == StepState.SUCCEEDED and is_pivot(record) for record in saga.records.all())
    at = border(saga)
    if at is None or shipped:
        return "too_late"
    waits = at[0].state in WAITING + GRANTED
    tell(saga, Kind.CANCEL, to_state="requested", actor=actor)
    save(saga, cancel_requested_at=ShopNow(), **({"wake_at": ShopNow()} if waits else {}))
    return "accepted"
