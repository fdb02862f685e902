"""The walk: which step or undo is granted next, when a saga turns back, and how it ends."""

from typing import Any

from fulfillment import stock
from fulfillment.clock import ShopNow, in_seconds, patience_s, shop_now
from fulfillment.engine.journal import border, move, save, tell, tell_order
from fulfillment.models import Saga, SagaState, StepRecord, StepState
from fulfillment.steps import BY_NAME
from orders.events import Line, OrderFulfilled, order_fulfilled
from orders.models import Status
from orders.timeline import Kind


def perhaps_called(record: StepRecord) -> bool:
    """Ever granted, and neither succeeded nor finally rejected: its effect may exist, whatever the state says. Local steps commit with their rows."""
    unsettled = (StepState.GRANTED, StepState.STARTED, StepState.RETRY_WAIT, StepState.IN_DOUBT)
    local = record.name in BY_NAME and BY_NAME[record.name].local
    return record.state in unsettled and not local


def grant_next(saga: Saga) -> None:
    at = border(saga)
    if at is None:
        _complete(saga)
        return
    move(saga, at[0], StepState.GRANTED, granted_at=ShopNow())
    save(saga, relaunches=0, wake_at=in_seconds(patience_s(0)))


def _complete(saga: Saga) -> None:
    """Everything succeeded: the order is fulfilled, the stock has left, and the fact is sent, all in this transaction."""
    order = saga.order
    stock.consume(order.number)
    tell(saga, Kind.SAGA, from_state=saga.state, to_state=SagaState.COMPLETED)
    save(saga, state=SagaState.COMPLETED, wake_at=None, closed_at=ShopNow(), relaunches=0)
    tell_order(saga, Status.FULFILLED, finished_at=ShopNow())
    order_fulfilled.send(Saga, payload=_fulfilled(saga), order=order)


def _fulfilled(saga: Saga) -> OrderFulfilled:
    order = saga.order
    receipts: dict[str, Any] = {}
    for record in saga.records.all():
        receipts |= record.receipt or {}
    lines = tuple(
        Line(sku=line.sku, name=line.name, quantity=line.quantity, unit_price_minor=line.unit_price_minor) for line in order.lines.all()
    )
    return OrderFulfilled(
        number=order.number,
        email=order.customer_email,
        name=order.customer_name,
        currency=order.currency,
        total_minor=order.total_minor,
        tracking=receipts.get("tracking", ""),
        fulfilled_on=shop_now().date().isoformat(),
        lines=lines,
    )


def turn_back(saga: Saga) -> None:
    """running → compensating under a new epoch: whatever succeeded or was perhaps called will be undone, in reverse order."""
    at = border(saga)
    failed_step = at[0].name if at else ""
    failure = Status.CANCELLED if saga.cancel_requested_at else Status.failure_of(failed_step)
    for record in saga.records.all():
        if record.state == StepState.SUCCEEDED:
            move(saga, record, StepState.UNDO_PENDING)
        elif perhaps_called(record):
            move(saga, record, StepState.UNDO_PENDING, doubt=True, claim=None)
        else:
            move(saga, record, StepState.NOT_NEEDED, claim=None)
    saga.epoch += 1
    tell(saga, Kind.SAGA, from_state=saga.state, to_state=SagaState.COMPENSATING, code=failure)
    save(saga, state=SagaState.COMPENSATING, epoch=saga.epoch, failure=failure)
    grant_next_undo(saga)


def grant_next_undo(saga: Saga) -> None:
    """Grant the next undo, its key and amount fixed together from what was stored at success; or the walk is over."""
    at = border(saga)
    if at is None:
        tell(saga, Kind.SAGA, from_state=saga.state, to_state=SagaState.COMPENSATED)
        save(saga, state=SagaState.COMPENSATED, wake_at=None, closed_at=ShopNow(), relaunches=0)
        tell_order(saga, Status(saga.failure), finished_at=ShopNow())
        return
    record = at[0]
    tell_order(saga, Status.COMPENSATING)
    move(
        saga,
        record,
        StepState.UNDO_GRANTED,
        undo_key=f"{saga.order.number}:{record.name}:undo:1",
        undo_amount_minor=(record.receipt or {}).get("amount_minor"),
        undo_granted_at=ShopNow(),
    )
    save(saga, relaunches=0, wake_at=in_seconds(patience_s(0)))
