"""Holds: a saga whose provider is out waits before an open circuit breaker, and spends neither tries nor time. It goes on when the circuit is closed.

A hold belongs to the step or compensation where the saga stands. Whatever moves the saga ends it. ``circuit_probes`` sends one held saga ahead as the probe;
``fulfillment.circuit`` has the rows of the circuits themselves.
"""

from datetime import timedelta

from django.conf import settings
from django.db.models import Count, Sum

from fulfillment import circuit as circuits
from fulfillment import ledger
from fulfillment.circuit import Circuit
from fulfillment.clock import in_seconds, lease_s, shop_now
from fulfillment.engine.action import Action
from fulfillment.engine.budget import give_time
from fulfillment.engine.claim import Claim, action_of
from fulfillment.engine.journal import append_entry, save
from fulfillment.engine.pinned_plan import planned
from fulfillment.engine.position import cancel_is_due
from fulfillment.models import Saga
from orders.clock import jittered
from orders.incidents import IncidentKind, open_incident, resolve_incidents, unresolved
from orders.money import money
from orders.text import counted
from orders.timeline import EntryKind

ANSWERS_AGAIN = "the provider answers again"


def circuit_name(saga: Saga, action: Action) -> str:
    """The circuit of the operation that comes next. Empty: it calls no provider."""
    entry = planned(saga, action.name)
    return circuits.name_of(entry.get("role", ""), entry.get("gateway", ""), action.is_compensation)


def open_circuit_before(saga: Saga, action: Action) -> Circuit | None:
    """The open circuit that keeps this saga from going on. None: there is none."""
    return circuits.find_open(circuit_name(saga, action))


def hold(saga: Saga, action: Action, circuit: Circuit) -> None:
    """The saga waits before it. Whoever closes the circuit makes the saga due; it is also due by itself, now and then."""
    if saga.held_by != circuit.name:
        append_entry(saga, EntryKind.HELD, name=action.name, to_state="held", code=circuit.name, detail={"message": circuit.sentence})
        save(saga, held_by=circuit.name, held_at=shop_now())
    wait_s = 0.0 if cancel_is_due(saga) else jittered(settings.PATIENCE_CAP_S)
    save(saga, relaunches=0, launched_at=None, left_since=None, wake_at=in_seconds(wait_s))


def was_never_asked(action: Action, circuit: Circuit) -> bool:
    """No try can have been sent. The step was scheduled when the circuit had been open for longer than any transaction lasts.

    Since the circuit opened every start is refused, except that of a probe, and a probe's start is durable.
    """
    if action.scheduled_at is None or action.asked_until is not None or action.doubt or circuit.opened_at is None:
        return False
    return action.scheduled_at > circuit.opened_at + timedelta(seconds=lease_s())


def release(saga: Saga, action: Action | None, why: str) -> None:
    """The hold is over, and its time is given back."""
    if saga.held_at is not None:
        give_time(saga, shop_now() - saga.held_at)
    name = action.name if action else ""
    append_entry(saga, EntryKind.HELD, name=name, from_state="held", to_state="released", code=saga.held_by, detail={"message": why})
    save(saga, held_by="", held_at=None)
    resolve_incidents(saga.order_id, "released", why, "", kind=IncidentKind.PROVIDER_DOWN)


def was_answered(saga: Saga, claim: Claim) -> None:
    """The provider works, whatever it has answered: if this was the probe, the circuit closes, and the hold is over."""
    if claim.troubled:
        circuits.answered(claim.circuit, claim.saga)
    if saga.held_by:
        release(saga, action_of(saga, claim), ANSWERS_AGAIN)


def open_circuit_incident(circuit: Circuit) -> None:
    """One incident for each open circuit says since when, how many orders wait, and for how much money. The sweep keeps it up to date, and closes it.

    At risk is what was captured and is to be given back. Of orders that only wait to be charged, nothing is at risk.
    """
    message = sentence_with_waiting(circuit)
    order_ids = Saga.objects.filter(held_by=circuit.name).values("order_id")
    at_risk = ledger.remaining_of(order_ids) if circuit.is_compensation else {}
    currency, minor = max(at_risk.items(), key=lambda item: item[1], default=(settings.SHOP_CURRENCY, 0))
    if not unresolved(kind=IncidentKind.PROVIDER_DOWN, subject=circuit.name, message=message, amount_minor=minor).exists():
        open_incident(
            IncidentKind.PROVIDER_DOWN, subject=circuit.name, code=circuit.name, currency=currency, message=message, amount_minor=minor
        )


def sentence_with_waiting(circuit: Circuit) -> str:
    """…; 214 orders wait, €8,420.00 in all. Without a full stop."""
    rows = (
        Saga.objects.filter(held_by=circuit.name).order_by().values_list("order__currency").annotate(Count("id"), Sum("order__total_minor"))
    )
    orders = sum(count for _, count, _ in rows)
    in_all = " + ".join(money(minor, currency) for currency, _, minor in sorted(rows))
    return f"{circuit.sentence}; {counted(orders, 'order', 'wait')}" + (f", {in_all} in all" if in_all else "")
