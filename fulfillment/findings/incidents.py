"""Findings about incidents: what waits for a person, and whether the shop takes orders at all."""

from collections.abc import Iterator

from fulfillment import recovery
from orders.findings import FAIL, OK, WARN, Finding
from orders.incidents import IncidentKind, unresolved


def incidents() -> Iterator[Finding]:
    yield from forgotten()
    groups = recovery.groups()
    if not groups:
        yield Finding(level=OK, what="incidents", found="nothing waits for a person")
        return
    at_risk = recovery.amounts(*(group.at_risk for group in groups))
    found = f"{recovery.awake().count()} open, {at_risk or 'no money'} at risk"
    yield Finding(level=WARN, what="incidents", found=found, to_do="python manage.py incidents", runbook=groups[0].runbook)


def forgotten() -> Iterator[Finding]:
    """Orders that providers know and this database does not. Says nothing while there are none: mostly there are none."""
    incident = unresolved(kind=IncidentKind.FORGOTTEN_ORDERS).first()
    if incident is not None:
        found = f"no orders are taken: {incident.message}. This database has lost its last commits, or another took over that lacked them"
        to_do = "stop web, workers, sweep and relay; python manage.py recover --restored"
        yield Finding(level=FAIL, what="recovery", found=found, to_do=to_do, runbook=incident.runbook)
