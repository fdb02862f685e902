"""Findings: what ``manage.py doctor`` and ``/status`` say about one thing, in one line.

Each finding stands with the owner of what it is about: the database, its sessions and the processes here, the core's in ``fulfillment.findings``, deliveries in
``sideeffects.findings``, broker and workers in ``config.worker.findings``. ``config.doctor`` puts them in order.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from orders.incidents import RUNBOOKS

OK, WARN, FAIL = "ok", "warn", "FAIL"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """``level``: ok, warn (somebody should look) or FAIL (the shop does not work as it should). ``to_do`` and ``runbook`` for what is not ok."""

    level: str
    what: str
    found: str
    to_do: str = ""
    runbook: str = ""


def worst(findings: Iterable[Finding]) -> str:
    """The level of all of them together."""
    levels = {finding.level for finding in findings}
    return next((level for level in (FAIL, WARN) if level in levels), OK)


def runbook(name: str) -> str:
    return f"{RUNBOOKS}/{name}.md"


def first_line(error: Exception) -> str:
    """Of what the error says; its kind where it says nothing."""
    return (str(error).splitlines() or [type(error).__name__])[0]


def duration(seconds: float) -> str:
    """4.2 s, 9 min, 3 h, 12 d."""
    for unit, length in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.1f} s"


def rounded(seconds: float | None) -> float | None:
    """To a tenth of a second."""
    return None if seconds is None else round(seconds, 1)
