"""The journal's rows: how a saga is locked, and the functions by which transitions write a saga, a step's record, or a line of history.

Every transition takes the saga's row lock first. So no two transitions can deadlock.

Note: saga isolation. The row lock, and the fencing token that is compared under it, prevent the lost update of a journal. Where a dirty read or a fuzzy read can
happen, and what prevents it: docs/semantics.md#isolation-between-sagas-anomalies-and-countermeasures.
"""

from typing import Any

from django.db import models

from fulfillment.engine.action import Action, ActionState
from fulfillment.errors import LONGEST_MESSAGE, UnknownStep
from fulfillment.models import Saga, StepRecord
from orders.models import Order, Status
from orders.text import sanitized
from orders.timeline import EntryKind, HistoryRow


def locked(saga_id: int) -> Saga:
    """The saga under its row lock. Its order and its records are read after the lock was taken. Raises Saga.DoesNotExist."""
    return locking(Saga.objects.filter(pk=saga_id)).get()


def find_locked(saga_id: int) -> Saga | None:
    """As ``locked``. None: there is no such saga, and the message that names it belongs to nobody."""
    return locking(Saga.objects.filter(pk=saga_id)).first()


def locking(sagas: models.QuerySet[Saga], skip_locked: bool = False) -> models.QuerySet[Saga]:
    return sagas.select_for_update(of=("self",), skip_locked=skip_locked).select_related("order").prefetch_related("records")


def find_action(saga: Saga, name: str, is_compensation: bool) -> Action:
    """Raises UnknownStep: the journal of this saga has no such step."""
    for record in saga.records.all():
        if record.name == name:
            return Action(record, is_compensation)
    raise UnknownStep(f"Saga {saga.pk} has no step named {name!r}", code="unknown_step")


def move(saga: Saga, action: Action, to: ActionState, *, detail: dict[str, Any] | None = None, **changes: Any) -> None:
    """Write an action's state and its line of history. The objects in memory follow."""
    code, state = changes.get("error_code", ""), action.named(to)
    append_entry(saga, EntryKind.STEP, name=action.name, from_state=action.record.state, to_state=state, code=code, detail=detail or {})
    change(action, state=state, **changes)


def because(code: str, message: str) -> dict[str, Any]:
    """Columns of an action: why it is in the state that ``move`` writes. The history says the same."""
    return {"error_code": code, "error_message": sanitized(message, LONGEST_MESSAGE), "detail": {"message": message}}


def change(action: Action, **changes: Any) -> None:
    """Write columns of an action whose state stays. The objects in memory follow."""
    columns = action.columns(changes)
    StepRecord.objects.filter(pk=action.record.pk).update(**columns)
    for column, value in columns.items():
        setattr(action.record, column, value)


def save(saga: Saga, **changes: Any) -> None:
    """Write columns of a saga. The object in memory follows."""
    Saga.objects.filter(pk=saga.pk).update(**changes)
    for field, value in changes.items():
        setattr(saga, field, value)


def append_entry(saga: Saga, kind: EntryKind, **columns: Any) -> None:
    """Write one line of history about the saga's order."""
    HistoryRow.objects.create(order_id=saga.order_id, kind=kind, epoch=saga.epoch, **columns)


def set_order_status(saga: Saga, to: Status, **changes: Any) -> None:
    """Move the order's status, with its line of history. A move that the stored status does not allow changes nothing."""
    was = saga.order.status
    if saga.order.move(to, **changes):
        append_entry(saga, EntryKind.ORDER, from_state=was, to_state=to)


def keep_failure_code(saga: Saga, code: str) -> None:
    """Why the order turns back, where its client looks for it. The step's record does not say it any more once its compensation has errors of its own."""
    if code:
        Order.objects.filter(pk=saga.order_id).update(failure_code=code)
        saga.order.failure_code = code
