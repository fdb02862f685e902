"""Placing an order: order, lines, saga, journal and idempotency key in one transaction; the chain is launched on commit.

The key stays on the order for ever, so a second order under it is impossible: not after a crash, not in a race.
"""

import hashlib
import json
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.contrib.auth.models import User
from django.db import IntegrityError, connection, transaction
from drf_canon.errors import HeaderError, ProblemError
from rest_framework.exceptions import ErrorDetail, ValidationError

from fulfillment import tasks
from orders.api.problems import KEY_REUSED
from orders.models import Order, OrderLine, Product
from orders.money import MAX_TOTAL_MINOR, money

MAX_KEY = 255


@dataclass(frozen=True)
class Placed:
    """``replayed``: the key was used for this very order before, and this is that order."""

    order: Order
    replayed: bool


def key_of(header: str | None) -> str:
    """The Idempotency-Key, bare or quoted as in the IETF draft. Raises HeaderError: missing, empty, too long or unprintable."""
    key = (header or "").strip()
    if len(key) >= 2 and key[0] == key[-1] == '"':
        key = key[1:-1]
    if not key:
        raise HeaderError(
            {"Idempotency-Key": [ErrorDetail("Send one key per order, the same with every retry, for example a UUID.", "required")]}
        )
    if len(key) > MAX_KEY or not key.isascii() or not key.isprintable():
        raise HeaderError({"Idempotency-Key": [ErrorDetail(f"At most {MAX_KEY} printable ASCII characters.", "invalid")]})
    return key


def place(client: User, key: str, wanted: dict[str, Any], correlation_id: str) -> Placed:
    """Place the order that ``wanted`` describes (a valid ``RequestedOrder``), or find the one that this key has placed.

    Raises ValidationError (a product is unknown or not sold, the total is above its bound), ProblemError (the key was used for another order).
    """
    digest = hashlib.sha256(json.dumps(wanted, sort_keys=True).encode()).hexdigest()
    if (earlier := _earlier(client, key, digest)) is not None:
        return Placed(earlier, replayed=True)
    products = _products(wanted["lines"])
    total_minor = _total_minor(wanted["lines"], products)
    try:
        with transaction.atomic():
            order = _create(client, key, digest, wanted, products, total_minor, correlation_id)
            tasks.start(order)
    except IntegrityError:
        if (winner := _earlier(client, key, digest)) is None:
            raise
        return Placed(winner, replayed=True)
    return Placed(order, replayed=False)


def _earlier(client: User, key: str, digest: str) -> Order | None:
    order = Order.objects.filter(client_id=client.pk, idempotency_key=key).first()
    if order is not None and order.request_digest != digest:
        raise ProblemError(KEY_REUSED, f"This key has placed {order.number} with another body. Use a new key for a new order.")
    return order


def _products(lines: list[dict[str, Any]]) -> dict[str, Product]:
    sold = Product.objects.filter(is_active=True, currency=settings.SHOP_CURRENCY).in_bulk(
        [line["sku"] for line in lines], field_name="sku"
    )
    if all(line["sku"] in sold for line in lines):
        return sold
    unknown = ErrorDetail("No product has this SKU.", "unknown_sku")
    raise ValidationError({"lines": [{} if line["sku"] in sold else {"sku": [unknown]} for line in lines]})


def _total_minor(lines: list[dict[str, Any]], products: dict[str, Product]) -> int:
    """Raises ValidationError: more than an order may cost."""
    total_minor: int = sum(products[line["sku"]].price_minor * line["quantity"] for line in lines)
    if total_minor > MAX_TOTAL_MINOR:
        told = f"An order may cost {money(MAX_TOTAL_MINOR, settings.SHOP_CURRENCY)} at most."
        raise ValidationError({"lines": [ErrorDetail(told, "total_too_large")]})
    return total_minor


def _create(
    client: User, key: str, digest: str, wanted: dict[str, Any], products: dict[str, Product], total_minor: int, correlation_id: str
) -> Order:
    order = Order.objects.create(
        number=_next_number(),
        reference=wanted["reference"],
        currency=wanted["currency"],
        total_minor=total_minor,
        customer_email=wanted["customer"]["email"],
        customer_name=wanted["customer"]["name"],
        shipping_address=wanted["shipping_address"],
        payment_token=wanted["payment"]["token"],
        client=client,
        idempotency_key=key,
        request_digest=digest,
        correlation_id=correlation_id,
    )
    OrderLine.objects.bulk_create(
        OrderLine(
            order=order,
            sku=line["sku"],
            name=products[line["sku"]].name,
            quantity=line["quantity"],
            unit_price_minor=products[line["sku"]].price_minor,
        )
        for line in wanted["lines"]
    )
    return order


def _next_number() -> str:
    with connection.cursor() as cursor:
        cursor.execute("SELECT nextval('orders_order_number')")
        return f"ORD-{cursor.fetchone()[0]}"
