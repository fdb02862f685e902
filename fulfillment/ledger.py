"""The ledger: our own record of an order's money. Entries never change, and their sum is what remains captured. Each is written together with its outcome."""

from typing import Any, ClassVar

import pgtrigger
from django.db import models
from django.db.models import Case, F, Sum, Value, When

from fulfillment.clock import ShopNow


class LedgerEntry(models.Model):
    """Money that one step has moved, as far as we know. ``amount_minor`` > 0, in the order's currency. ``key``: of the call that moved it, and unique."""

    class Operation(models.TextChoices):
        CAPTURED = "captured", "Captured"
        REFUNDED = "refunded", "Refunded"
        WRITTEN_OFF = "written_off", "Written off"

    order = models.ForeignKey("orders.Order", models.PROTECT, related_name="ledger")
    step = models.CharField(max_length=40)
    operation = models.CharField(max_length=12, choices=Operation)
    key = models.CharField(max_length=120)
    amount_minor = models.BigIntegerField()
    by_hand = models.BooleanField(default=False, db_default=False)
    at = models.DateTimeField(db_default=ShopNow())

    class Meta:
        ordering: ClassVar = ["id"]
        verbose_name_plural = "ledger entries"
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["key"], name="ledger_once_per_key"),
            models.CheckConstraint(condition=models.Q(amount_minor__gt=0), name="ledger_amount_positive"),
        ]
        triggers: ClassVar = [pgtrigger.Protect(name="ledger_immutable", operation=pgtrigger.Update | pgtrigger.Delete)]

    def __str__(self) -> str:
        return f"{self.operation} {self.amount_minor} ({self.key})"


SIGNED = Case(When(operation=LedgerEntry.Operation.CAPTURED, then=F("amount_minor")), default=F("amount_minor") * Value(-1))


def enter(order_id: int, step: str, operation: LedgerEntry.Operation, key: str, amount_minor: int, *, by_hand: bool = False) -> None:
    """Make one entry per key. An amount of 0 is nothing. More is never refunded than was captured: a larger amount is cut to what remains."""
    if operation != LedgerEntry.Operation.CAPTURED:
        amount_minor = min(amount_minor, remaining(order_id))
    if amount_minor > 0:
        entry = LedgerEntry(order_id=order_id, step=step, operation=operation, key=key, amount_minor=amount_minor, by_hand=by_hand)
        LedgerEntry.objects.bulk_create([entry], ignore_conflicts=True)


def remaining_of(order_ids: Any) -> dict[str, int]:
    """Currency → what is captured of these orders, and neither refunded nor written off, in minor units."""
    rows = LedgerEntry.objects.filter(order_id__in=order_ids).order_by().values_list("order__currency").annotate(left=Sum(SIGNED))
    return {currency: int(left) for currency, left in rows if left}


def remaining(order_id: int, step: str | None = None) -> int:
    """What is captured of this order, and neither refunded nor written off, in minor units. With ``step``: only of this step."""
    entries = LedgerEntry.objects.filter(order_id=order_id)
    if step is not None:
        entries = entries.filter(step=step)
    return int(entries.aggregate(left=Sum(SIGNED))["left"] or 0)
