"""The finding about the last reconciliation: its age, and how it ended. Incidents report what it has found; only this finding reports that none runs."""

from collections.abc import Iterator

from django.conf import settings

from fulfillment import recovery
from fulfillment.models import Reconciliation
from orders.findings import FAIL, OK, WARN, Finding, duration, runbook

MAY_TAKE_S = 600.0  # also where it is due every few seconds


def reconciliation() -> Iterator[Finding]:
    last, age_s, every_s = recovery.last_reconciliation(), recovery.not_compared_for_s(), settings.RECONCILE_EVERY_S
    ended = (
        f"one came to its end {duration(age_s)} ago" if last and last.compared_at and age_s is not None else "none has come to its end yet"
    )
    found = f"{ended} (one is due every {duration(every_s)})"
    if last is None:
        yield _finding(OK if age_s is None or age_s <= _too_old_s() else FAIL, found)
    elif age_s is not None and age_s > _too_old_s():
        yield _finding(FAIL, f"{found}; of the last: {last.summary or last.get_outcome_display().lower()}")
    elif last.outcome == Reconciliation.Outcome.FAILED:
        yield _finding(WARN if last.compared_at else FAIL, f"the last one did not come to its end: {last.summary}; {found}")
    elif last.unexplained:
        yield _finding(WARN, f"{found}; {recovery.amounts(last.unexplained)} nobody can explain; {last.summary}")
    elif last.outcome == Reconciliation.Outcome.IN_PART:
        yield _finding(WARN, f"{found}; not everything could be compared: {last.summary}")
    else:
        at_work = "; one is at work" if last.outcome == Reconciliation.Outcome.AT_WORK else ""
        yield _finding(OK, f"{found}{at_work}{f': {last.summary}' if last.summary else ''}")


def _finding(level: str, found: str) -> Finding:
    if level == OK:
        return Finding(level=OK, what="reconciliation", found=found)
    to_do = "python manage.py reconcile --since 48"
    return Finding(level=level, what="reconciliation", found=found, to_do=to_do, runbook=runbook("mismatch"))


def _too_old_s() -> float:
    """One was left out, and the next one is late too."""
    return float(2 * settings.RECONCILE_EVERY_S + MAY_TAKE_S)
