"""Operator actions: what a person has decided is written to the locked saga. Each raises the epoch and makes the saga due now; the sweep does the rest.

Whether an action is legal, and for whom, is checked before (``fulfillment.recovery.decisions``).
"""

from typing import Any

from fulfillment import ledger, stock
from fulfillment.clock import ShopNow, saga_deadline
from fulfillment.engine import public_events
from fulfillment.engine.action import Action, ActionState
from fulfillment.engine.attempt_keys import entry_detail, next_do
from fulfillment.engine.budget import return_waiting_time
from fulfillment.engine.circuit_holds import release
from fulfillment.engine.compensation import turn_back
from fulfillment.engine.journal import append_entry, move, save, set_order_status
from fulfillment.engine.pinned_plan import is_pivot
from fulfillment.engine.position import compensations, current_action, direction
from fulfillment.engine.progress import schedule_compensation, schedule_next
from fulfillment.engine.rolling_deploys import adopt
from fulfillment.ledger import LedgerEntry
from fulfillment.models import Saga, SagaState
from fulfillment.step import Receipt
from orders.models import Status
from orders.timeline import EntryKind


def due_now(saga: Saga) -> None:
    """A saga that waits for its next try waits no longer. What it has lost until now is given back, because after this nobody can tell."""
    if action := current_action(saga):
        return_waiting_time(saga, action)
    save(saga, wake_at=ShopNow())


def try_again(saga: Saga, action: Action) -> None:
    """Scheduled with a fresh budget, in the same direction, under the same key. After a refusal, or where the amount has changed, it is a new attempt."""
    _resume(saga)
    if action.is_compensation:
        schedule_compensation(saga, action, tries=0, claim=None)
    else:
        attempt = next_do(saga, action) if action.state == ActionState.REJECTED else {"scheduled_at": action.scheduled_at or ShopNow()}
        fresh: dict[str, Any] = {"tries": 0, "waits": 0, "claim": None, "first_started_at": None}
        move(saga, action, ActionState.SCHEDULED, detail=entry_detail(attempt), **fresh, **attempt)
    _publish_soon(saga)


def took_place(saga: Saga, action: Action, receipt: Receipt | None, evidence: str) -> None:
    """A person says that the step happened: the saga goes on behind it. Without a receipt, a later compensation goes by the step's key."""
    _resume(saga)
    if receipt and (amount := receipt.get("amount_minor")):
        ledger.enter(saga.order_id, action.name, LedgerEntry.Operation.CAPTURED, action.key, amount)
    move(saga, action, ActionState.DONE_BY_HAND, receipt=receipt, evidence=evidence, claim=None, outcome_at=ShopNow())
    public_events.step_succeeded(saga, action, receipt, by_hand=True)
    if saga.cancel_requested_at and is_pivot(saga, action):
        save(saga, cancel_requested_at=None)
        append_entry(saga, EntryKind.CANCEL, to_state="too_late")
    if saga.cancel_requested_at:
        turn_back(saga)
    else:
        schedule_next(saga)
    _publish_soon(saga)


def do_without(saga: Saga, action: Action, evidence: str) -> None:
    """A person says that the step is left out."""
    _resume(saga)
    move(saga, action, ActionState.LEFT_OUT, evidence=evidence, claim=None, outcome_at=ShopNow())
    schedule_next(saga)
    _publish_soon(saga)


def compensate_all(saga: Saga) -> None:
    """A saga that waits for a person turns back."""
    adopt(saga)
    turn_back(saga)
    _publish_soon(saga)


def compensated_by_hand(saga: Saga, action: Action, amount_minor: int, evidence: str) -> None:
    """A person says that the step was compensated outside of the shop, and names the amount in minor units. The saga goes on behind it."""
    _resume(saga)
    step = action.forward
    if amount_minor > ledger.remaining(saga.order_id, step.name) and step.receipt is None:
        ledger.enter(saga.order_id, step.name, LedgerEntry.Operation.CAPTURED, step.key, amount_minor)
    key = f"{action.key or step.key}:by_hand:{saga.epoch}"
    ledger.enter(saga.order_id, step.name, LedgerEntry.Operation.REFUNDED, key, amount_minor, by_hand=True)
    move(saga, action, ActionState.DONE_BY_HAND, evidence=evidence, claim=None, outcome_at=ShopNow())
    public_events.step_compensated(saga, action, {"amount_minor": amount_minor}, by_hand=True)
    schedule_next(saga)
    _publish_soon(saga)


def close(saga: Saga, amount_minor: int) -> None:
    """→ closed_by_operator. What remains captured (``amount_minor``, in minor units) is written off. The order shows how it ended.

    Stock that is still held has left with a parcel that could not be called back. Without such a parcel it is released.
    """
    adopt(saga)
    saga.epoch += 1
    parcel_left = any(action.state == ActionState.REJECTED and is_pivot(saga, action) for action in compensations(saga))
    (stock.consume if parcel_left else stock.release_all)(saga.order.number)
    ledger.enter(
        saga.order_id, "", LedgerEntry.Operation.WRITTEN_OFF, f"{saga.order.number}:written_off:{saga.epoch}", amount_minor, by_hand=True
    )
    append_entry(saga, EntryKind.SAGA, from_state=saga.state, to_state=SagaState.CLOSED_BY_OPERATOR)
    save(saga, state=SagaState.CLOSED_BY_OPERATOR, epoch=saga.epoch, wake_at=None, closed_at=ShopNow(), relaunches=0)
    set_order_status(saga, Status(saga.failure), finished_at=ShopNow())
    public_events.order_ended(saga)


def _resume(saga: Saga) -> None:
    """The saga gets a new epoch and a new deadline, and keeps its direction."""
    adopt(saga)
    if saga.held_by:
        release(saga, None, "a person has decided")
    saga.epoch += 1
    state = direction(saga.is_backward)
    changes: dict[str, Any] = {
        "epoch": saga.epoch,
        "state": state,
        "relaunches": 0,
        "wake_at": ShopNow(),
        "deadline_at": saga_deadline(),
        "left_since": None,
        "paused_s": 0.0,
    }
    if saga.state != state:
        append_entry(saga, EntryKind.SAGA, from_state=saga.state, to_state=state)
    save(saga, **changes)


def _publish_soon(saga: Saga) -> None:
    """Nothing is published here. The sweep finds the saga due, and knows that no message of it is under way."""
    if current_action(saga) is not None:
        save(saga, wake_at=ShopNow(), launched_at=None)
