"""``manage.py seed``: the demo's catalogue, an operator and an API client. Running it again adds what is missing and resets nothing."""

import contextlib
import json
import os
import secrets
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib.auth.hashers import PBKDF2PasswordHasher
from django.contrib.auth.models import User
from django.core.management.base import BaseCommand
from django.db import transaction

from fulfillment import movements
from fulfillment.models import StockLevel
from orders import client_tokens, operators
from orders.client_tokens import NotRecognized
from orders.management.demo_data import PRODUCTS
from orders.models import Product

OPERATOR = "operator"
CLIENT = "web-shop"
ROUNDS = 1_000  # of hashing a new password: nobody guesses 96 random bits, and Django's million takes 0.3 s of each first start. A login raises it to Django's.


class Command(BaseCommand):
    help = "Stock the demo's shop and write its credentials to a file. Example: manage.py seed --credentials .run/credentials.json"

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--credentials", type=Path, required=True, help="JSON file for tokens and admin password; readable by its owner alone"
        )

    @transaction.atomic
    def handle(self, *args: Any, **options: Any) -> None:
        stock_the_shop()
        file: Path = options["credentials"]
        known = json.loads(file.read_text()) if file.exists() else {}
        found: dict[str, Any] = {"token": token_of(known), "admin": {"username": OPERATOR, "password": password_of(known)}}
        found["operator_token"] = operator_token_of(known)
        write_private(file, json.dumps(found))
        self.stdout.write(f"{len(PRODUCTS)} products, operator {OPERATOR!r}, API client {CLIENT!r}; credentials in {file.name}")
        if foreign := Product.objects.filter(sku__in=[item.sku for item in PRODUCTS]).exclude(currency=settings.SHOP_CURRENCY).count():
            message = f"{foreign} of the demo's products have prices in another currency than {settings.SHOP_CURRENCY}: they are not sold."
            self.stdout.write(message)


def stock_the_shop() -> None:
    """Products and stock levels that are missing; what an operator has changed since stays as it is."""
    currency = settings.SHOP_CURRENCY
    Product.objects.bulk_create(
        [Product(sku=item.sku, name=item.name, price_minor=item.price_minor(currency), currency=currency) for item in PRODUCTS],
        ignore_conflicts=True,
    )
    for item in PRODUCTS:
        _, is_new = StockLevel.objects.get_or_create(sku=item.sku, defaults={"on_hand": 0})
        if is_new and item.on_hand:
            movements.record(item.sku, movements.Reason.RECEIVED, item.on_hand, actor="seed", note="the demo's first stock")


def token_of(known: dict[str, Any]) -> str:
    """The token of the file, while it opens something; else a new one."""
    token = str(known.get("token", ""))
    with contextlib.suppress(NotRecognized):
        if client_tokens.recognize(token).client.username == CLIENT:
            return token
    client = User.objects.filter(username=CLIENT).first()
    return (client_tokens.issue(client) if client else client_tokens.add(CLIENT)).secret


def password_of(known: dict[str, Any]) -> str:
    operator, is_new = User.objects.get_or_create(username=OPERATOR, defaults={"is_staff": True, "is_superuser": True})
    password = str(known.get("admin", {}).get("password", ""))
    if not password:
        password, hasher = secrets.token_urlsafe(12), PBKDF2PasswordHasher()
        operator.password = hasher.encode(password, hasher.salt(), iterations=ROUNDS)
        operator.save(update_fields=["password"])
    elif is_new or not operator.check_password(password):  # to look costs as much as to set, on purpose
        operator.set_password(password)
        operator.save(update_fields=["password"])
    return password


def operator_token_of(known: dict[str, Any]) -> str:
    """The operator's token of the file, while it opens something; else a new one."""
    operator = User.objects.get(username=OPERATOR)
    token = str(known.get("operator_token", ""))
    with contextlib.suppress(operators.Refused):
        if operators.by_token(token).user == operator.pk:
            return token
    return operators.issue(operator)


def write_private(file: Path, text: str) -> None:
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as out:
        out.write(text)
