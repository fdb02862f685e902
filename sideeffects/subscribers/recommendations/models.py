"""Which products were bought together, and how often."""

from typing import ClassVar

from django.db import models


class CoPurchase(models.Model):
    """``orders`` fulfilled orders held both ``sku`` and ``other``; each pair stands here in both directions.

    Whoever asks for the best sorts all pairs of one product. An index with ``orders`` in it would be written by each order.
    """

    sku = models.CharField(max_length=40)
    other = models.CharField(max_length=40)
    orders = models.PositiveIntegerField()

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["sku", "other"], name="copurchase_once_per_pair")]

    def __str__(self) -> str:
        return f"{self.sku} with {self.other}: {self.orders} orders"
