"""The work of one order for whoever writes SQL himself. Each step is one transaction.

A step moves the status of the order only from the one before. If it runs again after a crash, it finds its row moved, and does nothing: the smallest record of a
step that is durable.
"""

import random
from collections.abc import Callable, Generator, Sequence
from typing import Any

import psycopg

PRODUCTS = 100
EFFECTS = ("analytics", "email", "loyalty", "recommendations")
Rows = list[tuple[Any, ...]]
Step = Generator[tuple[str, Sequence[Any]], Rows, None]  # it yields a statement with its values, and is sent the rows

ORDER = """
WITH o AS (INSERT INTO orders (id, customer_id, total_cents) VALUES (%s, %s, %s) RETURNING id)
INSERT INTO order_lines (order_id, product_id, qty, unit_cents)
SELECT o.id, v.product, v.qty, v.unit_cents FROM o, (VALUES (%s, %s, %s), (%s, %s, %s)) v (product, qty, unit_cents)
"""
CHARGED = "UPDATE orders SET status = 'charged' WHERE id = %s AND status = 'pending' RETURNING total_cents"
PAYMENT = "INSERT INTO payments (order_id, amount_cents, gateway_ref) VALUES (%s, %s, %s)"
RESERVED = "UPDATE orders SET status = 'reserved' WHERE id = %s AND status = 'charged' RETURNING 1"
LINES = "SELECT product_id, qty FROM order_lines WHERE order_id = %s ORDER BY product_id"  # in one order: no two of them deadlock
STOCK = "UPDATE stock SET available = available - %s WHERE product_id = %s"
SHIPPED = "UPDATE orders SET status = 'shipped' WHERE id = %s AND status = 'reserved' RETURNING 1"
SHIPMENT = "INSERT INTO shipments (order_id, tracking) VALUES (%s, %s)"
FULFILLED = "UPDATE orders SET status = 'fulfilled', fulfilled_at = clock_timestamp() WHERE id = %s AND status = 'shipped'"
EFFECT = "INSERT INTO effects (order_id, kind) VALUES (%s, %s) ON CONFLICT DO NOTHING"


def lines_of(order: int) -> list[tuple[int, int]]:
    """Two different products, each with a quantity: the same for the same order."""
    rng = random.Random(order)
    return [(product, rng.randint(1, 3)) for product in sorted(rng.sample(range(PRODUCTS), 2))]


def price_cents(product: int) -> int:
    return 1000 + product


def provider(kind: str, order: int) -> str:
    """The outside call: it answers with a reference."""
    return f"{kind}-{order}"


def place(order: int) -> Step:
    lines = lines_of(order)
    total = sum(quantity * price_cents(product) for product, quantity in lines)
    yield ORDER, [order, 1, total, *(value for product, quantity in lines for value in (product, quantity, price_cents(product)))]


def charge(order: int) -> Step:
    reference = provider("pay", order)
    for (total,) in (yield CHARGED, [order]):
        yield PAYMENT, [order, total, reference]


def reserve(order: int) -> Step:
    provider("stock", order)
    if (yield RESERVED, [order]):
        for product, quantity in (yield LINES, [order]):
            yield STOCK, [quantity, product]


def ship(order: int) -> Step:
    tracking = provider("ship", order)
    if (yield SHIPPED, [order]):
        yield SHIPMENT, [order, tracking]


def fulfil(order: int) -> Step:
    yield FULFILLED, [order]


def effect(order: int, kind: str) -> Step:
    yield EFFECT, [order, kind]


STEPS: tuple[Callable[[int], Step], ...] = (charge, reserve, ship, fulfil)


def perform(step: Step, cursor: "psycopg.Cursor[Any]") -> None:
    """Its statements, in the transaction of the cursor."""
    rows: Rows | None = None
    try:
        while True:
            cursor.execute(*(next(step) if rows is None else step.send(rows)))
            rows = cursor.fetchall() if cursor.description else []
    except StopIteration:
        return


async def perform_async(step: Step, cursor: "psycopg.AsyncCursor[Any]") -> None:
    """The same without blocking."""
    rows: Rows | None = None
    try:
        while True:
            await cursor.execute(*(next(step) if rows is None else step.send(rows)))
            rows = await cursor.fetchall() if cursor.description else []
    except StopIteration:
        return
