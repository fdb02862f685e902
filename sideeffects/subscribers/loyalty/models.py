"""Points: a ledger that only grows, and the balance that it adds up to. ``account`` is a digest of the customer's e-mail, never the address itself."""

from typing import ClassVar

import pgtrigger
from django.db import models

from orders.clock import ShopNow


class PointsEntry(models.Model):
    """Points earned with one order. Append-only: the database refuses updates and deletes."""

    account = models.CharField(max_length=64)
    order_number = models.CharField(max_length=20)
    points = models.BigIntegerField()
    at = models.DateTimeField(db_default=ShopNow())

    class Meta:
        verbose_name_plural = "points entries"
        constraints: ClassVar = [models.UniqueConstraint(fields=["order_number"], name="points_once_per_order")]
        indexes: ClassVar = [models.Index(fields=["account"], name="points_of_account")]
        triggers: ClassVar = [pgtrigger.Protect(name="append_only", operation=pgtrigger.Update | pgtrigger.Delete)]

    def __str__(self) -> str:
        return f"{self.points} points for {self.order_number}"


class Balance(models.Model):
    account = models.CharField(max_length=64)
    points = models.BigIntegerField()

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["account"], name="balance_once_per_account")]

    def __str__(self) -> str:
        return f"{self.points} points"
