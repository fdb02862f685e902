"""The table of operator actions: what each one does to a saga whose lock is held, once it was found legal and is in the audit log."""

from collections.abc import Callable

from fulfillment.engine import operator_actions
from fulfillment.models import Saga
from fulfillment.recovery.choices import where
from fulfillment.recovery.provider_lookup import LookedUp
from fulfillment.recovery.requests import Request
from orders.incidents import IncidentKind, IncidentState, resolve_incidents, unresolved

# Kinds of incidents about a saga that does not go on.
STOPS = (
    *(IncidentKind.COMPENSATION_EXHAUSTED, IncidentKind.IN_DOUBT, IncidentKind.STUCK, IncidentKind.UNKNOWN_STEP),
    *(IncidentKind.QUARANTINED, IncidentKind.PROVIDER_DOWN),
)


def _resolve_incidents(saga: Saga, request: Request) -> None:
    """The incidents that stopped the saga are resolved. One that reconciliation has opened is resolved by the next reconciliation."""
    resolve_incidents(saga.order_id, request.verb, request.reason, request.actor.name, kind__in=STOPS)


def _retry_now(saga: Saga, request: Request, found: LookedUp | None) -> None:
    operator_actions.due_now(saga)


def _retry(saga: Saga, request: Request, found: LookedUp | None) -> None:
    _resolve_incidents(saga, request)
    operator_actions.try_again(saga, where(saga))


def _record_only(saga: Saga, request: Request, found: LookedUp | None) -> None:
    """The audit entry holds the answer; nothing else changes."""


def _it_happened(saga: Saga, request: Request, found: LookedUp | None) -> None:
    _resolve_incidents(saga, request)
    operator_actions.took_place(saga, where(saga), found.receipt if found else None, request.evidence)


def _start_undo(saga: Saga, request: Request, found: LookedUp | None) -> None:
    _resolve_incidents(saga, request)
    operator_actions.due_now(saga)  # first, because a saga that moves is never without its next inspection
    operator_actions.compensate_all(saga)


def _undone_by_hand(saga: Saga, request: Request, found: LookedUp | None) -> None:
    _resolve_incidents(saga, request)
    operator_actions.compensated_by_hand(saga, where(saga), request.amount_minor or 0, request.evidence)


def _skip(saga: Saga, request: Request, found: LookedUp | None) -> None:
    _resolve_incidents(saga, request)
    operator_actions.do_without(saga, where(saga), request.evidence)


def _close(saga: Saga, request: Request, found: LookedUp | None) -> None:
    _resolve_incidents(saga, request)
    operator_actions.close(saga, request.amount_minor or 0)


def _assign(saga: Saga, request: Request, found: LookedUp | None) -> None:
    unresolved(order_id=saga.order_id).update(owner=request.owner)


def _snooze(saga: Saga, request: Request, found: LookedUp | None) -> None:
    unresolved(order_id=saga.order_id).update(state=IncidentState.SNOOZED, snoozed_until=request.until)


VERBS: dict[str, Callable[[Saga, Request, LookedUp | None], None]] = {
    "retry_now": _retry_now,
    "retry": _retry,
    "look_up": _record_only,
    "it_happened": _it_happened,
    "it_did_not": _retry,
    "start_undo": _start_undo,
    "undone_by_hand": _undone_by_hand,
    "skip": _skip,
    "close": _close,
    "assign": _assign,
    "snooze": _snooze,
    "note": _record_only,
}
