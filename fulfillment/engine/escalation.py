"""Escalation: a saga that cannot go on by itself stops, and a person is notified, with the amount at risk."""

from typing import Any

from fulfillment import ledger
from fulfillment.engine.action import DONE, Action
from fulfillment.engine.circuit_holds import release
from fulfillment.engine.journal import append_entry, save
from fulfillment.engine.pinned_plan import is_local, planned
from fulfillment.engine.position import compensations
from fulfillment.models import Saga, SagaState
from orders.incidents import IncidentKind, open_incident
from orders.timeline import EntryKind


def park(saga: Saga, kind: IncidentKind, action: Action | None, code: str, message: str) -> None:
    """→ needs_attention under a new epoch, with an incident. What a worker learns from now on is history."""
    if saga.held_by:
        release(saga, action, "a person must decide")
    saga.epoch += 1
    append_entry(saga, EntryKind.SAGA, from_state=saga.state, to_state=SagaState.NEEDS_ATTENTION, code=kind)
    save(saga, state=SagaState.NEEDS_ATTENTION, epoch=saga.epoch, wake_at=None, relaunches=0)
    open_saga_incident(saga, kind, action, code, message, at_risk_minor(saga))


def open_saga_incident(saga: Saga, kind: IncidentKind, action: Action | None, code: str, message: str, amount_minor: int = 0) -> None:
    """An incident about the saga's order, at the step where it stands. The saga itself is not stopped by it."""
    step = action.name if action else ""
    about: dict[str, Any] = {"subject": saga.order.number, "order_id": saga.order_id, "currency": saga.order.currency, "epoch": saga.epoch}
    open_incident(kind, **about, step=step, code=code, message=message, amount_minor=amount_minor)


def at_risk_minor(saga: Saga) -> int:
    """Minor units: what remains captured. While nobody knows whether a charge exists, it is the whole total."""
    unknown = any(
        step.receipt is None and step.doubt and action.state not in DONE
        for action in compensations(saga)
        if (step := action.forward) and not is_local(saga, step) and planned(saga, step.name).get("role") == "payments"
    )
    return saga.order.total_minor if unknown else ledger.remaining(saga.order_id)
