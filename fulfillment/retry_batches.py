"""Bulk retries as rows: the set of orders that a person has previewed, with amounts, and what became of each. The sweep works off a confirmed set."""

from typing import ClassVar

from django.db import models

from fulfillment.clock import ShopNow


class RetryBatch(models.Model):
    """A set of orders. ``filters``: how it was chosen. ``user``, ``actor``, ``reason``: who has confirmed it, and why.

    ``confirmed_at`` empty: nobody has confirmed it, and nothing is done. ``next_at``: no order of it is decided before. ``ended_at``: every order was decided.
    """

    filters = models.JSONField(default=dict)
    previewed_at = models.DateTimeField(db_default=ShopNow())
    user = models.BigIntegerField(null=True)
    actor = models.CharField(max_length=80, blank=True)
    reason = models.TextField(blank=True)
    rate_per_s = models.FloatField(default=0.0)
    confirmed_at = models.DateTimeField(null=True)
    next_at = models.DateTimeField(null=True)
    ended_at = models.DateTimeField(null=True)

    class Meta:
        ordering: ClassVar = ["id"]
        verbose_name_plural = "retry batches"
        indexes: ClassVar = [
            models.Index(fields=["next_at", "id"], condition=models.Q(confirmed_at__isnull=False, ended_at=None), name="retry_batch_open")
        ]

    def __str__(self) -> str:
        return f"batch {self.pk}"


class RetryItem(models.Model):
    """One order as the preview saw it: its version then, and what was at risk. ``skip``: why it is not retried. Empty: it is.

    ``outcome`` of the decision: empty (not yet), ``done``, ``repeated``, ``refused`` or ``failed``. ``tried_at``: when it was last to be decided.
    """

    batch = models.ForeignKey(RetryBatch, models.CASCADE, related_name="items")
    order_id = models.BigIntegerField(null=True)
    order = models.CharField(max_length=80)
    version = models.BigIntegerField(default=0)
    amount_minor = models.BigIntegerField(default=0)
    currency = models.CharField(max_length=3)
    skip = models.CharField(max_length=60, blank=True)
    tried_at = models.DateTimeField(null=True)
    outcome = models.CharField(max_length=10, blank=True)
    sentence = models.TextField(blank=True)
    decided_at = models.DateTimeField(null=True)

    class Meta:
        ordering: ClassVar = ["id"]
        indexes: ClassVar = [models.Index(fields=["batch", "id"], condition=models.Q(skip="", outcome=""), name="retry_item_waits")]

    def __str__(self) -> str:
        return f"{self.order} of batch {self.batch_id}"
