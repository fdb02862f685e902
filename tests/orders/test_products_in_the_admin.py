"""Promise: a price is written as its currency is, shown before it is saved, and changed by nobody who has not seen what it was."""

import re
from typing import Any

import pytest
from django.test import Client as Browser

from orders.models import Product
from orders.money import MAX_TOTAL_MINOR
from tests.orders.admin_form import Form, opened
from tests.orders.conftest import Client, browser_of

LIST = "/admin/orders/product/"
ADD = f"{LIST}add/"


def page_of(sku: str) -> str:
    return f"{LIST}{Product.objects.get(sku=sku).pk}/change/"


def price_of(sku: str) -> int:
    return Product.objects.get(sku=sku).price_minor


@pytest.fixture
def tent(operator: Browser) -> Form:
    return opened(operator, page_of("TENT"))


def test_a_price_is_written_with_the_places_of_its_currency(tent: Form) -> None:
    """189.00 is €189.00: the page writes it so, and takes it so."""
    assert tent.fields["price"] == "189.00"

    asked = tent.send(price="200.00")

    assert price_of("TENT") == 18_900
    assert "€189.00 → €200.00" in asked.text
    asked.press("confirmed")
    assert price_of("TENT") == 20_000


def test_nothing_is_asked_where_the_price_stays(tent: Form) -> None:
    tent.send(name="Tent, green")

    product = Product.objects.get(sku="TENT")
    assert (product.name, product.price_minor) == ("Tent, green", 18_900)


@pytest.mark.parametrize(
    "written", ["18900", "189", "189,00", "1,89", "1.890,00", "189.0", "189.000", "1,890", "-1.00", "$189.00", "1_89.00", "١٨٩.٠٠"]
)
def test_what_could_be_another_amount_is_refused_in_a_sentence(tent: Form, written: str) -> None:
    """Nobody sells a tent for a hundredth of its price because of a comma, or for a hundred times of it because it is left out."""
    answer = tent.send(price=written)

    assert price_of("TENT") == 18_900
    assert "Write an amount in EUR with a point and 2 digits after it: 1890.00 is €1,890.00." in answer.text
    assert "confirmed" not in answer.buttons
    assert f'value="{written}"' in answer.text


@pytest.mark.parametrize(
    ("currency", "minor", "shown", "wrong", "message"),
    [
        ("JPY", 18_900, "18900", "18900.00", "Write an amount in JPY in digits alone: 1890 is JP¥1,890."),
        ("KWD", 18_900, "18.900", "18.90", "Write an amount in KWD with a point and 3 digits after it: 1890.000 is KWD1,890.000."),
    ],
)
def test_each_currency_has_its_own_places(
    operator: Browser, settings: Any, currency: str, minor: int, shown: str, wrong: str, message: str
) -> None:
    settings.SHOP_CURRENCY = currency
    Product.objects.create(sku="FUTON", name="Futon", price_minor=minor, currency=currency)
    page = opened(operator, page_of("FUTON"))

    assert page.fields["price"] == shown
    assert message in page.send(price=wrong).text
    assert price_of("FUTON") == minor


def test_a_price_has_bounds(tent: Form) -> None:
    """Nothing is given away, and nothing costs more than an order may."""
    assert "A price is above 0" in tent.send(price="0.00").text
    assert "€9,999,999,999.99" in tent.send(price="10000000000.00").text
    assert price_of("TENT") == 18_900

    tent.send(price="9999999999.99").press("confirmed")
    assert price_of("TENT") == MAX_TOTAL_MINOR


def test_a_tick_for_one_price_confirms_no_other(tent: Form) -> None:
    """I am asked for 200.00, change it to 2.00 and press the same button: I am asked again."""
    asked = tent.send(price="200.00")

    again = asked.send(price="2.00", confirmed=asked.buttons["confirmed"])

    assert price_of("TENT") == 18_900
    assert "€189.00 → €2.00" in again.text


def test_whoever_has_seen_an_older_price_overwrites_nothing(tent: Form, operator: Browser) -> None:
    """Somebody has changed it while my page was open: I am told, and what I sent is not saved."""
    Product.objects.filter(sku="TENT").update(price_minor=25_000, is_active=False)

    answer = tent.send(name="Tent, green")

    product = Product.objects.get(sku="TENT")
    assert (product.name, product.price_minor, product.is_active) == ("Tent", 25_000, False)
    assert "has been changed since this page was opened" in answer.text
    assert "€250.00" in answer.text


def test_a_price_that_moved_while_i_was_asked_is_asked_again(tent: Form) -> None:
    asked = tent.send(price="200.00")
    Product.objects.filter(sku="TENT").update(price_minor=19_000)

    asked.press("confirmed")

    assert price_of("TENT") == 19_000


def test_a_form_of_an_older_release_changes_nothing(operator: Browser) -> None:
    """It was opened before the deploy, and sends minor units under another name."""
    operator.post(page_of("TENT"), {"name": "Tent", "price_minor": 1, "is_active": "on"})

    assert price_of("TENT") == 18_900


def test_a_new_product_is_asked_for_too(operator: Browser) -> None:
    new = opened(operator, ADD)
    assert new.fields["currency"] == "EUR"

    asked = new.send(sku="LAMP-1", name="Lamp", price="49.90")
    assert not Product.objects.filter(sku="LAMP-1").exists()
    assert "a new product at €49.90" in asked.text
    asked.press("confirmed")

    assert Product.objects.values_list("price_minor", "currency").get(sku="LAMP-1") == (4_990, "EUR")


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("currency", "USD", "This shop sells in EUR"),
        ("currency", "eur", "This shop sells in EUR"),
        ("currency", "XXQ", "This shop sells in EUR"),
        ("sku", "LAMP 1", "letters A to Z, digits"),
        ("sku", "LAMP\u200b1", "letters A to Z, digits"),
        ("sku", "-LAMP", "letters A to Z, digits"),
        ("sku", "tent", "TENT differs from it in capitals alone"),
        ("sku", "TENT", "TENT is there already"),
        ("name", "\u200b\u2060", "Nothing of this can be seen"),
        ("name", "Lamp\u202e", "Control characters"),
    ],
)
def test_what_nobody_could_order_is_refused_where_it_is_entered(operator: Browser, field: str, value: str, message: str) -> None:
    answer = opened(operator, ADD).send(**{"sku": "LAMP-1", "name": "Lamp", "price": "49.90", field: value})

    assert message in answer.text
    assert "confirmed" not in answer.buttons
    assert not Product.objects.filter(name="Lamp").exclude(sku="TENT").exists()


def test_the_list_says_what_is_sold(operator: Browser, settings: Any) -> None:
    """And why something is not."""
    Product.objects.create(sku="FUTON", name="Futon", price_minor=8_420, currency="JPY")

    text = operator.get(LIST).content.decode()

    assert "No: it has no stock level" in text
    assert "No: the shop sells in EUR" in text
    assert "No: it is not active" in text
    assert len(re.findall(r"field-shown_sold[^>]*>\s*Yes", text)) == 2


def test_a_viewer_reads_a_product(client: Client) -> None:
    browser = browser_of("viewer", "view_product")

    answer = browser.get(page_of("TENT"))

    assert answer.status_code == 200
    assert "€189.00" in answer.content.decode()
    assert browser.post(page_of("TENT"), {"price": "1.00"}).status_code == 403
