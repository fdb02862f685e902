"""Promise: an amount is shown, and a total bounded, as the shop's currency has it: by ISO 4217, whatever a locale's customs are."""

from typing import Any

import pytest

from fulfillment.models import StockLevel
from orders.models import Order, OrderLine, Product
from orders.money import NotAnAmount, minor_of, money, written
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


def _sold(sku: str, price_minor: int, currency: str) -> None:
    Product.objects.create(sku=sku, name=sku.title(), price_minor=price_minor, currency=currency)
    StockLevel.objects.create(sku=sku, on_hand=1)


@pytest.mark.parametrize("currency", ["EUR", "JPY", "KWD", "IQD", "CLF", "USD"])
@pytest.mark.parametrize("minor", [0, 1, 5, 99, 100, 8_420, 1_234_567, 18_900, BOUND_MINOR])
def test_what_is_written_or_shown_is_read_as_the_same_amount(minor: int, currency: str) -> None:
    """I may copy an amount from a page into a form."""
    assert minor_of(written(minor, currency), currency) == minor
    assert minor_of(money(minor, currency), currency) == minor


@pytest.mark.parametrize(
    ("text", "currency", "minor"),
    [
        ("189.00", "EUR", 18_900),
        ("1,890.00", "EUR", 189_000),
        ("1890.00", "EUR", 189_000),
        (" €189.00 ", "EUR", 18_900),
        ("EUR 189.00", "EUR", 18_900),
        ("8420", "JPY", 8_420),
        ("8,420", "JPY", 8_420),
        ("1.234", "KWD", 1_234),
        ("1,234.567", "KWD", 1_234_567),
        ("0.01", "EUR", 1),
    ],
)
def test_an_amount_is_read_in_its_currency_s_own_notation(text: str, currency: str, minor: int) -> None:
    assert minor_of(text, currency) == minor


AMBIGUOUS = [
    "189",
    "18900",
    "189,00",
    "1.890,00",
    "1,890",
    "18,90.00",
    "1,89.00",
    "0,189.00",
    "189.0",
    "189.000",
    "189.",
    ".89",
    "1 890.00",
    "1'890.00",
]
NO_AMOUNT = [
    "",
    "-",
    ".",
    "-1.00",
    "+1.00",
    "1e2",
    "1_0.00",
    "٣.٠٠",
    "¥189.00",
    "$189.00",
    "189.00 USD",
    "NaN",
    "Infinity",
    "0x1.00",
    "189.00\n2",
    "9" * 5_000 + ".00",
]


@pytest.mark.parametrize("text", [*AMBIGUOUS, *NO_AMOUNT], ids=lambda text: ascii(text)[:20])
def test_what_could_be_another_amount_is_refused_with_how_to_write_it(text: str) -> None:
    """189,00 is no €18,900 and 18900 no €189: whoever means one of them reads how it is written."""
    with pytest.raises(NotAnAmount, match=r"Write an amount in EUR with a point and 2 digits after it: 1890\.00 is €1,890\.00\."):
        minor_of(text, "EUR")


@pytest.mark.parametrize(
    ("text", "currency"), [("8420.00", "JPY"), ("8.420", "JPY"), ("84,20", "JPY"), ("1,234", "KWD"), ("1234", "KWD"), ("1.23", "KWD")]
)
def test_so_it_is_in_currencies_with_other_places(text: str, currency: str) -> None:
    with pytest.raises(NotAnAmount):
        minor_of(text, currency)


@pytest.mark.parametrize("currency", ["EUR", "JPY", "KWD", "VND", "IQD"])
def test_a_total_up_to_the_bound_is_an_order(client: Client, body: dict[str, Any], settings: Any, currency: str) -> None:
    settings.SHOP_CURRENCY = currency
    _sold("YACHT", BOUND_MINOR, currency)

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
        _sold(f"YACHT-{index}", price_minor, "EUR")
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
    _sold("FUTON", 8_420, "JPY")

    assert [product["sku"] for product in client.get("/products").json()["data"]] == ["FUTON"]
