"""Promise: the plain create that ours is measured against (``tests.bench``) writes what ours writes, so that the ratio is that of everything around it."""

from typing import Any

from django.apps import apps
from django.db import models

from orders.models import Order
from tests.bench.plain.orders import OrderSerializer
from tests.orders.conftest import Client


def test_a_plain_create_writes_the_rows_that_an_order_of_the_shop_has(client: Client, body: dict[str, Any]) -> None:
    before = rows()
    assert client.post(body).status_code == 201
    by_the_shop = rows()
    flat = {
        "reference": body["reference"],
        "currency": body["currency"],
        "customer_email": body["customer"]["email"],
        "customer_name": body["customer"]["name"],
        "lines": body["lines"],
        "payment_token": body["payment"]["token"],
        "shipping_address": body["shipping_address"],
    }

    plain = OrderSerializer(data=flat)
    plain.is_valid(raise_exception=True)
    plain.save(client=client.user)

    ours, theirs = difference(before, by_the_shop), difference(by_the_shop, rows())
    assert theirs == ours
    assert {"orders.Order": 1, "orders.OrderLine": 2, "fulfillment.Saga": 1, "fulfillment.StepRecord": 3}.items() <= ours.items()
    assert len({(order.total_minor, order.customer_email, str(order.shipping_address)) for order in Order.objects.all()}) == 1


def rows() -> dict[str, int]:
    """In each table."""
    return {model._meta.label: _count(model) for model in apps.get_models() if model._meta.managed}


def _count(model: type[models.Model]) -> int:
    return model._default_manager.count()


def difference(before: dict[str, int], after: dict[str, int]) -> dict[str, int]:
    return {table: after[table] - before[table] for table in after if after[table] != before[table]}
