"""Reconciliations: one row says what became of the last one. Whoever runs one writes it; the sweep writes it for one that has died silently."""

from collections.abc import Mapping

from django.db import transaction

from fulfillment.clock import ShopNow, shop_now
from fulfillment.models import Reconciliation, SweepHeartbeat
from orders.durability import may_be_lost
from orders.turns import holder_of

TURN = "reconcile"
Outcome = Reconciliation.Outcome


def reconciliation_begins() -> None:
    """A reconciliation that has the turn begins."""
    begun = {"began_at": ShopNow(), "ended_at": None, "outcome": Outcome.AT_WORK, "summary": ""}
    with transaction.atomic():
        may_be_lost()
        Reconciliation.objects.bulk_create(
            [Reconciliation(pk=1, **begun)], update_conflicts=True, unique_fields=["id"], update_fields=list(begun)
        )


def reconciliation_ended(summary: str, findings: int, unexplained: Mapping[str, int], is_whole: bool) -> None:
    """It came to its end. ``unexplained``: currency → minor units. ``is_whole`` False: some orders could not be compared."""
    outcome = Outcome.WHOLE if is_whole else Outcome.IN_PART
    found = {"findings": findings, "unexplained": dict(unexplained), "compared_at": ShopNow()}
    with transaction.atomic():
        may_be_lost()
        Reconciliation.objects.filter(pk=1).update(ended_at=ShopNow(), outcome=outcome, summary=summary[:300], **found)


def reconciliation_failed(summary: str) -> None:
    """It did not come to its end. What an earlier one has found stays."""
    failed = {"ended_at": ShopNow(), "outcome": Outcome.FAILED, "summary": summary[:300]}
    with transaction.atomic():
        may_be_lost()
        if not Reconciliation.objects.filter(pk=1).update(**failed):
            Reconciliation.objects.create(pk=1, began_at=ShopNow(), **failed)


def reconciliation_exited(pid: int, code: int) -> str:
    """The one that the sweep has started last has exited with ``code``. Returns a sentence if it wrote nothing about its end itself.

    Empty: it did, or another one is at work. A dead one may still have the turn for a while.
    """
    started_at = SweepHeartbeat.objects.filter(pk=1).values_list("reconciled_at", flat=True).first()
    last = Reconciliation.objects.filter(pk=1).first()
    has_begun = last is not None and started_at is not None and last.began_at >= started_at
    holder = holder_of(TURN)
    if (has_begun and last is not None and last.ended_at is not None) or (holder and not holder.endswith(f":{pid}")):
        return ""
    how = f"was ended by signal {-code}" if code < 0 else f"ended with exit code {code}"
    summary = f"it {how}{'' if has_begun else ' before it had begun'}"
    reconciliation_failed(summary)
    return summary


def last_reconciliation() -> Reconciliation | None:
    """The row. One that began, has not ended and has lost its turn is dead, and is shown as failed."""
    last = Reconciliation.objects.filter(pk=1).first()
    if last is not None and last.outcome == Outcome.AT_WORK and not holder_of(TURN):
        last.outcome, last.summary = Outcome.FAILED, "it ended without a word"
    return last


def not_compared_for_s() -> float | None:
    """Seconds since one came to its end. Before the first one: since it was due to begin. None: no sweep has ever run."""
    compared_at = Reconciliation.objects.filter(pk=1).values_list("compared_at", flat=True).first()
    since = compared_at or SweepHeartbeat.objects.filter(pk=1).values_list("reconciled_at", flat=True).first()
    return None if since is None else (shop_now() - since).total_seconds()
