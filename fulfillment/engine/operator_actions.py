"""Operator actions: what a person has decided is written to the locked saga. Each raises the epoch and makes the saga due now; the sweep does the rest.

Whether an action is legal, and for whom, is checked before (``fulfillment.recovery.decisions``).
"""

from typing import Any

from fulfillment import ledger, stock
from fulfillment.clock import ShopNow, saga_deadline
from fulfillment.engine.attempt_keys import entry_detail, next_do
from fulfillment.engine.budget import return_waiting_time
from fulfillment.engine.circuit_holds import release
from fulfillment.engine.compensation import schedule_compensation, schedule_next_compensation, turn_back
from fulfillment.engine.journal import append_entry, move, save, set_order_status
from fulfillment.engine.pinned_plan import is_pivot
from fulfillment.engine.position import border
from fulfillment.engine.progress import schedule_next
from fulfillment.engine.rolling_deploys import adopt
from fulfillment.ledger import LedgerEntry
from fulfillment.models import Saga, SagaState, StepRecord, StepState
from fulfillment.step import Receipt
from orders.models import Status
from orders.timeline import EntryKind


def due_now(saga: Saga) -> None:
    """A saga that waits for its next try waits no longer. What it has lost until now is given back, because after this nobody can tell."""
    if at := border(saga):
        return_waiting_time(saga, at[0])
    save(saga, wake_at=ShopNow())


def try_again(saga: Saga, record: StepRecord, compensating: bool) -> None:
    """Scheduled with a fresh budget, in the same direction, under the same key. After a refusal, or where the amount has changed, it is a new attempt."""
    _resume(saga)
    if compensating:
        schedule_compensation(saga, record, compensation_tries=0, claim=None)
    else:
        attempt = next_do(saga, record) if record.state == StepState.REJECTED else {"scheduled_at": record.scheduled_at or ShopNow()}
        move(
            saga, record, StepState.SCHEDULED, detail=entry_detail(attempt), tries=0, waits=0, claim=None, first_started_at=None, **attempt
        )
    _publish_soon(saga)


def took_place(saga: Saga, record: StepRecord, receipt: Receipt | None, evidence: str) -> None:
    """A person says that the step happened: the saga goes on behind it. Without a receipt, a later compensation goes by the step's key."""
    _resume(saga)
    if receipt and (amount := receipt.get("amount_minor")):
        ledger.enter(saga.order_id, record.name, LedgerEntry.Operation.CAPTURED, record.do_key, amount)
    move(saga, record, StepState.DONE_BY_HAND, receipt=receipt, evidence=evidence, claim=None, outcome_at=ShopNow())
    if saga.cancel_requested_at and is_pivot(saga, record):
        save(saga, cancel_requested_at=None)
        append_entry(saga, EntryKind.CANCEL, to_state="too_late")
    if saga.cancel_requested_at:
        turn_back(saga)
    else:
        schedule_next(saga)
    _publish_soon(saga)


def do_without(saga: Saga, record: StepRecord, evidence: str) -> None:
    """A person says that the step is left out."""
    _resume(saga)
    move(saga, record, StepState.SKIPPED, evidence=evidence, claim=None, outcome_at=ShopNow())
    schedule_next(saga)
    _publish_soon(saga)


def compensate_all(saga: Saga) -> None:
    """A saga that waits for a person turns back."""
    adopt(saga)
    turn_back(saga)
    _publish_soon(saga)


def compensated_by_hand(saga: Saga, record: StepRecord, amount_minor: int, evidence: str) -> None:
    """A person says that the step was compensated outside of the shop, and names the amount in minor units. The saga goes on behind it."""
    _resume(saga)
    if amount_minor > ledger.remaining(saga.order_id, record.name) and record.receipt is None:
        ledger.enter(saga.order_id, record.name, LedgerEntry.Operation.CAPTURED, record.do_key, amount_minor)
    key = f"{record.compensation_key or record.do_key}:by_hand:{saga.epoch}"
    ledger.enter(saga.order_id, record.name, LedgerEntry.Operation.REFUNDED, key, amount_minor, by_hand=True)
    move(saga, record, StepState.COMPENSATED_BY_HAND, evidence=evidence, claim=None, outcome_at=ShopNow())
    schedule_next_compensation(saga)
    _publish_soon(saga)


def close(saga: Saga, amount_minor: int) -> None:
    """→ closed_by_operator. What remains captured (``amount_minor``, in minor units) is written off. The order shows how it ended.

    Stock that is still held has left with a parcel that could not be called back. Without such a parcel it is released.
    """
    adopt(saga)
    saga.epoch += 1
    parcel_left = any(record.state == StepState.COMPENSATION_FAILED and is_pivot(saga, record) for record in saga.records.all())
    (stock.consume if parcel_left else stock.release_all)(saga.order.number)
    ledger.enter(
        saga.order_id, "", LedgerEntry.Operation.WRITTEN_OFF, f"{saga.order.number}:written_off:{saga.epoch}", amount_minor, by_hand=True
    )
    append_entry(saga, EntryKind.SAGA, from_state=saga.state, to_state=SagaState.CLOSED_BY_OPERATOR)
    save(saga, state=SagaState.CLOSED_BY_OPERATOR, epoch=saga.epoch, wake_at=None, closed_at=ShopNow(), relaunches=0)
    set_order_status(saga, Status(saga.failure), finished_at=ShopNow())


def _resume(saga: Saga) -> None:
    """The saga gets a new epoch and a new deadline, and keeps its direction."""
    adopt(saga)
    if saga.held_by:
        release(saga, None, "a person has decided")
    saga.epoch += 1
    state = SagaState.COMPENSATING if saga.is_backward else SagaState.RUNNING
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
    if border(saga) is not None:
        save(saga, wake_at=ShopNow(), launched_at=None)
