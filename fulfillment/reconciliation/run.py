"""One reconciliation: read what the providers list, judge every order at rest against it, tell what is off, and undo what landed late.

Note: no false alarms. The instant ``cutoff`` is taken first, then the listings are read, then orders are judged whose saga was closed by ``cutoff``: whatever
such an order did had been done before its listing was read. Between the two a provider gets the time after which its lists are complete, as its card says.
Reconciliations take turns, so that none judges what another one has just repaired; one that stood still meanwhile ends.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial

from django.conf import settings
from django.db import DatabaseError, InterfaceError
from django.db.models import Count, Max, Q, QuerySet

from fulfillment import engine, recovery
from fulfillment.clock import shop_now
from fulfillment.models import FINAL, Saga, SagaState
from fulfillment.reconciliation import forgotten, journal, money, parcels, whole
from fulfillment.reconciliation.explaining import Listed, explain, unexplained
from fulfillment.reconciliation.facts import Facts, gather, starts
from fulfillment.reconciliation.finding import Finding, Report, Rule
from fulfillment.reconciliation.incidents import Telling, is_gone
from fulfillment.reconciliation.listings import Listings, Place, Watch, lag_s, providers, read
from fulfillment.reconciliation.repair import undo_late_landings
from fulfillment.recovery.reconciliations import TURN
from fulfillment.release import RELEASE
from orders.attention import Incident
from orders.database import readable, sqlstate
from orders.turns import Turn, TurnLost

CHUNK = 500
MARGIN = timedelta(hours=1)  # between our clock and a provider's
LEASE_S = 60.0  # longer than a page of a listing, or an undo, may take
LOOK_EVERY_S = 1.0

RULES: tuple[Callable[[Facts], Iterator[Finding]], ...] = (
    money.charges_nobody_owns,
    money.money_adds_up,
    money.nothing_given_back_twice,
    parcels.labels_nobody_owns,
    parcels.one_label_or_none,
    journal.status_agrees_with_saga,
    journal.every_undo_is_settled,
    journal.fact_told_once,
    journal.reservations_settled,
    journal.history_rebuilds_the_journal,
)
OF_THE_SHOP = (*whole.RULES, Rule.UNKNOWN_ORDER, Rule.FORGOTTEN_ORDERS, Rule.UNEXPLAINED, Rule.NOT_LISTED)
OF_AN_ORDER = tuple(rule for rule in Rule if rule not in OF_THE_SHOP)


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
    def is_at_rest(self) -> Q:
        return Q(state__in=FINAL, closed_at__lte=self.cutoff)

    @property
    def at_rest(self) -> QuerySet[Saga]:
        return self.sagas.filter(self.is_at_rest)


def reconcile(since_h: float | None, repair: bool, watch: Watch) -> Report:
    """Everything that is off, told as incidents. A provider that does not answer, and an order that cannot be read, keep nobody from judging the rest.

    Raises TurnLost: this process stood still, and another reconciliation has begun since.
    """
    turn = Turn(TURN, RELEASE, LEASE_S)
    _await(turn, watch)
    try:
        return _told_how_it_ended(lambda: _reconciled(since_h, repair, _keeping(turn, watch)))
    finally:
        turn.give_back()


def _told_how_it_ended(run: Callable[[], Report]) -> Report:
    """Whoever asks doctor hears of it, whatever ended it. One that has lost its turn says nothing: another one is at work."""
    recovery.reconciliation_begins()
    try:
        report = run()
    except TurnLost:
        raise
    except BaseException as error:
        with suppress(DatabaseError, InterfaceError):  # where the database is the trouble, whoever has started this process tells
            recovery.reconciliation_failed(f"{type(error).__name__} {sqlstate(error)}".strip())
        raise
    unexplained = {one.currency: one.unexplained for one in report.money if one.unexplained}
    recovery.reconciliation_ended(report.sentence, len(report.findings), unexplained, report.is_whole)
    return report


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


@dataclass(kw_only=True)
class _Run:
    """What one reconciliation knows as it goes on. ``at_rest``: the sagas to be judged. ``unjudged``: minor units of orders that a silent provider keeps from it."""

    scope: Scope
    at_rest: list[int]
    listings: Listings
    report: Report
    telling: Telling
    watch: Watch
    listed: Listed = field(default_factory=Listed)
    unjudged: dict[Place, int] = field(default_factory=dict)


def _reconciled(since_h: float | None, repair: bool, watch: Watch) -> Report:
    cutoff = shop_now()
    placed_from = cutoff - timedelta(hours=since_h) if since_h is not None else None
    scope = Scope(cutoff=cutoff, placed_from=placed_from, repair=repair)
    places = providers(scope.sagas)
    _wait_until_listed(scope, lag_s(places), watch)
    listings = read(places, scope.listed_from, watch)
    run = _Run(
        scope=scope,
        at_rest=sorted(scope.at_rest.values_list("pk", flat=True)),
        listings=listings,
        report=_counted(scope, listings),
        telling=Telling(is_whole=placed_from is None and not listings.silent),
        watch=watch,
        unjudged=dict.fromkeys(listings.silent, 0),
    )
    for findings in _orders(run):
        run.report.findings += findings
    run.report.findings += _shop(run)
    run.report.findings += _money(run)
    run.telling.finish()
    return run.report


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
    counts = scope.sagas.aggregate(waiting=Count("pk", a_person_s), rest=Count("pk", ~a_person_s), at_rest=Count("pk", scope.is_at_rest))
    return Report(open=counts["rest"] - counts["at_rest"], waiting=counts["waiting"], entries=listings.entries)


# --- orders at rest ------------------------------------------------------------------------------------------------------


@dataclass
class _Judged:
    """What a chunk of orders has come to."""

    facts: list[tuple[Facts, list[Finding]]]
    unreadable: list[Finding]

    @property
    def findings(self) -> list[Finding]:
        return [finding for _, findings in self.facts for finding in findings] + self.unreadable


def _orders(run: _Run) -> Iterator[list[Finding]]:
    """The findings of each chunk, told and repaired before the next one is read."""
    total, told, report = len(run.at_rest), starts(), run.report
    for start in range(0, total, CHUNK):
        run.watch("judging orders", start, total)
        broken: list[int] = []
        judged = readable(run.at_rest[start : start + CHUNK], partial(_judged, run=run, told=told), broken.append)
        chunk = _Judged(judged, [_unreadable(saga) for saga in broken])
        report.judged += len(chunk.facts)
        report.unreadable += len(chunk.unreadable)
        run.listings.forget(facts.order.number for facts, _ in chunk.facts)
        run.telling.settle(chunk.findings, OF_AN_ORDER, [facts.saga.order_id for facts, _ in chunk.facts])
        for facts, findings in chunk.facts:
            if run.scope.repair and findings:
                run.watch("undoing what landed late", start, total)
                undo_late_landings(facts, findings)
            run.listed.judged(facts, findings)
        yield chunk.findings


def _judged(ids: Sequence[int], *, run: _Run, told: Mapping[str, int]) -> list[tuple[Facts, list[Finding]]]:
    sagas = list(Saga.objects.filter(pk__in=ids).select_related("order").prefetch_related("records").order_by("pk"))
    places = [(saga, _places(saga)) for saga in sagas]
    able = [saga for saga, needs in places if needs <= run.listings.providers]
    judged = [(facts, _judge(facts)) for facts in gather(able, run.listings, told)]
    for saga, needs in places:  # counted last: what cannot be read is tried again in halves
        silent = needs & run.unjudged.keys()
        for place in silent:
            run.unjudged[place] += saga.order.total_minor
        run.report.silent += bool(silent)
        run.report.gone += not silent and not needs <= run.listings.providers
    return judged


def _unreadable(saga_id: int) -> Finding:
    """By columns alone; of what cannot even be told by these, by its saga."""
    columns = ("order_id", "order__number", "order__currency", "order__total_minor")
    rows = readable([saga_id], lambda some: list(Saga.objects.filter(pk__in=some).values_list(*columns)))
    order_id, number, currency, total_minor = rows[0] if rows else (None, f"saga {saga_id}", settings.SHOP_CURRENCY, 0)
    found = "its rows cannot be read, so nobody can say whether it agrees"
    return Finding(subject=number, order_id=order_id, rule=Rule.UNREADABLE, found=found, amount_minor=total_minor, currency=currency)


def _places(saga: Saga) -> set[Place]:
    """Every provider that the plan pins."""
    plans = (engine.planned(saga, record.name) for record in saga.records.all())
    return {(plan["role"], plan["gateway"]) for plan in plans if plan.get("role")}


def _judge(facts: Facts) -> list[Finding]:
    return [finding for rule in RULES for finding in rule(facts)]


# --- the shop as a whole -------------------------------------------------------------------------------------------------


def _shop(run: _Run) -> list[Finding]:
    """What was listed long ago is no part of a limited run: there an unknown order that is no longer found proves nothing. Nor does a silent provider's."""
    found = [finding for rule in whole.RULES for finding in _of_the_shop(rule, run)]
    lost = forgotten.look(run.listings)
    told = list(forgotten.findings(lost))
    run.telling.settle(told, ())  # nothing but ``manage.py recover`` resolves it
    run.listings.forget(lost.orders)
    silent = [_not_listed(place, why, run.unjudged[place]) for place, why in run.listings.silent.items()]
    run.telling.settle(silent, ())
    is_gone(Incident.objects.filter(code=Rule.NOT_LISTED, subject__in=[_named(place) for place in run.listings.providers]))
    unknown = list(whole.unknown_order(run.listings))  # without what is told as one
    run.telling.settle(unknown, () if run.scope.placed_from or silent else (Rule.UNKNOWN_ORDER,))
    return found + told + silent + unknown


def _of_the_shop(rule: Rule, run: _Run) -> list[Finding]:
    """One rule that breaks keeps nobody from judging by the others."""
    run.watch("judging the shop", len(run.at_rest), len(run.at_rest))
    broken: list[Rule] = []
    found = readable([rule], lambda _: list(whole.RULES[rule](run.scope.placed_from)), broken.append)
    told = "it could not be judged: its rows cannot be read"
    found += [Finding(subject=rule, rule=Rule.UNREADABLE, found=told, currency=settings.SHOP_CURRENCY) for rule in broken]
    run.telling.settle(found, () if broken else (rule,))
    if not broken:
        is_gone(Incident.objects.filter(code=Rule.UNREADABLE, subject=rule))
    return found


def _money(run: _Run) -> list[Finding]:
    """Where it is: after everything was told, because an incident of this very run explains what is at risk. A limited run has not looked at all of it."""
    run.watch("explaining the money", len(run.at_rest), len(run.at_rest))
    run.listed.others(run.listings)
    told = {finding.subject for finding in run.report.findings if not finding.repaired}
    is_complete = not any(role == money.ROLE for role, _ in run.listings.silent)
    run.report.money = explain(run.listed, told, run.scope.cutoff, run.scope.placed_from, is_complete)
    found = list(unexplained(run.report.money))
    run.telling.settle(found, () if run.scope.placed_from else (Rule.UNEXPLAINED,))
    return found


def _named(place: Place) -> str:
    return " ".join(place)[:80]


def _not_listed(place: Place, why: str, unjudged_minor: int) -> Finding:
    told = f"the {place[0]} provider does not list what it holds, so its orders were not judged: {why}"
    return Finding(subject=_named(place), rule=Rule.NOT_LISTED, found=told, amount_minor=unjudged_minor, currency=settings.SHOP_CURRENCY)
