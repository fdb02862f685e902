"""Promise: an amount is shown, and a total bounded, as the shop's currency has it: by ISO 4217, whatever a locale's customs are."""

from typing import Any

import pytest

from orders.models import Order, OrderLine, Product
from orders.money import money
from tests.orders.conftest import Client

BOUND_MINOR = 999_999_999_999


@pytest.mark.parametrize(
    ("minor", "currency", "shown"),
    [
        (8_420, "EUR", "€84.20"),
        (8_420, "JPY", "JP¥8,420"),
        (8_420, "KWD", "KWD8.420"),
        (8_420, "VND", "₫8,420"),
        (8_420, "ISK", "ISK8,420"),
        (8_420, "UGX", "UGX8,420"),
        # Here CLDR rounds to whole units, and ISO 4217 has two or three digits.
        (8_420, "IQD", "IQD8.420"),
        (8_420, "LBP", "LBP84.20"),
        (8_420, "SOS", "SOS84.20"),
        (8_499, "LAK", "LAK84.99"),
        (8_420, "RSD", "RSD84.20"),
        (-5, "JPY", "-JP¥5"),
        (1, "KWD", "KWD0.001"),
        (BOUND_MINOR, "VND", "₫999,999,999,999"),
    ],
)
def test_an_amount_has_the_digits_of_iso_4217(minor: int, currency: str, shown: str) -> None:
    """My receipt says what I have paid, to the last minor unit."""
    assert money(minor, currency) == shown


@pytest.mark.parametrize("currency", ["EUR", "JPY", "KWD", "VND", "IQD"])
def test_a_total_up_to_the_bound_is_an_order(client: Client, body: dict[str, Any], settings: Any, currency: str) -> None:
    settings.SHOP_CURRENCY = currency
    Product.objects.create(sku="YACHT", name="Yacht", price_minor=BOUND_MINOR, currency=currency)

    answer = client.post(body | {"currency": currency, "lines": [{"sku": "YACHT", "quantity": 1}]})

    assert (answer.status_code, answer.json()["total_minor"]) == (201, BOUND_MINOR), answer.json()
    order = Order.objects.get()
    assert (order.total_minor, OrderLine.objects.get().unit_price_minor) == (BOUND_MINOR, BOUND_MINOR)


@pytest.mark.parametrize(
    ("prices", "quantity"),
    [((BOUND_MINOR + 1,), 1), ((1_000_000_000,), 1_000), ((BOUND_MINOR, 1), 1), ((9_223_372_036_854_775_807,), 1_000)],
    ids=["one piece", "many pieces", "several lines", "more than a column holds"],
)
def test_a_total_above_the_bound_is_refused_by_name(client: Client, body: dict[str, Any], prices: tuple[int, ...], quantity: int) -> None:
    """Nobody is charged an amount that a column or a bank would cut off."""
    for index, price_minor in enumerate(prices):
        Product.objects.create(sku=f"YACHT-{index}", name="Yacht", price_minor=price_minor, currency="EUR")
    lines = [{"sku": f"YACHT-{index}", "quantity": quantity} for index in range(len(prices))]

    answer = client.post(body | {"lines": lines})

    assert answer.status_code == 400, answer.json()
    [error] = answer.json()["errors"]
    assert (error["pointer"], error["code"]) == ("/lines", "total_too_large")
    assert "€9,999,999,999.99" in error["detail"]
    assert not Order.objects.exists()


def test_the_catalogue_shows_what_is_sold_here(client: Client, settings: Any) -> None:
    """What I am shown I can order: a product that is left from another currency is not shown."""
    settings.SHOP_CURRENCY = "JPY"
    Product.objects.create(sku="FUTON", name="Futon", price_minor=8_420, currency="JPY")

    assert [product["sku"] for product in client.get("/products").json()["data"]] == ["FUTON"]
