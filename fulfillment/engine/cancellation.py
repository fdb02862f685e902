"""Cancellation: a customer's cancel is honoured at the next border between steps, or it is too late. The saga's row lock decides, so the answer is one."""

from fulfillment.clock import ShopNow
from fulfillment.engine.action import WAITING, ActionState
from fulfillment.engine.journal import append_entry, save
from fulfillment.engine.pinned_plan import is_pivot, planned
from fulfillment.engine.position import pivot_succeeded, standing
from fulfillment.models import FINAL, Saga, SagaState
from orders.models import Status
from orders.timeline import EntryKind


def request_cancel(saga: Saga, actor: str) -> str:
    """Record a cancel on the locked saga, where it can still change something. Returns what ``cancel_outcome`` says; a repeated request gets the same answer."""
    outcome, at = cancel_outcome(saga), standing(saga)
    if outcome in ("accepted", "pending") and at is not None and not saga.failure and not saga.cancel_requested_at:
        waits = at.state in (*WAITING, ActionState.SCHEDULED, ActionState.PENDING) and saga.state == SagaState.RUNNING
        append_entry(saga, EntryKind.CANCEL, to_state="requested", actor=actor)
        save(saga, cancel_requested_at=ShopNow(), **({"wake_at": ShopNow()} if waits else {}))
    return outcome


def cancel_outcome(saga: Saga) -> str:
    """What a cancel comes to, as the journal is now.

    "accepted". "pending": shipping is under way, and its outcome decides. "undoing": the order has failed, and is compensated anyway. "too_late": it has shipped,
    or has ended otherwise than cancelled.
    """
    if saga.state in FINAL:
        return "accepted" if saga.failure == Status.CANCELLED else "too_late"
    if saga.failure:
        return "accepted" if saga.failure == Status.CANCELLED else "undoing"
    at = standing(saga)
    if at is None or pivot_succeeded(saga):
        return "too_late"
    pivot_is_open = is_pivot(saga, at) and at.state in (ActionState.STARTED, ActionState.IN_DOUBT)
    return "pending" if pivot_is_open or saga.state == SagaState.NEEDS_ATTENTION else "accepted"


def can_be_cancelled(saga: Saga) -> bool:
    """Whether a cancel would change something, as the journal is now. Without a lock: it may be too late a moment later. It fails where a cancel would fail."""
    at = standing(saga)
    if at is None or saga.failure or saga.cancel_requested_at:
        return False
    planned(saga, at.name)
    return not pivot_succeeded(saga)
