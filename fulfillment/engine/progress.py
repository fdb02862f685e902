"""Progress: a step is scheduled only when every step before it is done. After the last one the order is fulfilled, and the fact is recorded with it."""

from typing import Any

from fulfillment import stock
from fulfillment.clock import ShopNow, in_seconds, patience_s, shop_now
from fulfillment.engine.escalation import park
from fulfillment.engine.journal import append_entry, move, save, set_order_status
from fulfillment.engine.pinned_plan import is_newer
from fulfillment.engine.position import border
from fulfillment.engine.rolling_deploys import leave_what_follows, may_end
from fulfillment.models import Saga, SagaState, StepState
from orders import facts
from orders.events import Line, OrderFulfilled, order_fulfilled
from orders.incidents import IncidentKind
from orders.models import Status
from orders.timeline import EntryKind


def schedule_next(saga: Saga) -> None:
    """Schedule the next step; or every step is done, and the saga is completed. What only newer code may do is left to it."""
    at = border(saga)
    if at is None and not may_end(saga, Status.FULFILLED):
        leave_what_follows(saga)
        return
    if at is None and (lost := _lost_steps(saga)):
        park(saga, IncidentKind.STUCK, None, "record_lost", f"its journal has lost the record of {', '.join(lost)}")
        return
    if at is None:
        _complete(saga)
        return
    if is_newer(saga) and at[0].state != StepState.PENDING:
        leave_what_follows(saga)
        return
    move(saga, at[0], StepState.SCHEDULED, scheduled_at=ShopNow())
    await_start(saga)


def await_start(saga: Saga) -> None:
    """A step or a compensation was scheduled just now, and its message goes out on commit."""
    save(saga, relaunches=0, wake_at=in_seconds(patience_s(0)), launched_at=ShopNow(), left_since=None, paused_s=0.0)


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
    fact = _fulfilled(saga)
    facts.record(fact, order.pk, order.correlation_id)
    order_fulfilled.send(Saga, fact=fact)


def _fulfilled(saga: Saga) -> OrderFulfilled:
    order = saga.order
    receipts: dict[str, Any] = {}
    for record in saga.records.all():
        receipts |= record.receipt or {}
    lines = tuple(Line(sku=line.sku, quantity=line.quantity, unit_price_minor=line.unit_price_minor) for line in order.lines.all())
    return OrderFulfilled(
        number=order.number,
        currency=order.currency,
        total_minor=order.total_minor,
        tracking=receipts.get("tracking", ""),
        fulfilled_on=shop_now().date().isoformat(),
        lines=lines,
    )
