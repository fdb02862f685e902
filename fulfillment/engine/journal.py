"""The journal's rows: what a launch, a claim and a settle are, how a saga is locked, and the only three functions that write.

Every transition takes the saga's row lock first, so that no two of them can deadlock.
"""

import itertools
import uuid
from dataclasses import dataclass
from typing import Any

from django.db import models

from fulfillment.errors import UnknownStep
from fulfillment.models import Saga, SagaState, StepRecord, StepState
from fulfillment.step import Kind as StepKind
from fulfillment.step import Receipt, Undo
from fulfillment.steps import BY_NAME
from orders.models import Order, Status
from orders.timeline import Kind, TimelineEntry

GRANTED = (StepState.GRANTED, StepState.UNDO_GRANTED)
STARTED = (StepState.STARTED, StepState.UNDO_STARTED)
WAITING = (StepState.RETRY_WAIT, StepState.IN_DOUBT, StepState.UNDO_RETRY_WAIT, StepState.UNDO_IN_DOUBT)
WALKED = (StepState.UNDONE, StepState.NOT_NEEDED)


@dataclass(frozen=True, kw_only=True)
class Launch:
    """A chain to publish: the tasks named after ``steps``, forward or ``undo``, under ``epoch``. Publishing it twice, late or never changes nothing but time."""

    saga: int
    epoch: int
    order: str
    undo: bool
    steps: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Claim:
    """The right to settle one try: what a start returns."""

    saga: int
    epoch: int
    order_id: int
    name: str
    undo: bool
    claim: uuid.UUID | None
    key: str
    do_key: str
    tries: int
    receipt: Receipt | None
    undo_amount_minor: int | None

    def undo_of(self, order: Order) -> Undo:
        return Undo(key=self.key, do_key=self.do_key, receipt=self.receipt, amount_minor=self.undo_amount_minor, currency=order.currency)


@dataclass(frozen=True, kw_only=True)
class Settled:
    """What became of a settle. ``mine`` False: somebody else owns the step, nothing was written. ``turned``: it met a cancel; publish this undo chain."""

    mine: bool
    turned: Launch | None = None


def border(saga: Saga) -> tuple[StepRecord, bool] | None:
    """The record where the saga stands, and whether it is to be undone; None once it is closed."""
    records = list(saga.records.all())
    if saga.state == SagaState.RUNNING:
        return next(((record, False) for record in records if record.state != StepState.SUCCEEDED), None)
    if saga.state == SagaState.COMPENSATING:
        return next(((record, True) for record in reversed(records) if record.state not in WALKED), None)
    return None


def launch_of(saga: Saga) -> Launch | None:
    """What is left as one chain: only the steps that this code knows, because Celery drops a task of an unknown name without a word."""
    at = border(saga)
    if at is None or at[0].state not in GRANTED:
        return None
    undo = at[1]
    left = [record for record in saga.records.all() if record.state not in (StepState.SUCCEEDED, *WALKED)]
    names = [record.name for record in (reversed(left) if undo else left)]
    known = tuple(itertools.takewhile(BY_NAME.__contains__, names))
    return Launch(saga=saga.pk, epoch=saga.epoch, order=saga.order.number, undo=undo, steps=known) if known else None


def is_pivot(record: StepRecord) -> bool:
    return record.name in BY_NAME and BY_NAME[record.name].kind is StepKind.PIVOT


# --- rows --------------------------------------------------------------------------------------------------------------


def locked(saga_id: int) -> Saga:
    """The saga under its row lock, with its order and its records read after the lock was granted. Raises Saga.DoesNotExist."""
    return locking(Saga.objects.filter(pk=saga_id)).get()


def locking(sagas: models.QuerySet[Saga], skip_locked: bool = False) -> models.QuerySet[Saga]:
    return sagas.select_for_update(of=("self",), skip_locked=skip_locked).select_related("order").prefetch_related("records")


def record_of(saga: Saga, name: str) -> StepRecord:
    """Raises UnknownStep: the journal of this saga has no such step."""
    for record in saga.records.all():
        if record.name == name:
            return record
    raise UnknownStep(f"Saga {saga.pk} has no step named {name!r}", code="unknown_step")


def move(saga: Saga, record: StepRecord, to: StepState, *, detail: dict[str, Any] | None = None, **changes: Any) -> None:
    """Write a record's state and its line of history, and keep the objects in memory true."""
    code = changes.get("error_code", "")
    tell(saga, Kind.STEP, name=record.name, from_state=record.state, to_state=to, code=code, detail=detail or {})
    StepRecord.objects.filter(pk=record.pk).update(state=to, **changes)
    for field, value in {"state": to, **changes}.items():
        setattr(record, field, value)


def save(saga: Saga, **changes: Any) -> None:
    Saga.objects.filter(pk=saga.pk).update(**changes)
    for field, value in changes.items():
        setattr(saga, field, value)


def tell(saga: Saga, kind: Kind, **columns: Any) -> None:
    TimelineEntry.objects.create(order_id=saga.order_id, kind=kind, epoch=saga.epoch, **columns)


def tell_order(saga: Saga, to: Status, **changes: Any) -> None:
    """Move the order's status, with its line of history; a move that the stored status does not allow changes nothing."""
    was = saga.order.status
    if saga.order.move(to, **changes):
        tell(saga, Kind.ORDER, from_state=was, to_state=to)
