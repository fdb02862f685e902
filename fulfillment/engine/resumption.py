"""Resumption: a saga that nobody runs goes on. An errback, the sweep, or a start that found nothing reads the journal under the saga's lock, and then acts."""

from typing import Any

from fulfillment.capabilities import Capabilities
from fulfillment.clock import ShopNow, backoff_s, in_seconds, lease_s, patience_s, shop_now
from fulfillment.crashpoints import crash_point
from fulfillment.engine.attempt_keys import entry_detail, next_do, was_refused
from fulfillment.engine.budget import give_time, return_waiting_time, spent, tries_spent, try_given_back
from fulfillment.engine.circuit_holds import ANSWERS_AGAIN, open_circuit_before, release
from fulfillment.engine.circuit_probes import hold_on
from fulfillment.engine.compensation import park_compensation, schedule_next_compensation, turn_back
from fulfillment.engine.database_trouble import goes_on, is_put_off, open_database_incident
from fulfillment.engine.doubt import STOPPED, put_in_doubt
from fulfillment.engine.escalation import at_risk_minor, park
from fulfillment.engine.journal import append_entry, find_locked, move, save
from fulfillment.engine.launch import Launch, launch_of
from fulfillment.engine.pinned_plan import capabilities, is_newer, step_of
from fulfillment.engine.position import border, pivot_succeeded
from fulfillment.engine.progress import schedule_next
from fulfillment.engine.rolling_deploys import adopt, leave, left_at_its_end, nobody_came, park_unserved
from fulfillment.engine.step_states import SCHEDULED, STARTED
from fulfillment.engine.transition import transition
from fulfillment.errors import OWN_DATABASE
from fulfillment.models import Saga, StepRecord, StepState
from orders.durability import may_be_lost
from orders.incidents import IncidentKind
from orders.timeline import EntryKind, TimelineEntry


@transition
def could_not_start(saga_id: int, epoch: int) -> Launch | None:
    """A start has found nothing to start. If a cancel is the reason, the saga turns back in the same task. If an open circuit is, the saga waits before it."""
    saga = find_locked(saga_id)
    at = border(saga) if saga else None
    if saga is None or is_newer(saga) or saga.epoch != epoch or at is None or at[0].state not in SCHEDULED:
        return None
    record, compensating = at
    if saga.cancel_requested_at and not compensating:
        turn_back(saga)
        return launch_of(saga)
    if not saga.held_by and (circuit := open_circuit_before(saga, record, compensating)):
        hold_on(saga, record, compensating, circuit)
    return None


@transition
def chain_stopped(saga_id: int, epoch: int) -> Launch | None:
    """An errback has fired. It means only "the chain stopped here". A second one changes nothing. A missing one costs the time of a lease."""
    saga = find_locked(saga_id)
    at = border(saga) if saga else None
    if saga is None or saga.epoch != epoch or at is None:
        return None
    record, compensating = at
    follow = None
    if is_newer(saga):
        _leave_to_newer_code(saga, record)
    elif record.state == StepState.REJECTED and not pivot_succeeded(saga):
        turn_back(saga)
        follow = launch_of(saga)
    elif record.state in STARTED and step_of(saga, record.name) and _keys_make_it_one(capabilities(saga, record)):
        wait_s = (
            0.0 if saga.cancel_requested_at and not compensating else backoff_s(record.compensation_tries if compensating else record.tries)
        )
        put_in_doubt(saga, record, compensating, {"compensation_doubt": True} if compensating else {"doubt": True})
        return_waiting_time(saga, record)  # of an errback that came after the lease: it waited in its queue, and no sweep came
        save(saga, wake_at=in_seconds(wait_s))
    elif record.state in SCHEDULED and saga.relaunches == 0:
        return_waiting_time(saga, record)
        follow = _relaunch(saga, record)
    crash_point("failed", saga.order.number, record.name, compensating=compensating)
    return follow


def _leave_to_newer_code(saga: Saga, record: StepRecord) -> None:
    """A started step belongs to its worker until its lease ends. Everything else is due soon, for whoever may judge it."""
    if record.state not in STARTED:
        leave(saga, record, launched_at=None)


def _keys_make_it_one(promise: Capabilities | None) -> bool:
    """Whether the step may be tried again at once. Without keys a worker that still lives would become a second effect: there the end of its lease decides."""
    return promise is None or promise.has_keys


def inspect_saga(saga: Saga, poison_after: int, calm_s: float | None = None) -> Launch | None:
    """What the sweep does with a locked saga that is due: turn back, take over, schedule a retry, publish the same message again, notify a person, or leave it.

    ``calm_s``: for how many seconds the sweep has seen the database's clock go as it should. None: the clock is believed. A lease that the sweep has not itself
    seen pass is not over.
    """
    needs = saga.release
    if is_newer(saga):
        if not nobody_came(saga):
            _leave_to_others(saga, None)
            return None
        adopt(saga)  # a deploy that was taken back
    at = border(saga)
    if at is None:
        if left_at_its_end(saga):
            (schedule_next_compensation if saga.is_backward else schedule_next)(saga)
        return None
    record, compensating = at
    if calm_s is not None and calm_s < lease_s() and record.state in STARTED:
        save(saga, wake_at=in_seconds(lease_s() - calm_s))
        return None
    if not compensating and not pivot_succeeded(saga) and (saga.cancel_requested_at or record.state == StepState.REJECTED):
        turn_back(saga)
    elif step_of(saga, record.name) is None:
        if not nobody_came(saga):
            _leave_to_others(saga, record)
            return None
        park_unserved(saga, record, needs)
    elif (circuit := open_circuit_before(saga, record, compensating)) and not _is_at_its_end(saga, record, compensating, poison_after):
        hold_on(saga, record, compensating, circuit)
        crash_point("sweep", saga.order.number, record.name, compensating=compensating)
        return None
    else:
        return _go_on(saga, record, compensating, poison_after)
    crash_point("sweep", saga.order.number, record.name, compensating=compensating)
    return launch_of(saga)


def _is_at_its_end(saga: Saga, record: StepRecord, compensating: bool, poison_after: int) -> bool:
    """As the probe it has failed by our own fault, or lost its worker, too often to wait on. An outage spends neither."""
    return saga.relaunches >= poison_after or (
        record.state not in STARTED and tries_spent(step_of(saga, record.name), record, compensating)
    )


def _go_on(saga: Saga, record: StepRecord, compensating: bool, poison_after: int) -> Launch | None:
    """The saga need not turn back, it need not wait before a circuit, and this code serves its step."""
    if saga.held_by:
        at_its_end = _is_at_its_end(saga, record, compensating, poison_after)
        release(saga, record, "it has asked often enough" if at_its_end else ANSWERS_AGAIN)
    else:
        return_waiting_time(saga, record)
    if record.state not in STARTED and (what := spent(saga, record, compensating)):
        _give_up(saga, record, compensating, what)
    elif saga.relaunches >= poison_after and not is_put_off(record):
        message = f"launched {saga.relaunches} times without any progress"
        park(saga, IncidentKind.STUCK, record, "poison", message)
    elif record.state == StepState.PENDING:
        schedule_next(saga)
    else:
        if saga.relaunches >= poison_after:
            open_database_incident(saga, record, at_risk_minor(saga))
        if record.state in SCHEDULED:
            return _relaunch(saga, record)
        _schedule_again(saga, record, compensating)
    crash_point("sweep", saga.order.number, record.name, compensating=compensating)
    return launch_of(saga)


def _leave_to_others(saga: Saga, record: StepRecord | None) -> None:
    may_be_lost()
    leave(saga, record)


def _give_up(saga: Saga, record: StepRecord, compensating: bool, what: str) -> None:
    """A budget is spent. Before the pivot the saga turns back, in doubt or not. A compensation, and a step after the pivot, need a person."""
    if compensating:
        message = record.error_message or STOPPED
        move(
            saga,
            record,
            StepState.COMPENSATION_FAILED,
            claim=None,
            error_message=message,
            detail={"message": f"out of {what}: {message}"},
        )
        park_compensation(saga, record)
    elif pivot_succeeded(saga):
        park(saga, IncidentKind.STUCK, record, record.error_code or what, f"out of {what}: {record.error_message}")
    else:
        why = f"out of {what}: {record.error_message}" if record.error_message else f"out of {what}"
        turn_back(saga, why, code=record.error_code or what)


def _relaunch(saga: Saga, record: StepRecord) -> Launch | None:
    """The step was scheduled and never started: the same message goes out again, under the same epoch. Whichever message arrives first wins."""
    relaunches = saga.relaunches + 1
    if saga.launched_at is not None:  # else it is published for the first time
        append_entry(saga, EntryKind.RELAUNCH, name=record.name)
    save(saga, relaunches=relaunches, wake_at=in_seconds(patience_s(relaunches)), launched_at=ShopNow())
    return launch_of(saga, _published_again(saga))


def _published_again(saga: Saga) -> int:
    """How often under this epoch, this time included. ``relaunches`` cannot say it, because progress sets it to 0."""
    return TimelineEntry.objects.filter(order_id=saga.order_id, kind=EntryKind.RELAUNCH, epoch=saga.epoch).count()


def _schedule_again(saga: Saga, record: StepRecord, compensating: bool) -> None:
    """A take-over (started, and past its lease) or a retry that is due: scheduled under the next epoch. The key stays the same, unless it was refused."""
    saga.epoch += 1
    changes = _taken_over(saga, record, compensating) if record.state in STARTED else {}
    attempt = next_do(saga, record) if not compensating and was_refused(record, compensating) else {}
    move(
        saga,
        record,
        StepState.COMPENSATION_SCHEDULED if compensating else StepState.SCHEDULED,
        detail=entry_detail(attempt),
        **changes,
        **attempt,
        claim=None,
    )
    save(saga, epoch=saga.epoch, wake_at=in_seconds(patience_s(saga.relaunches)), launched_at=ShopNow(), left_since=None)


def _taken_over(saga: Saga, record: StepRecord, compensating: bool) -> dict[str, Any]:
    """A worker that died, stands still or could not write says nothing about the provider. So its try and its time are given back, and the launch counts as one
    without progress.
    """
    append_entry(saga, EntryKind.TAKE_OVER, name=record.name)
    goes_on(saga, record)
    save(saga, relaunches=saga.relaunches + 1)
    if record.started_at is not None:
        give_time(saga, shop_now() - record.started_at)
    cleared = {"error_code": "", "error_message": ""} if record.error_code == OWN_DATABASE else {}
    return try_given_back(record, compensating) | cleared
