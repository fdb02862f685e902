"""Probes: a stamp sent through a queue tells loss from backlog, without asking the broker anything.

What was published before the newest stamp that came out is no longer in that queue; one hard limit is taken off for what a worker has prefetched. While no
stamp comes out, it is backlog or a dead broker, and nothing is published again.
"""

from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import F
from django.db.models.functions import Coalesce, Greatest

from fulfillment.clock import ShopNow, shop_now
from fulfillment.models import QueueProbe
from orders.clock import doubled
from orders.durability import may_be_lost

_wanted: set[str] = set()  # by the sweep of this process, in this round


def proves_lost(queue: str, launched_at: datetime | None) -> bool:
    """Whether a message published at ``launched_at`` can no longer be in ``queue``; None: it never was. If nobody can tell, a probe is wanted."""
    if launched_at is None:
        return True
    out_at = QueueProbe.objects.filter(queue=queue).values_list("out_at", flat=True).first()
    if out_at is not None and launched_at < out_at - timedelta(seconds=settings.TASK_HARD_LIMIT_S):
        return True
    _wanted.add(queue)
    return False


def probes_due() -> list[tuple[str, datetime]]:
    """The (queue, stamp) to send now: where one is wanted and none is under way, or has been for longer than it may take (doubling)."""
    due = []
    while _wanted:
        queue = _wanted.pop()
        with transaction.atomic():
            may_be_lost()
            probe, _ = QueueProbe.objects.get_or_create(queue=queue)
            now = shop_now()
            if _is_awaited(probe, now):
                continue
            QueueProbe.objects.filter(pk=queue).update(
                sent_at=now, awaited_since=Coalesce("awaited_since", now), unanswered=F("unanswered") + 1
            )
            due.append((queue, now))
    return due


def _is_awaited(probe: QueueProbe, now: datetime) -> bool:
    if probe.sent_at is None or (probe.out_at is not None and probe.out_at >= probe.sent_at):
        return False
    wait = doubled(settings.PROBE_AFTER_S, probe.unanswered - 1, settings.PROBE_CAP_S)
    return now < probe.sent_at + timedelta(seconds=wait)


def probe_not_sent(queue: str) -> None:
    """The broker did not take it: the next round sends another."""
    with transaction.atomic():
        may_be_lost()
        QueueProbe.objects.filter(pk=queue).update(sent_at=F("out_at"))


def probe_came_out(queue: str, stamp: datetime) -> None:
    """Any that comes out counts by its own stamp; one that was never sent counts for nothing."""
    with transaction.atomic():
        may_be_lost()
        QueueProbe.objects.filter(pk=queue).update(out_at=Greatest(Coalesce("out_at", stamp), stamp), awaited_since=None, unanswered=0)


def unanswered_for_s() -> dict[str, float]:
    """Seconds for which each queue that was probed has not let anything out; a queue that answers is not listed."""
    waiting = QueueProbe.objects.filter(awaited_since__isnull=False)
    ages = waiting.annotate(age=ShopNow() - F("awaited_since")).values_list("queue", "age")
    return {queue: round(age.total_seconds(), 1) for queue, age in ages}
