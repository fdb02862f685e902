"""The tables of ``schema.sql``."""

from typing import Any, ClassVar

from django.db import models


class Row(models.Model):
    objects: ClassVar["models.Manager[Any]"] = models.Manager()

    class Meta:
        abstract = True


class Product(Row):
    product_id = models.IntegerField(primary_key=True)
    available = models.IntegerField()

    class Meta:
        db_table, managed = "stock", False

    def __str__(self) -> str:
        return str(self.product_id)


class Order(Row):
    id = models.BigIntegerField(primary_key=True)
    customer_id = models.IntegerField()
    status = models.TextField(default="pending")
    total_cents = models.IntegerField()
    submitted_at = models.DateTimeField()
    fulfilled_at = models.DateTimeField(null=True)
    lines: "models.Manager[OrderLine]"

    class Meta:
        db_table, managed = "orders", False

    def __str__(self) -> str:
        return str(self.id)


class OrderLine(Row):
    order = models.ForeignKey(Order, models.CASCADE, related_name="lines")
    product = models.ForeignKey(Product, models.PROTECT)
    qty = models.IntegerField()
    unit_cents = models.IntegerField()

    class Meta:
        db_table, managed = "order_lines", False

    def __str__(self) -> str:
        return f"{self.qty} × {self.product}"


class Payment(Row):
    order = models.OneToOneField(Order, models.CASCADE)
    amount_cents = models.IntegerField()
    gateway_ref = models.TextField()
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        db_table, managed = "payments", False

    def __str__(self) -> str:
        return self.gateway_ref


class Shipment(Row):
    order = models.OneToOneField(Order, models.CASCADE)
    tracking = models.TextField()
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        db_table, managed = "shipments", False

    def __str__(self) -> str:
        return self.tracking


class Effect(Row):
    order = models.ForeignKey(Order, models.CASCADE)
    kind = models.TextField()
    done_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        db_table, managed = "effects", False

    def __str__(self) -> str:
        return self.kind
