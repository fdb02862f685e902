"""The view and its serializers."""

import uuid
from typing import Any, ClassVar

from django.db import connection, transaction
from rest_framework import generics, serializers

from fulfillment.clock import in_seconds
from fulfillment.models import Saga, StepRecord
from orders import facts
from orders.clock import ShopNow
from orders.events import OrderCreated, lines_of
from orders.models import Order, OrderLine, Product
from orders.timeline import HistoryRow, RowKind

STEPS = ("payment", "inventory", "shipping")
PLAN = [{"name": step, "version": 1, "kind": "compensable", "role": "payments", "gateway": "sandbox"} for step in STEPS]
AN_HOUR_S = 3600.0


class LineSerializer(serializers.ModelSerializer[OrderLine]):
    class Meta:
        model = OrderLine
        fields: ClassVar = ["sku", "name", "quantity", "unit_price_minor"]
        read_only_fields: ClassVar = ["name", "unit_price_minor"]


class OrderSerializer(serializers.ModelSerializer[Order]):
    lines = LineSerializer(many=True)

    class Meta:
        model = Order
        shown: ClassVar = ["number", "status", "total_minor", "placed_at"]
        fields: ClassVar = [
            *shown, "reference", "currency", "customer_email", "customer_name", "shipping_address", "payment_token", "lines",
        ]  # fmt: skip
        read_only_fields = shown

    @transaction.atomic
    def create(self, validated_data: dict[str, Any]) -> Order:
        lines = validated_data.pop("lines")
        products = Product.objects.in_bulk([line["sku"] for line in lines], field_name="sku")
        order = Order.objects.create(
            number=f"ORD-{_next_number()}",
            total_minor=sum(products[line["sku"]].price_minor * line["quantity"] for line in lines),
            idempotency_key=uuid.uuid4().hex,
            correlation_id=uuid.uuid4().hex,
            request_digest=uuid.uuid4().hex * 2,
            digest=uuid.uuid4().hex * 2,
            **validated_data,
        )
        OrderLine.objects.bulk_create(
            OrderLine(order=order, name=products[line["sku"]].name, unit_price_minor=products[line["sku"]].price_minor, **line)
            for line in lines
        )
        _create_journal(order)
        return order


def _create_journal(order: Order) -> None:
    later = in_seconds(AN_HOUR_S)
    saga = Saga.objects.create(order=order, nonce="plainplain", plan=PLAN, wake_at=later, launched_at=ShopNow(), deadline_at=later)
    StepRecord.objects.bulk_create(
        StepRecord(saga=saga, position=position, name=step, do_key=f"{order.number}:{step}:do:1:plainplain")
        for position, step in enumerate(STEPS)
    )
    HistoryRow.objects.create(order=order, kind=RowKind.OPENED, name=STEPS[0], epoch=1)
    created = OrderCreated(number=order.number, currency=order.currency, total_minor=order.total_minor, lines=lines_of(order.lines.all()))
    facts.record(created, order.pk, order.correlation_id)


def _next_number() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT nextval('orders_order_number')")
        return int(cursor.fetchone()[0])


class Orders(generics.CreateAPIView[Order]):
    serializer_class = OrderSerializer

    def perform_create(self, serializer: serializers.BaseSerializer[Order]) -> None:
        serializer.save(client=self.request.user)
