"""Promise: a test value ends an order as the guide for client developers says."""

import re
from typing import Any

import pytest

from fulfillment.models import StockLevel
from orders.api.reference.guide import guide
from orders.management.demo_data import PRODUCTS
from tests.orders.reference.test_guide import table
from tests.reconciliation.shop import Shop

VALUE = re.compile(r"(card|SKU|postal code) `([^`]+)`")
NAMES = {"card": "token", "postal code": "postal_code"}
ROWS = table("Test values", guide())


@pytest.mark.parametrize(("values", "end", "failure_code", "meanwhile"), ROWS, ids=[row[0] for row in ROWS])
def test_a_test_value_ends_an_order_as_the_guide_says(
    shop: Shop, settings: Any, values: str, end: str, failure_code: str, meanwhile: str
) -> None:
    settings.CALL_DEADLINE_S = 0.3
    chosen = dict(VALUE.findall(values))
    if sku := chosen.pop("SKU", ""):
        StockLevel.objects.update(on_hand=next(product.on_hand for product in PRODUCTS if product.sku == sku))

    order = shop.place(**{NAMES[kind]: value for kind, value in chosen.items()})

    assert (order.status, order.failure_code) == (end.split("`")[1], failure_code.strip("`"))
    assert order.attention == ("`attention`" in meanwhile)
    assert ("`step.in_doubt`" not in meanwhile) or order.timeline.filter(kind="step", to_state="in_doubt").exists()
