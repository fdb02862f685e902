"""Progress: an action is scheduled only when every one before it is over. After the last one the order is fulfilled, and the fact is recorded with it; or all of it
is compensated (``compensation_end``).
"""

from typing import Any

from fulfillment import ledger, stock
from fulfillment.clock import ShopNow, in_seconds, patience_s, shop_now
from fulfillment.engine import public_events
from fulfillment.engine.action import Action, ActionState
from fulfillment.engine.attempt_keys import entry_detail, scheduled_compensation
from fulfillment.engine.compensation_end import end_compensated
from fulfillment.engine.escalation import park
from fulfillment.engine.journal import append_entry, move, save, set_order_status
from fulfillment.engine.pinned_plan import is_newer
from fulfillment.engine.position import current_action
from fulfillment.engine.rolling_deploys import leave_what_follows, may_end
from fulfillment.models import Saga, SagaState
from orders.incidents import IncidentKind
from orders.models import Status
from orders.timeline import EntryKind


def schedule_next(saga: Saga) -> None:
    """Schedule the next action; or all of them are over, and the saga ends. What only newer code may do is left to it."""
    action = current_action(saga)
    if action is None:
        (end_compensated if saga.is_backward else _end_fulfilled)(saga)
    elif is_newer(saga) and action.state != ActionState.PENDING:
        leave_what_follows(saga)
    elif action.is_compensation:
        set_order_status(saga, Status.COMPENSATING)
        schedule_compensation(saga, action)
    else:
        move(saga, action, ActionState.SCHEDULED, scheduled_at=ShopNow())
        await_start(saga)


def schedule_compensation(saga: Saga, action: Action, **changes: Any) -> None:
    """Key and amount are fixed together. The amount is what our ledger says remains captured. A changed amount, or a refused attempt, makes a new attempt."""
    has_amount = (action.forward.receipt or {}).get("amount_minor") is not None
    amount = ledger.remaining(saga.order_id, action.name) if has_amount else None
    if amount == 0:
        move(saga, action, ActionState.LEFT_OUT, claim=None)
        schedule_next(saga)
        return
    attempt = scheduled_compensation(saga, action, amount)
    scheduled: dict[str, Any] = {"scheduled_at": ShopNow(), "waits": 0, **attempt, **changes}
    move(saga, action, ActionState.SCHEDULED, detail=entry_detail(attempt), **scheduled)
    public_events.compensation_requested(saga, action, amount)
    await_start(saga)


def await_start(saga: Saga) -> None:
    """An action was scheduled just now, and its message goes out on commit."""
    save(saga, relaunches=0, wake_at=in_seconds(patience_s(0)), launched_at=ShopNow(), left_since=None, paused_s=0.0)


def _end_fulfilled(saga: Saga) -> None:
    if not may_end(saga, Status.FULFILLED):
        leave_what_follows(saga)
    elif lost := _lost_steps(saga):
        park(saga, IncidentKind.STUCK, None, "record_lost", f"its journal has lost the record of {', '.join(lost)}")
    else:
        _complete(saga)


def _lost_steps(saga: Saga) -> list[str]:
    """Steps of its plan that have no record. An order is never fulfilled because the record of what is left to do is gone."""
    recorded = {record.name for record in saga.records.all()}
    return [entry["name"] for entry in saga.plan if entry["name"] not in recorded]


def _complete(saga: Saga) -> None:
    """Every step is done: the order is fulfilled, the stock has left, and the fact is recorded, all in this transaction.

    The fact is a row of the outbox. Side effects cannot hold this transaction up, because it touches no table of theirs.
    """
    order = saga.order
    stock.consume(order.number)
    append_entry(saga, EntryKind.SAGA, from_state=saga.state, to_state=SagaState.COMPLETED)
    save(saga, state=SagaState.COMPLETED, wake_at=None, closed_at=ShopNow(), relaunches=0, left_since=None)
    set_order_status(saga, Status.FULFILLED, finished_at=ShopNow())
    receipts: dict[str, Any] = {}
    for record in saga.records.all():
        receipts |= record.receipt or {}
    public_events.order_fulfilled(saga, receipts.get("tracking", ""), shop_now().date().isoformat())
