"""Pruning: which rows go once they are old enough, and which stay for ever. Each package decides about its own tables; ``manage.py prune`` does it.

The whole table stands in docs/retention.md. What proves where money went, or makes a second order impossible, stays for ever. A new table must be named here, in
``fulfillment.pruning`` or in ``sideeffects.pruning``: a test asks.
"""

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Protocol

import pgtrigger
from django.conf import settings
from django.db import transaction
from django.db.models import Exists, Min, Model, OuterRef, Q, QuerySet
from django.db.models.expressions import Combinable

from orders.clock import shop_now
from orders.durability import may_be_lost
from orders.incidents import Incident, IncidentKind, IncidentState, unresolved
from orders.models import (
    ClientSettings,
    ClientToken,
    Fact,
    OperatorToken,
    Order,
    OrderLine,
    ProcessRow,
    Product,
    QueueProbe,
    RefusedAttempt,
    TurnRow,
)


@dataclass(frozen=True, kw_only=True)
class Found:
    """``count``: how many would go, the ``oldest`` of them at that instant. ``kept``: of those that are as old, why → how many stay."""

    count: int
    oldest: datetime | None
    kept: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Batch:
    """``removed``: how many have gone. ``after``: where the next batch begins; None: nothing as old is left behind."""

    removed: int
    after: Any


class Kind(Protocol):
    """What is kept for as many days as the setting ``setting`` says (0: for ever), and then goes. ``unit``: what is counted. ``tables``: whose rows go."""

    @property
    def name(self) -> str: ...
    @property
    def unit(self) -> str: ...
    @property
    def setting(self) -> str: ...
    @property
    def tables(self) -> tuple[type[Model], ...]: ...

    def find(self, before: datetime) -> Found:
        """What would go of all that is older than ``before``. It writes nothing."""

    def remove(self, before: datetime, after: Any, size: int) -> Batch:
        """Remove what is among the next ``size``, in a short transaction of its own. What somebody else holds is passed over. ``after``: None for the first."""


@dataclass(frozen=True, kw_only=True)
class Rows:
    """Rows of one table that depend on nothing else. ``over``: which of them may go, if they were over before an instant; unless given, those born before it.

    Their primary keys grow with ``born``. So they are read by their primary keys, a page at a time, and no other index is needed. ``guards``: triggers that refuse
    this to everybody else.
    """

    name: str
    setting: str
    rows: QuerySet[Any]
    born: str
    over: Callable[[datetime], Q] | None = None
    guards: tuple[str, ...] = ()
    unit: str = "rows"

    @property
    def tables(self) -> tuple[type[Model], ...]:
        return (self.rows.model,)

    def find(self, before: datetime) -> Found:
        gone = self._over(before)
        return Found(count=gone.count(), oldest=gone.aggregate(oldest=Min(self.born))["oldest"])

    def remove(self, before: datetime, after: Any, size: int) -> Batch:
        """A page without any old row is behind all of them, unless the clock was ahead for longer than it takes to fill a page."""
        guards = pgtrigger.ignore(*self.guards) if self.guards else nullcontext()  # without a name it would lift all of them
        with guards, transaction.atomic():
            may_be_lost()
            page = list(self.rows.filter(pk__gt=after or 0).order_by("pk").values_list("pk", self.born)[:size])
            old = [pk for pk, born in page if born < before]
            over = self._over(before).filter(pk__in=old).order_by("pk").select_for_update(of=("self",), skip_locked=True)
            gone = list(over.values_list("pk", flat=True))
            self.rows.filter(pk__in=gone).delete()
        return Batch(removed=len(gone), after=page[-1][0] if old and len(page) == size else None)

    def _over(self, before: datetime) -> QuerySet[Any]:
        return self.rows.filter(self.over(before) if self.over else Q((f"{self.born}__lt", before)))


def before(setting: str) -> datetime | None:
    """What ended before this instant is old enough to go. None: it is kept for ever."""
    days: int = getattr(settings, setting)
    return shop_now() - timedelta(days=days) if days else None


OF_THE_MACHINERY = (IncidentKind.PROVIDER_DOWN, IncidentKind.CRASH_LOOP, IncidentKind.QUEUE_UNSERVED, IncidentKind.DEAD_LETTER)

KINDS: tuple[Kind, ...] = (
    Rows(
        name="incidents",
        setting="KEEP_INCIDENTS_D",
        rows=Incident.objects.filter(order=None, amount_minor=0, kind__in=OF_THE_MACHINERY, state=IncidentState.RESOLVED).order_by(),
        born="opened_at",
        over=lambda before: Q(resolved_at__lt=before),
    ),
    Rows(
        name="refused-attempts",
        setting="KEEP_REFUSED_ATTEMPTS_D",
        rows=RefusedAttempt.objects.order_by(),
        born="at",
        guards=("orders.RefusedAttempt:refused_append_only",),
    ),
)

KEPT: tuple[type[Model], ...] = (
    Order,
    OrderLine,
    Fact,
    Product,
    ClientSettings,
    ClientToken,
    OperatorToken,
    QueueProbe,
    TurnRow,
    ProcessRow,
)

# Why the history of an order is needed whatever its age. Asked of its saga.
NEEDED: Mapping[str, Combinable | Exists | Q] = {
    "an incident of it is open": Exists(unresolved(order=OuterRef("order_id"))) | Exists(unresolved(subject=OuterRef("order__number"))),
    "a side effect of it was not begun": Exists(Fact.objects.filter(order=OuterRef("order_id"), relayed_at=None)),
}
