"""Which orders one reconciliation judges, and what it knows about them so far."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.db.models import Q, QuerySet

from fulfillment.models import FINAL, Saga
from fulfillment.reconciliation.explained_money import Listed
from fulfillment.reconciliation.finding import Report
from fulfillment.reconciliation.incidents import FindingIncidents
from fulfillment.reconciliation.listings import Listings, Place, Watch
from fulfillment.reconciliation.side_effects_audit import SideEffectsAudit

MARGIN = timedelta(hours=1)  # between our clock and a provider's


@dataclass(frozen=True, kw_only=True)
class Scope:
    """Orders placed at or after ``placed_from`` (None: all), closed by ``cutoff``. ``repair``: compensate what landed late."""

    cutoff: datetime
    placed_from: datetime | None = None
    repair: bool = True

    @property
    def listed_from(self) -> datetime | None:
        """Earlier than any order, so that none on the edge is judged without its entries."""
        return self.placed_from - MARGIN if self.placed_from else None

    @property
    def sagas(self) -> QuerySet[Saga]:
        return Saga.objects.filter(order__placed_at__gte=self.placed_from) if self.placed_from else Saga.objects.all()

    @property
    def is_at_rest(self) -> Q:
        return Q(state__in=FINAL, closed_at__lte=self.cutoff)

    @property
    def at_rest(self) -> QuerySet[Saga]:
        return self.sagas.filter(self.is_at_rest)


@dataclass(kw_only=True)
class Run:
    """What one reconciliation knows so far. ``at_rest``: the sagas that are to be judged.

    ``unjudged``: by silent provider, the minor units of the orders that cannot be judged because of it.
    """

    scope: Scope
    at_rest: list[int]
    listings: Listings
    report: Report
    incidents: FindingIncidents
    watch: Watch
    audit: SideEffectsAudit
    listed: Listed = field(default_factory=Listed)
    unjudged: dict[Place, int] = field(default_factory=dict)
