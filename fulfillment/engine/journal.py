"""The journal's rows: what a launch, a claim and a settle are, how a saga is locked, and the only functions that write.

Every transition takes the saga's row lock first, so that no two of them can deadlock.
"""

import itertools
import math
import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import models

from fulfillment import circuit
from fulfillment.card import Card
from fulfillment.clock import lease_s
from fulfillment.errors import UnknownStep
from fulfillment.gateways import card_of, chosen, exists
from fulfillment.models import FINAL, Saga, SagaState, StepRecord, StepState
from fulfillment.release import RELEASE
from fulfillment.step import Kind as StepKind
from fulfillment.step import Receipt, Step, Undo
from fulfillment.steps import known
from orders.attention import IncidentKind, open_incident
from orders.models import Order, Status
from orders.timeline import Kind, TimelineEntry

GRANTED = (StepState.GRANTED, StepState.UNDO_GRANTED)
STARTED = (StepState.STARTED, StepState.UNDO_STARTED)
WAITING = (StepState.RETRY_WAIT, StepState.IN_DOUBT, StepState.UNDO_RETRY_WAIT, StepState.UNDO_IN_DOUBT)
DONE = (StepState.SUCCEEDED, StepState.DONE_BY_HAND, StepState.SKIPPED)
UNDONE = (StepState.UNDONE, StepState.UNDONE_BY_HAND, StepState.NOT_NEEDED)
WALKED = (*UNDONE, StepState.UNDO_FAILED)


@dataclass(frozen=True, kw_only=True)
class Launch:
    """A chain to publish: the tasks named after ``steps``, forward or ``undo``, under ``epoch``. Publishing it twice, late or never changes nothing but time.

    ``again``: how often this epoch was published before.
    """

    saga: int
    epoch: int
    order: str
    undo: bool
    steps: tuple[str, ...]
    again: int = 0

    @property
    def run(self) -> str:
        """What a task id calls it: each publication has its own. An id that somebody has revoked is discarded by the workers, without a word, for ever."""
        return run_name(self.epoch, self.again)


def run_name(epoch: int, again: int) -> str:
    """e1; e1.r2: published a second time again under the same epoch."""
    return f"e{epoch}.r{again}" if again else f"e{epoch}"


@dataclass(frozen=True, kw_only=True)
class Claim:
    """The right to settle one try: what a start returns."""

    saga: int
    epoch: int
    order_id: int
    order: str
    name: str
    undo: bool
    claim: uuid.UUID | None
    key: str
    do_key: str
    tries: int
    receipt: Receipt | None
    undo_amount_minor: int | None
    undo_doubt: bool = False
    age_s: float = 0.0  # since the first grant under ``do_key``
    quiet_s: float | None = None  # since no earlier try can have sent anything; None: there was none
    undo_quiet_s: float | None = None  # the same of tries to undo it
    refused_keys: tuple[str, ...] = ()  # of earlier attempts, which were refused; the last one first
    refused_quiet_s: float | None = None  # since none of these can have sent anything; None: there was none
    started_at: datetime | None = None
    watched_s: float = math.inf  # for how long the process that started it has seen the database's clock go as it should
    role: str = ""
    gateway: str = ""
    version: int = 1
    troubled: bool = False  # when it started, something had failed at its circuit, or the circuit was open
    is_probe: bool = False

    @property
    def circuit(self) -> str:
        """The name of its circuit; empty: it talks to nobody."""
        return circuit.name_of(self.role, self.gateway, self.undo)

    def undo_of(self, order: Order) -> Undo:
        return Undo(key=self.key, do_key=self.do_key, receipt=self.receipt, amount_minor=self.undo_amount_minor, currency=order.currency)

    @property
    def surely_quiet_s(self) -> float | None:
        """As ``quiet_s``, as far as this process has itself seen it pass: the database's clock may have been set since."""
        return self._seen_to_pass(self.quiet_s)

    @property
    def surely_undo_quiet_s(self) -> float | None:
        return self._seen_to_pass(self.undo_quiet_s)

    @property
    def surely_refused_quiet_s(self) -> float | None:
        return self._seen_to_pass(self.refused_quiet_s)

    def _seen_to_pass(self, quiet_s: float | None) -> float | None:
        return None if quiet_s is None else min(quiet_s, self.watched_s - lease_s())

    @property
    def is_once(self) -> bool:
        """Whatever is sent under its key until its lease ends is one effect: the provider remembers the key for so long, or there is no provider.

        An undo's key is younger than the step's, from whose grant this counts.
        """
        card = self.card
        return card is None or (card.has_keys and self.age_s + lease_s() < card.key_window_s)

    @property
    def card(self) -> Card | None:
        """Of the provider that was pinned when the saga was opened; None for a step that talks to nobody."""
        return card_of(self.role, self.gateway) if self.role else None


@dataclass(frozen=True, kw_only=True)
class Settled:
    """What became of a settle. ``mine`` False: somebody else owns the step, nothing was written. ``turned``: it met a cancel; publish this undo chain."""

    mine: bool
    turned: Launch | None = None


def border(saga: Saga) -> tuple[StepRecord, bool] | None:
    """The record where a moving saga stands, and whether it is to be undone; None once it is closed, or waits for a person."""
    if saga.state not in (SagaState.RUNNING, SagaState.COMPENSATING):
        return None
    return standing(saga)


def is_newer(saga: Saga) -> bool:
    """Newer code has opened it, and may follow rules that this code does not know: a granted step may be run, and everything else is that code's to judge."""
    return saga.release > RELEASE


def standing(saga: Saga) -> tuple[StepRecord, bool] | None:
    """The record where a saga stands, also one that waits for a person: there, an undo that failed is where it stands."""
    records = list(saga.records.all())
    if saga.state in FINAL:
        return None
    if not saga.is_backward:
        return next(((record, False) for record in records if record.state not in DONE), None)
    walked = UNDONE if saga.state == SagaState.NEEDS_ATTENTION else WALKED
    return next(((record, True) for record in reversed(records) if record.state not in walked), None)


def launch_of(saga: Saga, again: int = 0) -> Launch | None:
    """What is left as one chain: only the steps that this code knows, because Celery drops a task of an unknown name without a word."""
    at = border(saga)
    if at is None or at[0].state not in GRANTED:
        return None
    undo = at[1]
    left = [record for record in saga.records.all() if record.state not in (*DONE, *WALKED)]
    names = [record.name for record in (reversed(left) if undo else left)]
    able = tuple(itertools.takewhile(lambda name: step_of(saga, name) is not None, names))
    return Launch(saga=saga.pk, epoch=saga.epoch, order=saga.order.number, undo=undo, steps=able, again=again) if able else None


# --- the pinned plan -----------------------------------------------------------------------------------------------------


def plan_entry(step: Step) -> dict[str, Any]:
    """What a saga keeps of a step as it was when the saga was opened."""
    return {
        "name": step.name,
        "version": step.version,
        "kind": step.kind.value,
        "local": step.local,
        "undo_blocks": step.undo_blocks,
        "role": step.role,
        "gateway": chosen(step.role) if step.role else "",
    }


def planned(saga: Saga, name: str) -> dict[str, Any]:
    """The plan's entry; what an older plan did not pin yet is as the step says today."""
    entry: dict[str, Any] = next((entry for entry in saga.plan if entry["name"] == name), {"name": name})
    step = known(name, entry.get("version", 1))
    return (plan_entry(step) if step else {}) | entry


def step_of(saga: Saga, name: str) -> Step | None:
    """The code that serves this step of the plan; None: there is none, or none for the provider that is pinned."""
    entry = planned(saga, name)
    if entry.get("role") and not exists(entry["role"], entry["gateway"]):
        return None
    return known(name, entry.get("version", 1))


def is_pivot(saga: Saga, record: StepRecord) -> bool:
    return bool(planned(saga, record.name).get("kind") == StepKind.PIVOT.value)


def is_local(saga: Saga, record: StepRecord) -> bool:
    return bool(planned(saga, record.name).get("local"))


def card(saga: Saga, record: StepRecord) -> Card | None:
    """The capability card of the provider that the plan pins; None for a step that talks to nobody, or to whom this code does not know."""
    entry = planned(saga, record.name)
    return card_of(entry["role"], entry["gateway"]) if entry.get("role") and exists(entry["role"], entry["gateway"]) else None


def pivot_succeeded(saga: Saga) -> bool:
    """From here the saga only goes forward."""
    return any(record.state in (StepState.SUCCEEDED, StepState.DONE_BY_HAND) and is_pivot(saga, record) for record in saga.records.all())


# --- rows --------------------------------------------------------------------------------------------------------------


def locked(saga_id: int) -> Saga:
    """The saga under its row lock, with its order and its records read after the lock was granted. Raises Saga.DoesNotExist."""
    return locking(Saga.objects.filter(pk=saga_id)).get()


def find_locked(saga_id: int) -> Saga | None:
    """As ``locked``; None: there is no such saga, and the message that names it is nobody's."""
    return locking(Saga.objects.filter(pk=saga_id)).first()


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


def tell_a_person(saga: Saga, kind: IncidentKind, record: StepRecord | None, code: str, message: str, amount_minor: int = 0) -> None:
    """An incident about the saga's order, at the step where it stands."""
    step = record.name if record else ""
    about: dict[str, Any] = {"subject": saga.order.number, "order_id": saga.order_id, "currency": saga.order.currency, "epoch": saga.epoch}
    open_incident(kind, **about, step=step, code=code, message=message, amount_minor=amount_minor)


def tell_order(saga: Saga, to: Status, **changes: Any) -> None:
    """Move the order's status, with its line of history; a move that the stored status does not allow changes nothing."""
    was = saga.order.status
    if saga.order.move(to, **changes):
        tell(saga, Kind.ORDER, from_state=was, to_state=to)
