"""What the shop sold each day. ``day`` is UTC; money in minor units."""

from typing import ClassVar

from django.db import models


class DailyRevenue(models.Model):
    day = models.DateField()
    currency = models.CharField(max_length=3)
    orders = models.PositiveIntegerField()
    revenue_minor = models.BigIntegerField()

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["day", "currency"], name="revenue_once_per_day")]

    def __str__(self) -> str:
        return f"{self.day}: {self.orders} orders, {self.revenue_minor} {self.currency}"


class DailyUnits(models.Model):
    day = models.DateField()
    sku = models.CharField(max_length=40)
    units = models.PositiveIntegerField()

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["day", "sku"], name="units_once_per_day")]

    def __str__(self) -> str:
        return f"{self.day}: {self.units} × {self.sku}"
