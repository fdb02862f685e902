"""Resumption: a saga that nobody runs goes on. An errback, the sweep, or a start that found nothing reads the journal under the saga's lock, and then acts."""

from typing import Any

from fulfillment.capabilities import Capabilities
from fulfillment.clock import ShopNow, backoff_s, in_seconds, lease_s, patience_s, shop_now
from fulfillment.crashpoints import crash_point
from fulfillment.engine.action import Action, ActionState
from fulfillment.engine.attempt_keys import entry_detail, next_do, was_refused
from fulfillment.engine.budget import give_time, return_waiting_time, spent, tries_spent, try_given_back
from fulfillment.engine.circuit_holds import ANSWERS_AGAIN, open_circuit_before, release
from fulfillment.engine.circuit_probes import hold_on
from fulfillment.engine.compensation import park_compensation, turn_back
from fulfillment.engine.database_trouble import goes_on, is_put_off, open_database_incident
from fulfillment.engine.doubt import STOPPED, put_in_doubt
from fulfillment.engine.escalation import at_risk_minor, park
from fulfillment.engine.journal import append_entry, find_locked, move, save
from fulfillment.engine.launch import Launch, launch_of
from fulfillment.engine.pinned_plan import capabilities, is_newer, step_of
from fulfillment.engine.position import cancel_is_due, current_action, pivot_succeeded
from fulfillment.engine.progress import schedule_next
from fulfillment.engine.rolling_deploys import adopt, leave, left_at_its_end, nobody_came, park_unserved
from fulfillment.engine.transition import transition
from fulfillment.errors import OWN_DATABASE
from fulfillment.models import Saga
from orders.durability import may_be_lost
from orders.incidents import IncidentKind
from orders.timeline import EntryKind, TimelineEntry


@transition
def could_not_start(saga_id: int, epoch: int) -> Launch | None:
    """A start has found nothing to start. If a cancel is the reason, the saga turns back in the same task. If an open circuit is, the saga waits before it."""
    saga = find_locked(saga_id)
    action = current_action(saga) if saga else None
    if saga is None or is_newer(saga) or saga.epoch != epoch or action is None or action.state != ActionState.SCHEDULED:
        return None
    if cancel_is_due(saga):
        turn_back(saga)
        return launch_of(saga)
    if not saga.held_by and (circuit := open_circuit_before(saga, action)):
        hold_on(saga, action, circuit)
    return None


@transition
def chain_stopped(saga_id: int, epoch: int) -> Launch | None:
    """An errback has fired. It means only "the chain stopped here". A second one changes nothing. A missing one costs the time of a lease."""
    saga = find_locked(saga_id)
    action = current_action(saga) if saga else None
    if saga is None or saga.epoch != epoch or action is None:
        return None
    follow = None
    if is_newer(saga):
        _leave_to_newer_code(saga, action)
    elif _turns_back(saga, action):
        turn_back(saga)
        follow = launch_of(saga)
    elif action.state == ActionState.STARTED and step_of(saga, action.name) and _keys_make_it_one(capabilities(saga, action)):
        put_in_doubt(saga, action, {"doubt": True})
        return_waiting_time(saga, action)  # of an errback that came after the lease: it waited in its queue, and no sweep came
        save(saga, wake_at=in_seconds(0.0 if cancel_is_due(saga) else backoff_s(action.tries)))
    elif action.state == ActionState.SCHEDULED and saga.relaunches == 0:
        return_waiting_time(saga, action)
        follow = _relaunch(saga, action)
    crash_point("failed", saga.order.number, action.name, compensating=action.is_compensation)
    return follow


def _leave_to_newer_code(saga: Saga, action: Action) -> None:
    """A started step belongs to its worker until its lease ends. Everything else is due soon, for whoever may judge it."""
    if action.state != ActionState.STARTED:
        leave(saga, action, launched_at=None)


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
    action = current_action(saga)
    if action is None:
        if left_at_its_end(saga):
            schedule_next(saga)
        return None
    if calm_s is not None and calm_s < lease_s() and action.state == ActionState.STARTED:
        save(saga, wake_at=in_seconds(lease_s() - calm_s))
        return None
    if _turns_back(saga, action) or (cancel_is_due(saga) and not pivot_succeeded(saga)):
        turn_back(saga)
    elif step_of(saga, action.name) is None:
        if not nobody_came(saga):
            _leave_to_others(saga, action)
            return None
        park_unserved(saga, action, needs)
    elif (circuit := open_circuit_before(saga, action)) and not _is_at_its_end(saga, action, poison_after):
        hold_on(saga, action, circuit)
        crash_point("sweep", saga.order.number, action.name, compensating=action.is_compensation)
        return None
    else:
        return _go_on(saga, action, poison_after)
    crash_point("sweep", saga.order.number, action.name, compensating=action.is_compensation)
    return launch_of(saga)


def _turns_back(saga: Saga, action: Action) -> bool:
    """A step was rejected for good. After the pivot it is tried again instead. A walk back never stands at a rejected compensation."""
    return action.state == ActionState.REJECTED and not pivot_succeeded(saga)


def _is_at_its_end(saga: Saga, action: Action, poison_after: int) -> bool:
    """As the probe it has failed by our own fault, or lost its worker, too often to wait on. An outage spends neither."""
    return saga.relaunches >= poison_after or (action.state != ActionState.STARTED and tries_spent(saga, action))


def _go_on(saga: Saga, action: Action, poison_after: int) -> Launch | None:
    """The saga need not turn back, it need not wait before a circuit, and this code serves its step."""
    if saga.held_by:
        release(saga, action, "it has asked often enough" if _is_at_its_end(saga, action, poison_after) else ANSWERS_AGAIN)
    else:
        return_waiting_time(saga, action)
    if action.state != ActionState.STARTED and (what := spent(saga, action)):
        _give_up(saga, action, what)
    elif saga.relaunches >= poison_after and not is_put_off(action):
        message = f"launched {saga.relaunches} times without any progress"
        park(saga, IncidentKind.STUCK, action, "poison", message)
    elif action.state == ActionState.PENDING:
        schedule_next(saga)
    else:
        if saga.relaunches >= poison_after:
            open_database_incident(saga, action, at_risk_minor(saga))
        if action.state == ActionState.SCHEDULED:
            return _relaunch(saga, action)
        _schedule_again(saga, action)
    crash_point("sweep", saga.order.number, action.name, compensating=action.is_compensation)
    return launch_of(saga)


def _leave_to_others(saga: Saga, action: Action | None) -> None:
    may_be_lost()
    leave(saga, action)


def _give_up(saga: Saga, action: Action, what: str) -> None:
    """A budget is spent. Before the pivot the saga turns back, in doubt or not. A compensation, and a step after the pivot, need a person."""
    if action.is_compensation:
        message = action.error_message or STOPPED
        detail = {"message": f"out of {what}: {message}"}
        move(saga, action, ActionState.REJECTED, claim=None, error_message=message, detail=detail)
        park_compensation(saga, action)
    elif pivot_succeeded(saga):
        park(saga, IncidentKind.STUCK, action, action.error_code or what, f"out of {what}: {action.error_message}")
    else:
        why = f"out of {what}: {action.error_message}" if action.error_message else f"out of {what}"
        turn_back(saga, why, code=action.error_code or what)


def _relaunch(saga: Saga, action: Action) -> Launch | None:
    """The step was scheduled and never started: the same message goes out again, under the same epoch. Whichever message arrives first wins."""
    relaunches = saga.relaunches + 1
    if saga.launched_at is not None:  # else it is published for the first time
        append_entry(saga, EntryKind.RELAUNCH, name=action.name)
    save(saga, relaunches=relaunches, wake_at=in_seconds(patience_s(relaunches)), launched_at=ShopNow())
    return launch_of(saga, _published_again(saga))


def _published_again(saga: Saga) -> int:
    """How often under this epoch, this time included. ``relaunches`` cannot say it, because progress sets it to 0."""
    return TimelineEntry.objects.filter(order_id=saga.order_id, kind=EntryKind.RELAUNCH, epoch=saga.epoch).count()


def _schedule_again(saga: Saga, action: Action) -> None:
    """A take-over (started, and past its lease) or a retry that is due: scheduled under the next epoch. The key stays the same, unless it was refused."""
    saga.epoch += 1
    changes = _taken_over(saga, action) if action.state == ActionState.STARTED else {}
    attempt = next_do(saga, action) if was_refused(action) else {}
    move(saga, action, ActionState.SCHEDULED, detail=entry_detail(attempt), **changes, **attempt, claim=None)
    save(saga, epoch=saga.epoch, wake_at=in_seconds(patience_s(saga.relaunches)), launched_at=ShopNow(), left_since=None)


def _taken_over(saga: Saga, action: Action) -> dict[str, Any]:
    """A worker that died, stands still or could not write says nothing about the provider. So its try and its time are given back, and the launch counts as one
    without progress.
    """
    append_entry(saga, EntryKind.TAKE_OVER, name=action.name)
    goes_on(saga, action)
    save(saga, relaunches=saga.relaunches + 1)
    if action.started_at is not None:
        give_time(saga, shop_now() - action.started_at)
    cleared = {"error_code": "", "error_message": ""} if action.error_code == OWN_DATABASE else {}
    return try_given_back(action) | cleared
