"""Pruning of the core (docs/retention.md): the history of orders at rest, that of circuits, and bulk retries that are over.

The journal itself stays: a provider may list a charge at any time, and only the keys of the step records say whose it is.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import pgtrigger
from django.db import transaction
from django.db.models import Case, Count, Exists, Min, Model, OuterRef, Q, QuerySet, Subquery, Sum, Value, When

from fulfillment.clock import ShopNow
from fulfillment.ledger import SIGNED, LedgerEntry
from fulfillment.models import (
    FINAL,
    Circuit,
    CircuitEntry,
    KeyIssuer,
    PastAttempt,
    Quarantine,
    Reconciliation,
    Reservation,
    RetryBatch,
    RetryItem,
    Saga,
    StepRecord,
    StockLevel,
    StockMovement,
    SweepHeartbeat,
)
from fulfillment.reconciliation.finding import Rule
from fulfillment.reconciliation.incidents import TOGETHER
from orders.durability import may_be_lost
from orders.incidents import Incident, IncidentKind, unresolved
from orders.models import Status
from orders.pruning import Batch, Found, Kind, Rows
from orders.timeline import EntryKind, HistoryRow

GUARD = "orders.HistoryRow:append_only"
BY_PEOPLE = (EntryKind.OPERATOR, EntryKind.CANCEL)  # entries that stay: who has decided something, and why
MONEY = "money of it is neither given back nor written off"

_LEFT = LedgerEntry.objects.filter(order_id=OuterRef("order_id")).order_by().values("order_id").annotate(left=Sum(SIGNED)).values("left")
# Why the history of an order is needed whatever its age. Asked of its saga; the first answer counts.
NEEDED: Mapping[str, Any] = {
    "it has not ended": ~Q(state__in=FINAL) | ~Q(order__status__in=Status.groups()["ended"]),
    "no process can work on it": Exists(Quarantine.objects.filter(Q(saga_id=OuterRef("pk")) | Q(order_id=OuterRef("order_id")))),
    "stock is held for it": Exists(Reservation.objects.filter(order_number=OuterRef("order__number"), state=Reservation.State.HELD)),
    MONEY: Q(left__gt=0) & ~Q(order__status=Status.FULFILLED),
}


class History:
    """What has happened to orders that are at rest. A batch is so many orders: of each of them either the whole history goes, or nothing.

    ``needed``: what else needs the history of an order (``NEEDED`` of the other packages).
    """

    name, unit, setting = "history", "orders", "KEEP_HISTORY_D"
    tables: tuple[type[Model], ...] = (HistoryRow,)

    def __init__(self, needed: Mapping[str, Any]) -> None:
        whens = [When(why, then=Value(sentence)) for sentence, why in {**NEEDED, **needed}.items()]
        self._why = Case(*whens, default=Value(""))

    def find(self, before: datetime) -> Found:
        rows = self._judged(_closed(before)).order_by().values_list("why").annotate(Count("pk"), Min("closed_at"))
        by_why: dict[str, tuple[int, datetime]] = {why: (orders, oldest) for why, orders, oldest in rows}
        count, oldest = by_why.pop("", (0, None))
        kept = {why: orders for why, (orders, _) in by_why.items()}
        if count and (doubt := in_doubt()):
            return Found(count=0, oldest=None, kept=kept | {doubt: count})
        return Found(count=count, oldest=oldest, kept=kept)

    def remove(self, before: datetime, after: Any, size: int) -> Batch:
        with pgtrigger.ignore(GUARD), transaction.atomic():  # outside: it asks the database at its end, which a failed transaction refuses
            may_be_lost()
            oldest = _behind(_closed(before), after).order_by("closed_at", "pk")
            page = list(oldest.select_for_update(of=("self",), skip_locked=True, no_key=True).values_list("closed_at", "pk")[:size])
            gone = self._not_needed([pk for _, pk in page])
            HistoryRow.objects.filter(order_id__in=gone.values()).exclude(kind__in=BY_PEOPLE).delete()
            Saga.objects.filter(pk__in=gone).update(history_pruned_at=ShopNow())
        return Batch(removed=len(gone), after=page[-1] if len(page) == size else None)

    def _not_needed(self, sagas: list[int]) -> dict[int, int]:
        """Saga → order, of those whose history nobody needs."""
        return {} if in_doubt() else dict(self._judged(Saga.objects.filter(pk__in=sagas)).filter(why="").values_list("pk", "order_id"))

    def _judged(self, sagas: QuerySet[Saga]) -> QuerySet[Any]:
        """With ``why`` its history is needed. Empty: it is not."""
        return sagas.annotate(left=Subquery(_LEFT)).annotate(why=self._why)


def _closed(before: datetime) -> QuerySet[Saga]:
    return Saga.objects.filter(closed_at__lt=before, history_pruned_at=None)


def _behind(sagas: QuerySet[Saga], after: tuple[datetime, int] | None) -> QuerySet[Saga]:
    if after is None:
        return sagas
    closed_at, pk = after
    return sagas.filter(Q(closed_at__gt=closed_at) | Q(pk__gt=pk), closed_at__gte=closed_at)


def in_doubt() -> str:
    """Which open incident is about orders that it does not name: any history may be needed. Empty: there is none."""
    unnamed = Q(kind=IncidentKind.FORGOTTEN_ORDERS) | Q(code=Rule.UNEXPLAINED) | Q(subject__startswith=TOGETHER)
    incident: Incident | None = unresolved().filter(unnamed).order_by("pk").first()
    return f"an incident is open about orders that it does not name ({incident.kind}, {incident.subject})" if incident else ""


def _is_over(batch: str, before: datetime) -> Q:
    """A bulk retry whose orders were all decided, or that nobody has confirmed."""
    return Q(**{f"{batch}ended_at__lt": before}) | Q(**{f"{batch}confirmed_at": None, f"{batch}previewed_at__lt": before})


KINDS: tuple[Kind, ...] = (
    Rows(
        name="circuit-entries",
        setting="KEEP_CIRCUIT_ENTRIES_D",
        rows=CircuitEntry.objects.order_by(),
        born="at",
        guards=("fulfillment.CircuitEntry:circuit_append_only",),
    ),
    Rows(
        name="retry-items",
        setting="KEEP_RETRY_BATCHES_D",
        rows=RetryItem.objects.order_by(),
        born="batch__previewed_at",
        over=lambda before: _is_over("batch__", before),
    ),
    Rows(
        name="retry-batches",
        setting="KEEP_RETRY_BATCHES_D",
        rows=RetryBatch.objects.order_by(),
        born="previewed_at",
        over=lambda before: _is_over("", before) & Q(~Exists(RetryItem.objects.filter(batch=OuterRef("pk")))),
    ),
)

KEPT: tuple[type[Model], ...] = (
    Saga,
    StepRecord,
    PastAttempt,
    LedgerEntry,
    Reservation,
    StockLevel,
    StockMovement,
    KeyIssuer,
    Circuit,
    Quarantine,
    SweepHeartbeat,
    Reconciliation,
)
