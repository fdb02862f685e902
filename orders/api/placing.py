"""Placing an order: order, lines, saga, journal and idempotency key in one transaction; the chain is launched on commit.

The key stays on the order for ever, so a second order under it is impossible: not after a crash, not in a race.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple
from unicodedata import normalize

from django.conf import settings
from django.contrib.auth.models import User
from django.db import IntegrityError, transaction
from drf_canon.errors import HeaderError
from rest_framework.exceptions import ErrorDetail, ValidationError

from fulfillment import stock, tasks
from orders import overload
from orders.api import digest
from orders.api.problems import KEY_REUSED, NOT_TAKEN, OVERLOADED, REFERENCE_TAKEN, TOTAL_DIFFERS, OrderProblem
from orders.api.serializers import readable_skus, with_lines
from orders.api.unavailable import RETRY_AFTER_S
from orders.clients import lock_reference
from orders.models import Order, OrderLine
from orders.money import MAX_TOTAL_MINOR, money
from orders.named_sql import NamedSql, columns, instance
from orders.numbers import ARE_NOT_TAKEN, NEXT_NUMBER, OrdersAreNotTaken, ShopIsOverloaded, why_not_taken
from orders.pseudonyms import FORGOTTEN

FILE = Path(__file__).with_name("queries.sql")
FRAGMENTS = {
    "is_kept": stock.IS_KEPT,
    "next_number": NEXT_NUMBER,
    "are_not_taken": ARE_NOT_TAKEN,
    "order": columns(Order, "placed"),
}
SQL = NamedSql(FILE, FRAGMENTS)
RETRY_AFTER_OVERLOAD_S = 10  # a queue is not worked off in two seconds
MAX_KEY = 255
# What ``key_of`` takes: visible at both ends, and not an empty pair of quotes.
KEY_PATTERN = r'^(?:[!-~]|[!#-~][!-~]|"[!#-~]|[!-~][ -~]{1,253}[!-~])$'


@dataclass(frozen=True)
class Placed:
    """``lines``: of ``order``. ``replayed``: the key was used for this very order before, and this is that order."""

    order: Order
    lines: list[OrderLine]
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

    Raises ValidationError (a product is unknown or not sold, the total is above its bound), OrderProblem: the key was used for another order, the total is not
    the expected one, the client wants its references unique and this one is taken, or the shop takes no orders,
    or too many wait already.
    """
    if (earlier := _earlier(client, key, wanted)) is not None:
        return Placed(earlier, list(earlier.lines.all()), replayed=True)
    products = _products(wanted["lines"])
    total_minor = _total_minor(wanted["lines"], products)
    _refuse_an_unexpected_total(wanted, total_minor, None)
    try:
        with transaction.atomic():
            _refuse_a_reference_that_is_taken(client, key, wanted["reference"])
            order, lines = _create(client, key, wanted, total_minor, products, correlation_id)
            tasks.start(order)
    except (IntegrityError, _PlacedMeanwhile):
        if (winner := _earlier(client, key, wanted)) is None:
            raise
        return Placed(winner, list(winner.lines.all()), replayed=True)
    except OrdersAreNotTaken:
        message = (
            "The shop takes no orders until a person has looked at something. Nothing was placed. Ask again later, under the same key."
        )
        raise OrderProblem(NOT_TAKEN, message, retry_after_s=RETRY_AFTER_S) from None
    except ShopIsOverloaded:
        overload.count_refusal()
        message = "More orders wait here than the shop gets through in good time. Nothing was placed. Ask again later, under the same key."
        raise OrderProblem(OVERLOADED, message, retry_after_s=RETRY_AFTER_OVERLOAD_S) from None
    return Placed(order, lines, replayed=False)


def refuse_what_was_valid_once(client: User, key: str, faults: ValidationError) -> None:
    """Of a body with ``faults``. Raises OrderProblem: its key has placed an order, so that "nothing was placed" would be wrong: the rules have changed since,
    or the body.
    """
    if (order := _under(client, key)) is not None:
        raise _key_reused(order, "and this body is not valid", faults)


def also_not_sold(faults: Mapping[str, Any], body: Any) -> Mapping[str, Any]:
    """Of a body that is not valid for other reasons: these, and what the catalogue would refuse of it. So a client hears of all at once."""
    skus = readable_skus(body, faults)
    products = _offered(skus.values())
    wrong = {index: {"sku": [fault]} for index, sku in skus.items() if (fault := _unsold(sku, products.get(sku)))}
    return {**faults, "lines": with_lines(faults, wrong)} if wrong else faults


class _Offer(NamedTuple):
    """A product that is sold."""

    sku: str
    name: str
    price_minor: int
    in_stock: bool


class _PlacedMeanwhile(Exception):
    """The same request, at the same time, was faster."""


def _earlier(client: User, key: str, wanted: dict[str, Any]) -> Order | None:
    order = _under(client, key)
    if order is None:
        return None
    if order.customer_name == FORGOTTEN:
        raise _key_reused(order, "and its customer has been forgotten since")
    if not digest.is_same(order, wanted):
        raise _key_reused(order, "with another body")
    _refuse_an_unexpected_total(wanted, order.total_minor, order)
    return order


def _under(client: User, key: str) -> Order | None:
    is_used = SQL.row("is_used", {"client": client.pk, "key": key}) == (True,)
    return Order.objects.get(client_id=client.pk, idempotency_key=key) if is_used else None


def _key_reused(order: Order, but: str, faults: ValidationError | None = None) -> OrderProblem:
    message = f"This key has placed {order.number}, {but}. Nothing was placed now. Read GET /api/v1/orders/{order.number} first: "
    return OrderProblem(KEY_REUSED, message + "it may be the order that you want.", faults, order=order.number)


def _refuse_an_unexpected_total(wanted: dict[str, Any], total_minor: int, placed: Order | None) -> None:
    """``placed``: the order that there is already under this key; a later price is none of its business."""
    expected = wanted.get("expected_total_minor")
    if expected in (None, total_minor):
        return
    members: dict[str, Any] = {"expected_total_minor": expected, "total_minor": total_minor, "currency": wanted["currency"]}
    totals = f"{total_minor} in minor units, and you expected {expected}"
    if placed is not None:
        detail = f"{placed.number} has been placed under this key. It costs {totals}. Nothing was placed now."
        raise OrderProblem(TOTAL_DIFFERS, detail, order=placed.number, **members)
    raise OrderProblem(
        TOTAL_DIFFERS, f"The order would cost {totals}. Nothing was placed. The prices are at GET /api/v1/products.", **members
    )


def _refuse_a_reference_that_is_taken(client: User, key: str, reference: str) -> None:
    """Only where the client wants that; in the transaction that places the order. Raises _PlacedMeanwhile: it is this very request's order that has it."""
    if not reference or not lock_reference(client.pk, normalize("NFC", reference)):
        return
    of_the_reference = Order.objects.filter(client_id=client.pk, reference__in=composed(reference)).order_by("placed_at", "id")
    taken = of_the_reference.values_list("number", "idempotency_key").first()
    if taken is None:
        return
    number, by_key = taken
    if by_key == key:
        raise _PlacedMeanwhile
    raise OrderProblem(
        REFERENCE_TAKEN,
        f"Your reference {reference!r} belongs to {number}. Nothing was placed now. Read GET /api/v1/orders/{number} first.",
        order=number,
    )


def composed(reference: str) -> set[str]:
    """As it may stand in an order that has the same one: a letter is the same however it is composed."""
    return {reference, normalize("NFC", reference), normalize("NFD", reference)}


def _products(lines: list[dict[str, Any]]) -> dict[str, _Offer]:
    """Raises ValidationError: of one at least there is no such product, or no stock level, so that it could be paid and not reserved."""
    found = _offered(line["sku"] for line in lines)
    faults = [_unsold(line["sku"], found.get(line["sku"])) for line in lines]
    if any(faults):
        raise ValidationError({"lines": [{"sku": [fault]} if fault else {} for fault in faults]})
    return found


def _offered(skus: Iterable[str]) -> dict[str, _Offer]:
    rows = SQL.rows("offered", {"currency": settings.SHOP_CURRENCY, "skus": list(skus)})
    return {offer.sku: offer for offer in map(_Offer._make, rows)}


def _unsold(sku: str, product: _Offer | None) -> ErrorDetail | None:
    if product is None:
        return ErrorDetail("No product has this SKU.", "unknown_sku")
    return None if product.in_stock else ErrorDetail(f"{sku} is not sold: the shop keeps no stock of it.", "no_stock_level")


def _total_minor(lines: list[dict[str, Any]], products: dict[str, _Offer]) -> int:
    """Raises ValidationError: more than an order may cost."""
    total_minor: int = sum(products[line["sku"]].price_minor * line["quantity"] for line in lines)
    if total_minor > MAX_TOTAL_MINOR:
        message = f"An order may cost {money(MAX_TOTAL_MINOR, settings.SHOP_CURRENCY)} at most."
        raise ValidationError({"lines": [ErrorDetail(message, "total_too_large")]})
    return total_minor


def _create(
    client: User, key: str, wanted: dict[str, Any], total_minor: int, products: dict[str, _Offer], correlation_id: str
) -> tuple[Order, list[OrderLine]]:
    """Raises OrdersAreNotTaken, ShopIsOverloaded, IntegrityError: this key was used meanwhile."""
    lines = [_line(line["quantity"], products[line["sku"]]) for line in wanted["lines"]]
    values = {
        "client": client.pk,
        "key": key,
        "reference": wanted["reference"],
        "currency": wanted["currency"],
        "total_minor": total_minor,
        "email": wanted["customer"]["email"],
        "name": wanted["customer"]["name"],
        "address": json.dumps(wanted["shipping_address"]),
        "payment_token": wanted["payment"]["token"],
        "correlation_id": correlation_id,
        **digest.columns(wanted),
        "skus": [line.sku for line in lines],
        "names": [line.name for line in lines],
        "quantities": [line.quantity for line in lines],
        "prices_minor": [line.unit_price_minor for line in lines],
    }
    row = SQL.row("place", values)
    if row is None:
        raise why_not_taken()
    order = instance(Order, row[1:])
    order.client = client
    for line, pk in zip(lines, row[0], strict=True):
        line.pk, line.order = pk, order
    read = OrderLine.objects.all()
    read._result_cache = lines  # whoever opens its saga asks for them
    order._prefetched_objects_cache = {"lines": read}  # type: ignore[attr-defined]
    return order, lines


def _line(quantity: int, product: _Offer) -> OrderLine:
    return OrderLine(sku=product.sku, name=product.name, quantity=quantity, unit_price_minor=product.price_minor)
