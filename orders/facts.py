"""Facts (a transactional outbox): what has become true about an order, for whoever reacts to it. The core writes one row, in the transaction that makes it true.

Who hears of a fact, and whether they have heard, is no business of the core: it touches no table of theirs. A fact carries references and amounts, and no
personal data.
"""

import uuid
from collections.abc import Callable, Collection
from datetime import datetime, timedelta
from typing import ClassVar

import pgtrigger
from django.contrib.postgres.indexes import BrinIndex
from django.db import connection, models
from django.db.models import Q

from orders.clock import ShopNow, in_seconds
from orders.events import Event, signal_of

# A sequence would give a number before the commit, and whoever reads on from the highest number that they have seen would skip a late commit.
NUMBER = """
UPDATE orders_fact SET number = given.number, relayed_at = CASE WHEN given.relayed THEN shop_now() END
FROM unnest(%s::uuid[], %s::bigint[], %s::boolean[]) AS given(id, number, relayed) WHERE orders_fact.id = given.id
"""


class Fact(models.Model):
    """One public fact about an order, frozen when it became true. Its id is derived from the fact, so that recording it twice is once.

    ``number`` is given by the relay, after the commit. ``relayed_at``: since then every subscriber that the fact is owed to has a delivery row of its own, and
    the relay does not read the fact any more.
    """

    id = models.UUIDField(primary_key=True)
    order = models.ForeignKey("orders.Order", models.PROTECT, related_name="facts")
    type = models.CharField(max_length=60)
    version = models.PositiveSmallIntegerField()
    correlation_id = models.CharField(max_length=64)
    payload = models.JSONField()
    at = models.DateTimeField(db_default=ShopNow())
    number = models.BigIntegerField(null=True)
    relayed_at = models.DateTimeField(null=True)

    class Meta:
        ordering: ClassVar = ["at"]
        constraints: ClassVar = [
            # Partial, so that giving a number does not wait for whoever is writing a delivery of the fact.
            models.UniqueConstraint(fields=["number"], condition=Q(number__isnull=False), name="fact_number_once")
        ]
        indexes: ClassVar = [
            models.Index(fields=["at", "id"], condition=Q(number__isnull=True), name="fact_unnumbered"),
            # Of facts with a number: one that is relayed as it gets its number has no entry.
            models.Index(fields=["number"], condition=Q(relayed_at__isnull=True, number__isnull=False), name="fact_to_relay"),
            BrinIndex(fields=["at"], pages_per_range=32, autosummarize=True, name="fact_at"),
        ]
        triggers: ClassVar = [
            pgtrigger.ReadOnly(name="frozen", exclude=["number", "relayed_at"]),
            pgtrigger.Protect(name="kept", operation=pgtrigger.Delete),
        ]

    def __str__(self) -> str:
        return f"{self.type} {self.id}"


Relayed = Callable[[list[Fact]], Collection[uuid.UUID]]


def record(event: Event, order_id: int, correlation_id: str) -> None:
    """Insert the fact in the caller's transaction. Recording it again inserts nothing."""
    row = Fact(
        id=event.fact_id,
        order_id=order_id,
        type=event.type,
        version=event.version,
        correlation_id=correlation_id,
        payload=event.to_json(),
        at=in_seconds(-before_the_commit(event).total_seconds()),
    )
    Fact.objects.bulk_create([row], ignore_conflicts=True)


def before_the_commit(event: Event) -> timedelta:
    """How long before the instant of its commit it becomes true: so the facts of one commit have a sequence."""
    return timedelta(microseconds=event.earlier)


def announce(event: Event) -> None:
    """Whoever listens publishes early. In the transaction of the fact, or once it is committed; the relay needs neither."""
    signal_of(event).send(Fact, fact=event)


def number_committed(limit: int, after: datetime | None, up_to: datetime, relayed: Relayed | None = None) -> list[int]:
    """Give the next numbers to facts that have none, of those that became true after ``after`` (None: ever) and until ``up_to``; returns the numbers.

    ``relayed`` is asked which of them, with their numbers, need no relay: one update of the row does both. Rows that somebody holds are left for the next round.
    Two at once never give one number twice: the slower one's transaction fails.
    """
    since = Q(at__gt=after) if after else Q()
    waiting = Fact.objects.filter(since, number__isnull=True, at__lte=up_to).order_by("at", "id").only("id", "at", "type")
    fresh = list(waiting.select_for_update(no_key=True, skip_locked=True)[:limit])
    for number, fact in enumerate(fresh, next_number() if fresh else 0):
        fact.number = number
    done = relayed(fresh) if relayed and fresh else set()
    if fresh:
        with connection.cursor() as cursor:
            cursor.execute(NUMBER, [[fact.pk for fact in fresh], [fact.number for fact in fresh], [fact.pk in done for fact in fresh]])
    return [fact.number for fact in fresh if fact.number]


def numbered_from(number: int) -> "models.QuerySet[Fact]":
    """In the order of their numbers, with what an event says. Of their orders, only the number is read."""
    told = ("type", "version", "correlation_id", "payload", "at", "number", "order__number")
    return Fact.objects.filter(number__gte=number).order_by("number").select_related("order").only(*told)


def next_number() -> int:
    """What the next fact without a number will get."""
    return int(Fact.objects.aggregate(last=models.Max("number"))["last"] or 0) + 1
