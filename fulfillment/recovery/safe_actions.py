"""Safe actions: a cancel and "try now" need no version. Whatever a person has seen before, they can do no harm."""

import logging
from collections.abc import Callable
from typing import TypeVar

from django.db.models import Subquery

from fulfillment import engine
from fulfillment.engine import operator_actions
from fulfillment.engine.action import WAITING
from fulfillment.models import Quarantine, Saga
from fulfillment.recovery import quarantine
from fulfillment.recovery.requests import require_permission
from orders import refusals
from orders.database import is_our_trouble
from orders.models import Order
from orders.operators import Actor
from orders.timeline import EntryKind

log = logging.getLogger(__name__)

Said = TypeVar("Said")


def cancel(order_number: str, actor: str) -> str:
    """Record a cancel under the saga's row lock. It is honoured at the next border between steps. Raises Saga.DoesNotExist.

    Returns what ``engine.request_cancel`` says; or "unreadable": nothing was recorded, and a person must look.
    """
    try:
        return _cancel(order_number, actor)
    except Exception as error:
        if isinstance(error, Saga.DoesNotExist) or is_our_trouble(error):
            raise
        log.exception("%s cannot be cancelled", order_number)
        return "unreadable"


@engine.transition
def _cancel(order_number: str, actor: str) -> str:
    saga = engine.locking(Saga.objects.filter(order__number=order_number)).get()
    return engine.request_cancel(saga, actor)


def can_be_cancelled(saga: Saga) -> bool:
    """Whether ``cancel`` would change something now. False also where the saga's rows cannot be read."""
    return _of_readable(saga, engine.can_be_cancelled) or False


def cancel_outcome(saga: Saga) -> str | None:
    """What ``cancel`` would say now, without recording anything. None: the saga's rows cannot be read."""
    return _of_readable(saga, engine.cancel_outcome)


def _of_readable(saga: Saga, ask: Callable[[Saga], Said]) -> Said | None:
    try:
        return ask(saga)
    except Exception as error:
        if is_our_trouble(error):
            raise
        return None


def retry_now(order_number: str, actor: Actor) -> str:
    """A saga that waits for its next try, or in quarantine for its next inspection, is due now. Raises Saga.DoesNotExist; Refused: not for this actor.

    Returns "due"; "held": it waits before an open circuit, which decides; or "nothing_waits".
    """
    with refusals.recorded(actor, "retry_now", order_number):
        require_permission(actor, "retry_now")
    order_id = Subquery(Order.objects.filter(number=order_number).values("pk"))
    if waiting := Quarantine.objects.filter(order_id=order_id).first():
        quarantine.inspect_now(waiting)
        return "due"
    return _retry_now_of(order_number, actor)


@engine.transition
def _retry_now_of(order_number: str, actor: Actor) -> str:
    saga = engine.locking(Saga.objects.filter(order__number=order_number)).get()
    at = engine.current_action(saga)
    if at is None or (at.state not in WAITING and not saga.held_by):
        return "nothing_waits"
    if saga.held_by:
        return "held"
    operator_actions.due_now(saga)
    engine.append_entry(saga, EntryKind.OPERATOR, name=at.name, code="retry_now", actor=actor.name, detail={"user": actor.user})
    return "due"
