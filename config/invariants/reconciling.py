"""One reconciliation: read what the providers list, judge every order at rest against it, tell what is off, and undo what landed late.

Note: no false alarms. The instant ``cutoff`` is taken first, then the listings are read, then orders are judged whose saga was closed by ``cutoff``: whatever
such an order did had been done before its listing was read. Between the two a provider gets the time after which its lists are complete, as its card says.
Reconciliations take turns, so that none judges what another one has just repaired.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import connection
from django.db.models import Count, Max, Q, QuerySet

from config.invariants import journal, money, parcels, whole
from config.invariants.facts import Facts, gather, starts
from config.invariants.finding import OF_AN_ORDER, OF_THE_SHOP, Finding, Report, Rule
from config.invariants.incidents import settle
from config.invariants.listings import Listings, Watch, lag_s, providers, read
from config.invariants.repair import undo_late_landings
from fulfillment import engine
from fulfillment.clock import shop_now
from fulfillment.models import FINAL, Saga, SagaState

CHUNK = 500
MARGIN = timedelta(hours=1)  # between our clock and a provider's
TURN = 0x5A6B

RULES: tuple[Callable[[Facts], Iterator[Finding]], ...] = (
    money.charges_nobody_owns,
    money.money_adds_up,
    parcels.labels_nobody_owns,
    parcels.one_label_or_none,
    journal.status_agrees_with_saga,
    journal.every_undo_is_settled,
    journal.fact_told_once,
    journal.reservations_settled,
    journal.history_rebuilds_the_journal,
)


@dataclass(frozen=True, kw_only=True)
class Scope:
    """Orders placed at or after ``placed_from`` (None: all), closed by ``cutoff``. ``repair``: undo what landed late."""

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
    def at_rest(self) -> QuerySet[Saga]:
        return self.sagas.filter(state__in=FINAL, closed_at__lte=self.cutoff)


def reconcile(since_h: float | None, repair: bool, watch: Watch) -> Report:
    """Everything that is off, told as incidents. Raises NotListed: a provider did not answer, and nothing was judged or told."""
    with _turn():
        cutoff = shop_now()
        placed_from = cutoff - timedelta(hours=since_h) if since_h is not None else None
        scope = Scope(cutoff=cutoff, placed_from=placed_from, repair=repair)
        places = providers()
        _wait_until_listed(scope, lag_s(places), watch)
        listings = read(places, scope.listed_from, watch)
        report = _counted(scope, listings)
        for findings in _orders(scope, listings, report, watch):
            report.findings += findings
        report.findings += _shop(scope, listings)
    return report


@contextmanager
def _turn() -> Iterator[None]:
    """One reconciliation at a time; another one waits here."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(%s)", [TURN])
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_unlock(%s)", [TURN])


def _wait_until_listed(scope: Scope, lag_s: float, watch: Watch) -> None:
    """Until the lag has passed since the last order to be judged was closed; mostly it has."""
    last = scope.at_rest.aggregate(last=Max("closed_at"))["last"]
    left_s = lag_s - (scope.cutoff - last).total_seconds() if last else 0.0
    if left_s > 0:
        watch("waiting for complete lists", 0, None)
        time.sleep(left_s)


def _counted(scope: Scope, listings: Listings) -> Report:
    """Orders that are not judged, and why."""
    a_person_s = Q(state=SagaState.NEEDS_ATTENTION)
    counts = scope.sagas.aggregate(waiting=Count("pk", a_person_s), rest=Count("pk", ~a_person_s), at_rest=Count("pk", _is_at_rest(scope)))
    return Report(open=counts["rest"] - counts["at_rest"], waiting=counts["waiting"], entries=listings.entries)


def _is_at_rest(scope: Scope) -> Q:
    return Q(state__in=FINAL, closed_at__lte=scope.cutoff)


# --- orders at rest ------------------------------------------------------------------------------------------------------


def _orders(scope: Scope, listings: Listings, report: Report, watch: Watch) -> Iterator[list[Finding]]:
    """The findings of each chunk, told and repaired before the next one is read."""
    total, told = scope.at_rest.count(), starts()
    for sagas in _chunks(scope):
        able = [saga for saga in sagas if _is_listed(saga, listings)]
        report.gone += len(sagas) - len(able)
        report.judged += len(able)
        judged = [(facts, _judge(facts)) for facts in gather(able, listings, told)]
        found = [finding for _, findings in judged for finding in findings]
        settle(found, OF_AN_ORDER, [saga.order_id for saga in able])
        for facts, findings in judged:
            if scope.repair and findings:
                undo_late_landings(facts, findings)
        watch("judging orders", report.judged + report.gone, total)
        yield found


def _chunks(scope: Scope) -> Iterator[list[Saga]]:
    last = 0
    while chunk := list(scope.at_rest.filter(pk__gt=last).select_related("order").prefetch_related("records").order_by("pk")[:CHUNK]):
        yield chunk
        last = chunk[-1].pk


def _is_listed(saga: Saga, listings: Listings) -> bool:
    """Every provider that the plan pins still exists and was read."""
    plans = (engine.planned(saga, record.name) for record in saga.records.all())
    return all((plan["role"], plan["gateway"]) in listings.providers for plan in plans if plan.get("role"))


def _judge(facts: Facts) -> list[Finding]:
    return [finding for rule in RULES for finding in rule(facts)]


# --- the shop as a whole -------------------------------------------------------------------------------------------------


def _shop(scope: Scope, listings: Listings) -> list[Finding]:
    """What was listed long ago is no part of a limited run: there an unknown order that is no longer found proves nothing."""
    found = [finding for rule in whole.RULES for finding in rule()]
    settle(found, OF_THE_SHOP)
    unknown = list(whole.unknown_order(listings))
    settle(unknown, () if scope.placed_from else (Rule.UNKNOWN_ORDER,))
    return found + unknown
