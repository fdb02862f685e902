"""One reconciliation: read what the providers list, judge every order at rest against it, tell what is off, and undo what landed late.

Note: no false alarms. The instant ``cutoff`` is taken first, then the listings are read, then orders are judged whose saga was closed by ``cutoff``: whatever
such an order did had been done before its listing was read. Between the two a provider gets the time after which its lists are complete, as its card says.
Reconciliations take turns, so that none judges what another one has just repaired; one that stood still meanwhile ends.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

from django.conf import settings
from django.db.models import Count, Max, Q, QuerySet

from config.invariants import forgotten, journal, money, parcels, whole
from config.invariants.facts import Facts, gather, starts
from config.invariants.finding import OF_AN_ORDER, Finding, Report, Rule
from config.invariants.incidents import is_gone, settle
from config.invariants.listings import Listings, Place, Watch, lag_s, providers, read
from config.invariants.repair import undo_late_landings
from fulfillment import engine
from fulfillment.clock import shop_now
from fulfillment.models import FINAL, Saga, SagaState
from fulfillment.release import RELEASE
from orders.attention import Incident
from orders.database import readable
from orders.turns import Turn, TurnLost

CHUNK = 500
MARGIN = timedelta(hours=1)  # between our clock and a provider's
LEASE_S = 60.0  # longer than a page of a listing, or an undo, may take
LOOK_EVERY_S = 1.0

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
    """Everything that is off, told as incidents. A provider that does not answer, and an order that cannot be read, keep nobody from judging the rest.

    Raises TurnLost: this process stood still, and another reconciliation has begun since.
    """
    turn = Turn("reconcile", RELEASE, LEASE_S)
    _await(turn, watch)
    try:
        return _reconciled(since_h, repair, _keeping(turn, watch))
    finally:
        turn.give_back()


def _await(turn: Turn, watch: Watch) -> None:
    """One reconciliation at a time; another one waits here, for as long as the first is at work."""
    while not turn.take():
        watch("waiting for another reconciliation", 0, None)
        time.sleep(LOOK_EVERY_S)


def _keeping(turn: Turn, watch: Watch) -> Watch:
    """Each sign of progress keeps the turn. Raises TurnLost: what was read is old by now."""

    def watching(what: str, done: int, total: int | None) -> None:
        if not turn.keep():
            raise TurnLost("Another reconciliation has begun since: this one stood still, and ends without judging the rest.")
        watch(what, done, total)

    return watching


def _reconciled(since_h: float | None, repair: bool, watch: Watch) -> Report:
    cutoff = shop_now()
    placed_from = cutoff - timedelta(hours=since_h) if since_h is not None else None
    scope = Scope(cutoff=cutoff, placed_from=placed_from, repair=repair)
    places = providers(scope.sagas)
    _wait_until_listed(scope, lag_s(places), watch)
    listings = read(places, scope.listed_from, watch)
    report = _counted(scope, listings)
    unjudged: dict[Place, int] = dict.fromkeys(listings.silent, 0)
    for findings in _orders(scope, listings, report, unjudged, watch):
        report.findings += findings
    report.findings += _shop(scope, listings, unjudged)
    return report


def _wait_until_listed(scope: Scope, lag_s: float, watch: Watch) -> None:
    """Until the lag has passed since the last order to be judged was closed; mostly it has."""
    last = scope.at_rest.aggregate(last=Max("closed_at"))["last"]
    left_s = lag_s - (scope.cutoff - last).total_seconds() if last else 0.0
    while left_s > 0:
        watch("waiting for complete lists", 0, None)
        time.sleep(min(left_s, LOOK_EVERY_S))
        left_s -= LOOK_EVERY_S


def _counted(scope: Scope, listings: Listings) -> Report:
    """Orders that are not judged, and why."""
    a_person_s = Q(state=SagaState.NEEDS_ATTENTION)
    counts = scope.sagas.aggregate(waiting=Count("pk", a_person_s), rest=Count("pk", ~a_person_s), at_rest=Count("pk", _is_at_rest(scope)))
    return Report(open=counts["rest"] - counts["at_rest"], waiting=counts["waiting"], entries=listings.entries)


def _is_at_rest(scope: Scope) -> Q:
    return Q(state__in=FINAL, closed_at__lte=scope.cutoff)


# --- orders at rest ------------------------------------------------------------------------------------------------------


@dataclass
class _Judged:
    """What a chunk of orders has come to."""

    facts: list[tuple[Facts, list[Finding]]]
    unreadable: list[Finding]

    @property
    def findings(self) -> list[Finding]:
        return [finding for _, findings in self.facts for finding in findings] + self.unreadable


def _orders(scope: Scope, listings: Listings, report: Report, unjudged: dict[Place, int], watch: Watch) -> Iterator[list[Finding]]:
    """The findings of each chunk, told and repaired before the next one is read."""
    total, told = scope.at_rest.count(), starts()
    for ids in _chunks(scope):
        watch("judging orders", report.judged + report.gone, total)
        broken: list[int] = []
        judged = readable(ids, partial(_judged, listings=listings, report=report, unjudged=unjudged, told=told), broken.append)
        chunk = _Judged(judged, [_unreadable(saga) for saga in broken])
        report.judged += len(chunk.facts)
        report.unreadable += len(chunk.unreadable)
        listings.forget(facts.order.number for facts, _ in chunk.facts)
        settle(chunk.findings, OF_AN_ORDER, [facts.saga.order_id for facts, _ in chunk.facts])
        for facts, findings in chunk.facts:
            if scope.repair and findings:
                watch("undoing what landed late", report.judged + report.gone, total)
                undo_late_landings(facts, findings)
        yield chunk.findings


def _judged(
    ids: Sequence[int], *, listings: Listings, report: Report, unjudged: dict[Place, int], told: Mapping[str, int]
) -> list[tuple[Facts, list[Finding]]]:
    sagas = list(Saga.objects.filter(pk__in=ids).select_related("order").prefetch_related("records").order_by("pk"))
    places = [(saga, _places(saga)) for saga in sagas]
    able = [saga for saga, needs in places if needs <= listings.providers]
    judged = [(facts, _judge(facts)) for facts in gather(able, listings, told)]
    for saga, needs in places:  # counted last: what cannot be read is tried again in halves
        silent = needs & unjudged.keys()
        for place in silent:
            unjudged[place] += saga.order.total_minor
        report.silent += bool(silent)
        report.gone += not silent and not needs <= listings.providers
    return judged


def _unreadable(saga_id: int) -> Finding:
    """By columns alone; of what cannot even be told by these, by its saga."""
    columns = ("order_id", "order__number", "order__currency", "order__total_minor")
    rows = readable([saga_id], lambda some: list(Saga.objects.filter(pk__in=some).values_list(*columns)))
    order_id, number, currency, total_minor = rows[0] if rows else (None, f"saga {saga_id}", settings.SHOP_CURRENCY, 0)
    found = "its rows cannot be read, so nobody can say whether it agrees"
    return Finding(subject=number, order_id=order_id, rule=Rule.UNREADABLE, found=found, amount_minor=total_minor, currency=currency)


def _chunks(scope: Scope) -> Iterator[list[int]]:
    last = 0
    while chunk := list(scope.at_rest.filter(pk__gt=last).order_by("pk").values_list("pk", flat=True)[:CHUNK]):
        yield chunk
        last = chunk[-1]


def _places(saga: Saga) -> set[Place]:
    """Every provider that the plan pins."""
    plans = (engine.planned(saga, record.name) for record in saga.records.all())
    return {(plan["role"], plan["gateway"]) for plan in plans if plan.get("role")}


def _judge(facts: Facts) -> list[Finding]:
    return [finding for rule in RULES for finding in rule(facts)]


# --- the shop as a whole -------------------------------------------------------------------------------------------------


def _shop(scope: Scope, listings: Listings, unjudged: Mapping[Place, int]) -> list[Finding]:
    """What was listed long ago is no part of a limited run: there an unknown order that is no longer found proves nothing. Nor does a silent provider's."""
    found = [finding for rule in whole.RULES for finding in _of_the_shop(rule)]
    lost = forgotten.look(listings)
    told = list(forgotten.findings(lost))
    settle(told, ())  # nothing but ``manage.py recover`` resolves it
    listings.forget(lost.orders)
    silent = [_not_listed(place, why, unjudged[place]) for place, why in listings.silent.items()]
    settle(silent, ())
    is_gone(Incident.objects.filter(code=Rule.NOT_LISTED, subject__in=[_named(place) for place in listings.providers]))
    unknown = list(whole.unknown_order(listings))  # without what is told as one
    settle(unknown, () if scope.placed_from or silent else (Rule.UNKNOWN_ORDER,))
    return found + told + silent + unknown


def _of_the_shop(rule: Rule) -> list[Finding]:
    """One rule that breaks keeps nobody from judging by the others."""
    broken: list[Rule] = []
    found = readable([rule], lambda _: list(whole.RULES[rule]()), broken.append)
    told = "it could not be judged: its rows cannot be read"
    found += [Finding(subject=rule, rule=Rule.UNREADABLE, found=told, currency=settings.SHOP_CURRENCY) for rule in broken]
    settle(found, () if broken else (rule,))
    if not broken:
        is_gone(Incident.objects.filter(code=Rule.UNREADABLE, subject=rule))
    return found


def _named(place: Place) -> str:
    return " ".join(place)[:80]


def _not_listed(place: Place, why: str, unjudged_minor: int) -> Finding:
    told = f"the {place[0]} provider does not list what it holds, so its orders were not judged: {why}"
    return Finding(subject=_named(place), rule=Rule.NOT_LISTED, found=told, amount_minor=unjudged_minor, currency=settings.SHOP_CURRENCY)
