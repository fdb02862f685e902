"""Findings become incidents, each told once; one that a later run no longer finds is resolved."""

from collections.abc import Collection

from django.db import transaction
from django.db.models import QuerySet

from config.invariants.finding import Finding, Rule
from orders.attention import Incident, IncidentState, open_incident, resolve

ACTOR = "reconcile"
GONE = "a later reconciliation no longer found it"


def settle(findings: Collection[Finding], rules: Collection[Rule], judged: Collection[int] | None = None) -> None:
    """In one transaction: what was found is told; what was told under ``rules`` (of the orders ``judged``, if given) and not found now is resolved."""
    incidents = Incident.objects.exclude(state=IncidentState.RESOLVED).filter(code__in=rules, kind__in={rule.kind for rule in rules})
    if judged is not None:
        incidents = incidents.filter(order_id__in=judged)
    with transaction.atomic():
        for finding in findings:
            _tell(finding)
        _resolve_others(incidents, {finding.fingerprint for finding in findings})


@transaction.atomic
def is_gone(incidents: QuerySet[Incident]) -> None:
    """What they told is found no longer."""
    resolve(incidents, "gone", GONE, ACTOR)


def _tell(finding: Finding) -> None:
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


def _resolve_others(incidents: QuerySet[Incident], found: set[tuple[str, str, str, str]]) -> None:
    for incident in incidents:
        if (incident.subject, incident.kind, incident.step, incident.code) not in found:
            resolve(Incident.objects.filter(pk=incident.pk), "gone", GONE, ACTOR)
