"""Findings become incidents: one for each, or one for many of one cause; what a later run no longer finds is resolved.

Note: together. A provider that lists nothing, or a fault in our own code, is found once for each order. Nobody reads fifty thousand incidents, and they would bury
those about something else. So the findings of one cause (rule, step and currency) get an incident each only up to ``SINGLE_LIMIT`` of them. Beyond, one incident has
their number and the sum that is at risk, and those about a single one are resolved. A run over a part of the orders only adds to such an incident.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

from django.db import transaction
from django.db.models import QuerySet

from fulfillment.reconciliation.finding import Finding, Rule
from orders.incidents import Incident, open_incident, resolve, unresolved

ACTOR = "reconcile"
GONE = "a later reconciliation no longer found it"
SINGLE_LIMIT = 50  # findings of one cause in one run
SHOWN = 3  # orders that are named
TOGETHER = "many at once"  # how the subject of an incident about many begins


class Cause(NamedTuple):
    rule: Rule
    step: str
    currency: str

    @property
    def subject(self) -> str:
        """Of the incident about many. One currency each: their sum is one amount."""
        return f"{TOGETHER}, {self.currency}"


class FindingIncidents:
    """The incidents of one run. ``is_whole``: it has judged every order."""

    def __init__(self, is_whole: bool) -> None:
        self._is_whole = is_whole
        self._found: dict[Cause, list[Finding]] = defaultdict(list)
        self._piles = {_cause_of(incident) for incident in _piles()}  # that have one incident for many, by an earlier run or this one
        self._mine: set[Cause] = set()  # by this one

    def record(self, findings: Iterable[Finding], rules: Collection[Rule], judged: Collection[int] | None = None) -> None:
        """In one transaction: what was found gets an incident; what has one under ``rules`` (of the orders ``judged``, if given) and not found now is resolved."""
        by_cause: dict[Cause, list[Finding]] = defaultdict(list)
        for finding in findings:
            by_cause[Cause(finding.rule, finding.step, finding.currency)].append(finding)
        with transaction.atomic():
            for cause, found in by_cause.items():
                self._found[cause] += found
                self._record(cause, found)
            _resolve_others(_single(rules, judged), {finding.fingerprint for found in by_cause.values() for finding in found})

    def finish(self) -> None:
        """At the end, when everything was found and repaired: incidents about many have the right numbers, and what has become few gets an incident each."""
        for cause in self._piles:
            with transaction.atomic():
                self._finish(cause, [finding for finding in self._found[cause] if not finding.repaired])

    def _record(self, cause: Cause, found: Sequence[Finding]) -> None:
        if cause in self._piles:
            if len(self._found[cause]) > SINGLE_LIMIT:
                _fold(cause, found)
        elif len(self._found[cause]) > SINGLE_LIMIT:
            self._piles.add(cause)
            self._mine.add(cause)
            _open_grouped(cause, self._found[cause])
            _fold(cause, self._found[cause])
        else:
            for finding in found:
                _open_single(finding)

    def _finish(self, cause: Cause, left: Sequence[Finding]) -> None:
        grouped = _piles().filter(code=cause.rule, step=cause.step, currency=cause.currency)
        knows_all = self._is_whole or cause in self._mine
        if len(left) > SINGLE_LIMIT:
            if knows_all or not grouped.filter(count__gte=len(left)).exists():
                _open_grouped(cause, left)
            _fold(cause, left)
        elif knows_all:
            for finding in left:
                _open_single(finding)
            resolve(grouped, "gone", GONE, ACTOR)


@transaction.atomic
def is_gone(incidents: QuerySet[Incident]) -> None:
    """What they are about is found no longer."""
    resolve(incidents, "gone", GONE, ACTOR)


def _piles() -> QuerySet[Incident]:
    return unresolved(subject__startswith=TOGETHER, code__in=list(Rule))


def _cause_of(incident: Incident) -> Cause:
    return Cause(Rule(incident.code), incident.step, incident.currency)


def _single(rules: Collection[Rule], judged: Collection[int] | None) -> QuerySet[Incident]:
    incidents = unresolved(code__in=rules, kind__in={rule.kind for rule in rules}).exclude(subject__startswith=TOGETHER)
    return incidents if judged is None else incidents.filter(order_id__in=judged)


def _open_single(finding: Finding) -> None:
    open_incident(
        finding.kind,
        subject=finding.subject,
        order_id=finding.order_id,
        step=finding.step,
        code=finding.rule,
        message=finding.found,
        currency=finding.currency,
        amount_minor=finding.amount_minor,
    )


def _open_grouped(cause: Cause, found: Sequence[Finding]) -> None:
    like = ", ".join(finding.subject for finding in found[:SHOWN])
    open_incident(
        cause.rule.kind,
        subject=cause.subject,
        step=cause.step,
        code=cause.rule,
        message=f"{len(found)} of one cause, like {like}: {found[0].found}",
        currency=cause.currency,
        amount_minor=sum(finding.amount_minor for finding in found),
        count=len(found),
    )


def _fold(cause: Cause, found: Iterable[Finding]) -> None:
    """What an incident about many covers has no other one."""
    alone = _single([cause.rule], None).filter(step=cause.step, subject__in=[finding.subject for finding in found])
    resolve(alone, "grouped", f"it is one of many of one cause: see the incident “{cause.subject}”", ACTOR)


def _resolve_others(incidents: QuerySet[Incident], found: set[tuple[str, str, str, str]]) -> None:
    for incident in incidents:
        if (incident.subject, incident.kind, incident.step, incident.code) not in found:
            resolve(Incident.objects.filter(pk=incident.pk), "gone", GONE, ACTOR)
