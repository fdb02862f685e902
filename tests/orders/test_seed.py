"""Promise: a shop of any currency is seeded with a catalogue that it sells."""

import json
import random
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.hashers import PBKDF2PasswordHasher
from django.contrib.auth.models import User
from django.core.management import call_command

from fulfillment.models import StockLevel, StockMovement
from orders.management.commands import seed
from orders.management.demo_data import CUSTOMERS, PRODUCTS
from orders.management.placing_client import order_body
from orders.models import Product
from tests.orders.conftest import Client

TENT_MINOR = {"EUR": 18_900, "JPY": 189, "KWD": 189_000, "VND": 189, "ISK": 189, "USD": 18_900}


@pytest.mark.django_db
@pytest.mark.parametrize("currency", TENT_MINOR)
def test_what_is_seeded_is_sold(settings: Any, currency: str) -> None:
    """I order the first product that I see, and it is mine."""
    settings.SHOP_CURRENCY = currency
    seed.stock_the_shop()
    client = Client("web-shop")

    shown = client.get("/products?page_size=100").json()["data"]
    answer = client.post(order_body(random.Random(7), CUSTOMERS[0], [(product["sku"], 1) for product in shown], "tok_ok"))

    assert {(product["currency"], product["price_minor"] > 0) for product in shown} == {(currency, True)}
    assert len(shown) == len(PRODUCTS)
    assert {product["sku"]: product["price_minor"] for product in shown}["TENT-2P-GRN"] == TENT_MINOR[currency]
    assert answer.status_code == 201, answer.json()


@pytest.mark.django_db
def test_a_catalogue_of_another_currency_is_reported(settings: Any, tmp_path: Any, capsys: Any) -> None:
    """Whoever changes the currency of a shop that has products hears that these are not sold any more; no price is changed behind anybody's back."""
    seed.stock_the_shop()
    settings.SHOP_CURRENCY = "JPY"

    call_command("seed", "--credentials", str(tmp_path / "credentials.json"))

    assert f"{len(PRODUCTS)} of the demo's products have prices in another currency than JPY: they are not sold." in capsys.readouterr().out
    assert set(Product.objects.values_list("currency", flat=True)) == {"EUR"}


@pytest.mark.django_db
def test_what_is_in_the_demo_s_warehouse_has_come_by_movements() -> None:
    """Seeding again moves nothing."""
    for _ in range(2):
        seed.stock_the_shop()

    moved = list(StockMovement.objects.order_by("level__sku").values_list("level__sku", "reason", "pieces", "on_hand", "actor"))
    assert moved == [(item.sku, "received", item.on_hand, item.on_hand, "seed") for item in sorted(PRODUCTS) if item.on_hand]
    assert StockLevel.objects.values_list("on_hand", "received").get(sku="OUT-OF-STOCK") == (0, 0)


@pytest.mark.django_db
def test_the_operator_of_a_new_shop_can_sign_in_and_keeps_the_password(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Seeding again changes nothing that I have written down; whoever signs in is stored as safely as anybody else."""
    monkeypatch.setattr(PBKDF2PasswordHasher, "iterations", 2 * seed.ROUNDS)  # Django's million takes a second for each look
    file = tmp_path / "credentials.json"
    call_command("seed", "--credentials", str(file))
    first = json.loads(file.read_text())["admin"]

    assert User.objects.get(username=first["username"]).check_password(first["password"])
    call_command("seed", "--credentials", str(file))

    assert json.loads(file.read_text())["admin"] == first
    assert User.objects.get(username=first["username"]).check_password(first["password"])
    assert f"${PBKDF2PasswordHasher.iterations}$" in User.objects.get(username=first["username"]).password
