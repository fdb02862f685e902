"""Probes: before an open circuit (half open) one held saga at a time is sent ahead, to see whether the provider answers again. The others are held."""

from datetime import timedelta

from django.conf import settings

from fulfillment import circuit as circuits
from fulfillment.circuit import Circuit
from fulfillment.clock import ShopNow, in_seconds, lease_s, patience_s, shop_now
from fulfillment.engine.action import WAITING, Action, ActionState
from fulfillment.engine.budget import give_time, return_waiting_time, try_given_back
from fulfillment.engine.circuit_holds import hold, was_never_asked
from fulfillment.engine.doubt import put_in_doubt
from fulfillment.engine.escalation import open_saga_incident
from fulfillment.engine.journal import move, save
from fulfillment.engine.launch import Launch, launch_of
from fulfillment.engine.position import current_action
from fulfillment.engine.progress import schedule_next
from fulfillment.models import Saga
from orders.incidents import IncidentKind

NEVER_ASKED = "never_asked"  # code of the incident about an order that waits for too long, and for which the provider was never called


def hold_on(saga: Saga, action: Action, circuit: Circuit) -> None:
    """The sweep, or a start that was refused, has found the circuit open: the saga is held. A scheduled step that was never asked for is pending again."""
    now = shop_now()
    if circuit.may_call(saga.pk, now):
        save(saga, wake_at=circuit.probe_until)
        return
    relaunches = saga.relaunches if saga.held_by else 0
    if action.state == ActionState.STARTED:
        if action.started_at is not None and not saga.held_by:  # as a take-over does; else the release gives back all of it
            give_time(saga, now - action.started_at)
        put_in_doubt(saga, action, try_given_back(action))
        relaunches = saga.relaunches + 1  # its worker died as the probe
    else:
        return_waiting_time(saga, action)
        if not action.is_compensation and action.state == ActionState.SCHEDULED and was_never_asked(action, circuit):
            saga.epoch += 1
            move(saga, action, ActionState.PENDING, scheduled_at=None)
            save(saga, epoch=saga.epoch)
    hold(saga, action, circuit)
    save(saga, relaunches=relaunches)
    _escalate_if_late(saga, action, circuit)


def _escalate_if_late(saga: Saga, action: Action, circuit: Circuit) -> None:
    """Where a provider was perhaps called, the order goes on waiting. Where none was, a person may decide otherwise, and is notified."""
    if action.is_compensation or action.state != ActionState.PENDING or saga.held_at is None:
        return
    if shop_now() - saga.held_at < timedelta(seconds=settings.PROVIDER_OUTAGE_LIMIT_S):
        return
    open_saga_incident(saga, IncidentKind.PROVIDER_DOWN, action, NEVER_ASKED, f"{circuit.sentence}; this order was never asked for there")


def probe(saga: Saga, circuit: Circuit) -> Launch | None:
    """This held saga may call its provider as the probe. Saga and circuit are locked. The saga stays held meanwhile."""
    action = current_action(saga)
    if action is None or action.state == ActionState.STARTED:
        return None
    seconds = patience_s(0) + lease_s()
    circuits.choose_probe(circuit, saga.pk, seconds)
    if action.state == ActionState.PENDING:
        schedule_next(saga)
    elif action.state in WAITING:
        saga.epoch += 1
        move(saga, action, ActionState.SCHEDULED, claim=None)
    save(saga, epoch=saga.epoch, wake_at=in_seconds(seconds), launched_at=ShopNow())
    return launch_of(saga)
