"""Public events: what has become true about a saga's order is recorded in the caller's transaction, and announced. Which event it is, says the step.

The hot path records the same events in its statements (``fulfillment/queries.sql``).
"""

from typing import Any

from fulfillment.engine.action import Action
from fulfillment.engine.pinned_plan import planned
from fulfillment.models import Saga
from fulfillment.step import Receipt, Step
from fulfillment.steps import known
from orders import facts
from orders.events import Event, OrderCancelled, OrderCreated, OrderFailed, OrderFulfilled, lines_of
from orders.models import Order, Status


def of_success(step: Step, order: Order, attempt: int, receipt: Receipt | None, *, by_hand: bool = False) -> Event | None:
    """None: nobody is told of this step's success. Without a receipt it has taken what it asks for."""
    if step.events.succeeded is None:
        return None
    asked = {"amount_minor": step.asks_minor(order)}
    return step.events.succeeded.of(asked | _known(order, receipt) | {"attempt": attempt, "by_hand": by_hand})


def step_succeeded(saga: Saga, step: Action, receipt: Receipt | None, *, by_hand: bool = False) -> None:
    if code := _code(saga, step):
        _record(saga.order, of_success(code, saga.order, step.attempt, receipt, by_hand=by_hand))


def step_failed(saga: Saga, step: Action, code: str) -> None:
    """The saga turns back because of this step."""
    if (of := _code(saga, step)) and of.events.failed:
        _record(saga.order, of.events.failed.of(_known(saga.order) | {"attempt": step.attempt, "code": code}))


def compensation_requested(saga: Saga, compensation: Action, amount_minor: int | None) -> None:
    if (of := _code(saga, compensation)) and of.events.compensation_requested:
        about = {"attempt": compensation.attempt, "amount_minor": amount_minor}
        _record(saga.order, of.events.compensation_requested.of(_known(saga.order) | about))


def step_compensated(
    saga: Saga, compensation: Action, receipt: Receipt | None, *, attempt: int | None = None, by_hand: bool = False
) -> None:
    """``attempt``: another one than the current. Where no money was given back of a step that takes some, there is nothing to tell."""
    of = _code(saga, compensation)
    if of is None or of.events.compensated is None:
        return
    if of.asks_minor(saga.order) is not None and not (receipt or {}).get("amount_minor"):
        return
    about = {"attempt": compensation.attempt if attempt is None else attempt, "by_hand": by_hand}
    _record(saga.order, of.events.compensated.of(_known(saga.order, receipt) | about))


def order_ended(saga: Saga) -> None:
    """The order shows its failure: nothing is left to compensate, or a person has closed it."""
    order = saga.order
    if saga.failure == Status.CANCELLED:
        _record(order, OrderCancelled(number=order.number))
    else:
        _record(order, OrderFailed(number=order.number, reason=saga.failure, code=order.failure_code))


def order_fulfilled(saga: Saga, tracking: str, fulfilled_on: str) -> None:
    _record(saga.order, fulfilled(saga.order, tracking, fulfilled_on))


def fulfilled(order: Order, tracking: str = "", fulfilled_on: str = "") -> OrderFulfilled:
    columns: dict[str, Any] = {"number": order.number, "currency": order.currency, "total_minor": order.total_minor}
    return OrderFulfilled(**columns, tracking=tracking, fulfilled_on=fulfilled_on, lines=lines_of(order.lines.all()))


def created(order: Order) -> OrderCreated:
    return OrderCreated(number=order.number, currency=order.currency, total_minor=order.total_minor, lines=lines_of(order.lines.all()))


def _code(saga: Saga, action: Action) -> Step | None:
    """None: this code does not have the step, so it cannot say what its events are."""
    return known(action.name, planned(saga, action.name).get("version", 1))


def _known(order: Order, receipt: Receipt | None = None) -> dict[str, Any]:
    """What fields of an event are taken from. A receipt that says nothing of a field does not hide what the order says."""
    said = {name: value for name, value in (receipt or {}).items() if value not in ("", None)}
    return {"currency": order.currency} | said | {"number": order.number}


def _record(order: Order, event: Event | None) -> None:
    if event is not None:
        facts.record(event, order.pk, order.correlation_id)
        facts.announce(event)
