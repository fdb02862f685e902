"""Probes: a stamp sent through a queue distinguishes loss from backlog, without asking the broker anything. Every queue has them.

What was published before the newest stamp that came out is no longer in that queue; one hard limit is taken off for what a worker has prefetched. While no
stamp comes out, it is backlog or a dead broker, and nothing is published again.
"""

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import ClassVar

from django.conf import settings
from django.db import models, transaction
from django.db.models import Case, F, Value, When
from django.db.models.functions import Coalesce, Greatest

from orders.clock import ShopNow, doubled, in_seconds, shop_now
from orders.durability import may_be_lost
from orders.incidents import IncidentKind, open_incident, resolve, unresolved

ACTOR = "probes"


class QueueProbe(models.Model):
    """One row for each queue that was ever probed.

    ``sent_at``: the newest stamp sent. ``out_at``: the newest stamp that came out. ``unanswered``: how many were sent since one came out, the first of them
    at ``awaited_since``.
    """

    queue = models.CharField(max_length=40, primary_key=True)
    sent_at = models.DateTimeField(null=True)
    out_at = models.DateTimeField(null=True)
    awaited_since = models.DateTimeField(null=True)
    unanswered = models.PositiveIntegerField(default=0)

    class Meta:
        # Where the first release has it, whose sweep still reads it while this one is being deployed.
        db_table: ClassVar = "fulfillment_queueprobe"

    def __str__(self) -> str:
        return f"probe of {self.queue}"


class Probes:
    """What one process asks and sends: the sweep for its queues, the relay for its own."""

    def __init__(self) -> None:
        self._wanted: set[str] = set()  # in this round

    def proves_lost(self, queue: str, launched_at: datetime | None) -> bool:
        """Whether a message published at ``launched_at`` can no longer be in ``queue``; None: it never was. If nobody can tell, a probe is wanted.

        An instant that is yet to come was written by a clock that was ahead: it counts as lost, because no stamp would prove it so until the clock has caught up.
        """
        if launched_at is None:
            return True
        before = lost_before(queue)
        if (before is not None and launched_at < before) or launched_at > shop_now():
            return True
        self.want(queue)
        return False

    def want(self, queue: str) -> None:
        self._wanted.add(queue)

    def due(self) -> list[tuple[str, datetime]]:
        """The (queue, stamp) to send now: where one is wanted and none is under way, or has been for longer than it may take (doubling)."""
        due = []
        while self._wanted:
            queue = self._wanted.pop()
            with transaction.atomic():
                may_be_lost()
                probe, _ = QueueProbe.objects.get_or_create(queue=queue)
                now = shop_now()
                if _is_awaited(probe, now):
                    continue
                sent = {"sent_at": now, "awaited_since": Coalesce("awaited_since", now), "unanswered": F("unanswered") + 1}
                QueueProbe.objects.filter(pk=queue).update(**sent)
                due.append((queue, now))
        return due

    def open_incidents_of_unserved(self, queues: Collection[str], after_s: float) -> None:
        """A person is notified, once, of each of these that has let nothing out for longer than ``after_s`` seconds; the incident is resolved when it has.

        Until then it is asked after, also where nothing else waits for it: else nobody would notice that it is served again.
        """
        waits = QueueProbe.objects.filter(queue__in=queues, awaited_since__lt=in_seconds(-after_s)).order_by("queue")
        unserved = {queue: since for queue, since in waits.values_list("queue", "awaited_since") if since}
        incidents = unresolved(kind=IncidentKind.QUEUE_UNSERVED, subject__in=queues)
        known = set(incidents.values_list("subject", flat=True))
        self._wanted |= unserved.keys()
        for queue in sorted(unserved.keys() - known):
            _open_incident(queue, unserved[queue])
        if served := known - unserved.keys():
            with transaction.atomic():
                resolve(incidents.filter(subject__in=served), "served", "what was put into it has come out", ACTOR)


def _open_incident(queue: str, since: datetime) -> None:
    came_out = f"what was put into “{queue}” at {since:%Y-%m-%d %H:%M} UTC has not come out yet"
    message = f"{came_out}: no worker serves it, or they do not get that far"
    with transaction.atomic():
        open_incident(IncidentKind.QUEUE_UNSERVED, subject=queue, currency=settings.SHOP_CURRENCY, message=message)


def lost_before(queue: str) -> datetime | None:
    """A message of this queue that was published before this instant and has not started is lost; None: nothing can be said."""
    out_at = QueueProbe.objects.filter(queue=queue, out_at__lte=ShopNow()).values_list("out_at", flat=True).first()
    return None if out_at is None else out_at - timedelta(seconds=settings.TASK_HARD_LIMIT_S)


def _is_awaited(probe: QueueProbe, now: datetime) -> bool:
    if probe.sent_at is None or (probe.out_at is not None and probe.out_at >= probe.sent_at):
        return False
    wait = doubled(settings.PROBE_AFTER_S, probe.unanswered - 1, settings.PROBE_CAP_S)
    return probe.sent_at <= now < probe.sent_at + timedelta(seconds=wait)


def probe_not_sent(queue: str) -> None:
    """The broker did not take it: the next round sends another."""
    with transaction.atomic():
        may_be_lost()
        QueueProbe.objects.filter(pk=queue).update(sent_at=F("out_at"))


def probe_came_out(queue: str, stamp: datetime) -> None:
    """Any that comes out counts by its own stamp; one that was never sent counts for nothing, nor does one from a clock that was ahead."""
    with transaction.atomic():
        may_be_lost()
        now = shop_now()
        if stamp > now:
            return
        newest = Case(When(out_at__lte=now, then=Greatest("out_at", Value(stamp))), default=Value(stamp))
        QueueProbe.objects.filter(pk=queue).update(out_at=newest, awaited_since=None, unanswered=0)


def stamp_of(text: object) -> datetime | None:
    """The stamp that a message bears; None: that is no instant with a time zone."""
    try:
        stamp = datetime.fromisoformat(text)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
    return stamp if stamp.tzinfo else None


def unanswered_for_s() -> dict[str, float]:
    """Seconds for which each queue that was probed has not let anything out; a queue that answers is not listed."""
    waiting = QueueProbe.objects.filter(awaited_since__isnull=False)
    ages = waiting.annotate(age=ShopNow() - F("awaited_since")).values_list("queue", "age")
    return {queue: round(age.total_seconds(), 1) for queue, age in ages}
