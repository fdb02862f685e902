"""One run of a reconciliation: read what the providers list, judge every order at rest against it, open incidents, and compensate what landed late.

Note: no false alarms. First the instant ``cutoff`` is taken, then the listings are read. Only orders whose saga was closed by ``cutoff`` are judged: whatever such
an order did had been done before its listing was read. Between the two the run waits until the providers' lists are complete, as their capabilities say.
Only one reconciliation runs at a time, so that none judges what another one has just repaired. One that stood still, and lost its turn meanwhile, ends.
"""

import time
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta

from django.db import DatabaseError, InterfaceError
from django.db.models import Count, Max, Q

from fulfillment import recovery
from fulfillment.clock import shop_now
from fulfillment.code_release import RELEASE
from fulfillment.models import SagaState
from fulfillment.reconciliation import orders_at_rest, shop
from fulfillment.reconciliation.finding import Report
from fulfillment.reconciliation.incidents import FindingIncidents
from fulfillment.reconciliation.listings import Listings, Watch, lag_s, providers, read
from fulfillment.reconciliation.scope import Run, Scope
from fulfillment.reconciliation.side_effects_audit import SideEffectsAudit
from fulfillment.recovery.reconciliations import TURN
from orders.database import sqlstate
from orders.turns import Turn, TurnLost

LEASE_S = 60.0  # longer than a page of a listing, or a compensation, may take
POLL_EVERY_S = 1.0


def reconcile(since_h: float | None, repair: bool, watch: Watch, audit: SideEffectsAudit) -> Report:
    """Find everything that is off, and open an incident for it. ``since_h``: only orders of the last so many hours (None: all). ``repair``: compensate what landed
    late.

    A provider that does not answer, or an order that cannot be read, does not keep the rest from being judged. Raises TurnLost: this process stood still, and
    another reconciliation has begun since.
    """
    turn = Turn(TURN, RELEASE, LEASE_S)
    _await(turn, watch)
    try:
        return _recorded(lambda: _reconciled(since_h, repair, _keeping(turn, watch), audit))
    finally:
        turn.give_back()


def _await(turn: Turn, watch: Watch) -> None:
    """Wait until no other reconciliation is at work."""
    while not turn.take():
        watch("waiting for another reconciliation", 0, None)
        time.sleep(POLL_EVERY_S)


def _keeping(turn: Turn, watch: Watch) -> Watch:
    """Each sign of progress renews the turn. The returned function raises TurnLost: what was read is old by now."""

    def watching(what: str, done: int, total: int | None) -> None:
        if not turn.keep():
            raise TurnLost("Another reconciliation has begun since: this one stood still, and ends without judging the rest.")
        watch(what, done, total)

    return watching


def _recorded(run: Callable[[], Report]) -> Report:
    """Record the outcome of this reconciliation, whatever ended it: ``doctor`` and ``/status`` show it. If it has lost its turn, another one is at work."""
    recovery.reconciliation_begins()
    try:
        report = run()
    except TurnLost:
        raise
    except BaseException as error:
        with suppress(DatabaseError, InterfaceError):  # where the database is the trouble, whoever has started this process records it
            recovery.reconciliation_failed(f"{type(error).__name__} {sqlstate(error)}".strip())
        raise
    unexplained = {one.currency: one.unexplained for one in report.money if one.unexplained}
    recovery.reconciliation_ended(report.sentence, len(report.findings), unexplained, report.is_whole)
    return report


def _reconciled(since_h: float | None, repair: bool, watch: Watch, audit: SideEffectsAudit) -> Report:
    cutoff = shop_now()
    placed_from = cutoff - timedelta(hours=since_h) if since_h is not None else None
    scope = Scope(cutoff=cutoff, placed_from=placed_from, repair=repair)
    places = providers(scope.sagas)
    _wait_until_listed(scope, lag_s(places), watch)
    listings = read(places, scope.listed_from, watch)
    run = Run(
        scope=scope,
        at_rest=sorted(scope.at_rest.values_list("pk", flat=True)),
        listings=listings,
        report=_counted(scope, listings),
        incidents=FindingIncidents(is_whole=placed_from is None and not listings.silent),
        watch=watch,
        audit=audit,
        unjudged=dict.fromkeys(listings.silent, 0),
    )
    for findings in orders_at_rest.judge(run):
        run.report.findings += findings
    run.report.findings += shop.judge(run)
    run.report.findings += shop.explain_money(run)
    run.incidents.finish()
    return run.report


def _wait_until_listed(scope: Scope, lag_s: float, watch: Watch) -> None:
    """Wait until ``lag_s`` has passed since the last order to be judged was closed. Mostly it has."""
    last = scope.at_rest.aggregate(last=Max("closed_at"))["last"]
    left_s = lag_s - (scope.cutoff - last).total_seconds() if last else 0.0
    while left_s > 0:
        watch("waiting for complete lists", 0, None)
        time.sleep(min(left_s, POLL_EVERY_S))
        left_s -= POLL_EVERY_S


def _counted(scope: Scope, listings: Listings) -> Report:
    """A report that counts the orders that are not judged."""
    needs_person = Q(state=SagaState.NEEDS_ATTENTION)
    counts = scope.sagas.aggregate(
        waiting=Count("pk", needs_person), rest=Count("pk", ~needs_person), at_rest=Count("pk", scope.is_at_rest)
    )
    return Report(open=counts["rest"] - counts["at_rest"], waiting=counts["waiting"], entries=listings.entries)
