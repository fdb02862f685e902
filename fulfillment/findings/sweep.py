"""Findings about the sweep: is it at work, and are there orders on which it cannot work?"""

from collections.abc import Iterator

from fulfillment import recovery
from orders.findings import OK, WARN, Finding, duration, runbook
from orders.findings.processes import loop
from orders.text import counted


def sweep() -> Iterator[Finding]:
    yield loop("sweep", recovery.sweep_age_s(), recovery.HEARTBEAT_EVERY.total_seconds())


def quarantine() -> Iterator[Finding]:
    """Orders on which no process can work."""
    count, age_s = recovery.held_since()
    if not count:
        yield Finding(level=OK, what="quarantine", found="every order can be worked on")
        return
    found = f"the sweep cannot work on {counted(count, 'order')}, the longest for {duration(age_s)}"
    if held := recovery.locked_count():
        found += f"; rows that {held} of them need{'s' if held == 1 else ''} are held by somebody: see locks"
    yield Finding(level=WARN, what="quarantine", found=found, to_do="python manage.py incidents", runbook=runbook("quarantined"))
