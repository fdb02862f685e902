"""The outbox's rows: what happened (Event), and for each subscriber whether it has heard (Delivery)."""

from typing import ClassVar

import pgtrigger
from django.db import models
from django.db.models import Q

from orders.clock import ShopNow

HEARD = """
SELECT e.payload FROM sideeffects_event e JOIN sideeffects_delivery d ON d.event_id = e.id WHERE d.subscriber = %s AND d.state = 'delivered'
"""  # for a room's audit: every fact that its subscriber has heard, once


class Event(models.Model):
    """One public fact about an order, frozen when it became true. Its id is derived from the fact, so that recording it twice is once."""

    id = models.UUIDField(primary_key=True)
    order = models.ForeignKey("orders.Order", models.PROTECT, related_name="events")
    type = models.CharField(max_length=60)
    version = models.PositiveSmallIntegerField()
    correlation_id = models.CharField(max_length=64)
    payload = models.JSONField()
    at = models.DateTimeField(db_default=ShopNow())

    class Meta:
        ordering: ClassVar = ["at"]
        triggers: ClassVar = [pgtrigger.Protect(name="frozen", operation=pgtrigger.Update | pgtrigger.Delete)]

    def __str__(self) -> str:
        return f"{self.type} {self.id}"


class DeliveryState(models.TextChoices):
    PENDING = "pending", "Pending"
    STARTED = "started", "Started"
    RETRY_WAIT = "retry_wait", "Waiting to retry"
    DELIVERED = "delivered", "Delivered"
    DEAD = "dead", "Dead letter"


class Delivery(models.Model):
    """One event for one subscriber.

    ``wake_at`` says when the sweep publishes it again if nobody else has; NULL once it is delivered or dead.
    ``claim`` is written by the one start that may settle a call outside. ``relaunches`` counts messages published again since the last try.
    """

    event = models.ForeignKey(Event, models.PROTECT, related_name="deliveries")
    subscriber = models.CharField(max_length=40)
    state = models.CharField(max_length=12, choices=DeliveryState, default=DeliveryState.PENDING)
    tries = models.PositiveIntegerField(default=0)
    relaunches = models.PositiveIntegerField(default=0)
    wake_at = models.DateTimeField(null=True)
    claim = models.UUIDField(null=True)
    error_code = models.CharField(max_length=60, blank=True)
    error_message = models.CharField(max_length=300, blank=True)
    delivered_at = models.DateTimeField(null=True)

    class Meta:
        ordering: ClassVar = ["subscriber"]
        verbose_name_plural = "deliveries"
        constraints: ClassVar = [models.UniqueConstraint(fields=["event", "subscriber"], name="delivery_once_per_subscriber")]
        indexes: ClassVar = [models.Index(fields=["wake_at", "id"], condition=Q(wake_at__isnull=False), name="delivery_due")]

    def __str__(self) -> str:
        return f"{self.subscriber}: {self.state}"

    @property
    def key(self) -> str:
        """Stable across retries: what an outside service may use to drop repeats."""
        return f"{self.event_id}.{self.subscriber}"
