"""Promise: a page is read from an index, whatever it is filtered by and however far behind it lies: what it costs does not grow with the number of orders.

Counted in blocks of the database and not in seconds, so that a busy machine changes nothing.
"""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection

from orders.api import representation as shown
from orders.api import selection
from orders.models import Order

ORDERS = 30_000
FEW = 600  # blocks; the table of orders alone has more
FIRST_DAY = datetime(2026, 1, 1, tzinfo=UTC)

# An order each minute. The product AUTUMN and the customer early@example.com were never seen again after the first fifth, every 30th card was declined, and one
# order has been compensating for weeks.
FILL = """
INSERT INTO orders_order (number, reference, status, failure_code, currency, total_minor, customer_email, customer_name, shipping_address, payment_token, client_id,
    idempotency_key, request_digest, correlation_id, placed_at, updated_at,
    ended_as, settled_at)
SELECT 'ORD-' || n, CASE n %% 3 WHEN 0 THEN 'same' WHEN 1 THEN 'web-' || n ELSE '' END,
    CASE WHEN n = %(orders)s / 2 THEN 'compensating' WHEN n %% 30 = 1 THEN 'payment_failed' ELSE 'fulfilled' END,
    CASE WHEN n %% 30 = 1 THEN 'card_declined' ELSE '' END, 'EUR', 1000,
    CASE WHEN n < %(orders)s / 5 THEN 'early' ELSE 'customer' || n %% 900 END || '@example.com', 'Amara', '{"country": "IE", "city": "Cork"}', 'tok_ok', %(client)s,
    'key' || n, repeat('a', 64), 'c', %(first)s + n * interval '1 minute', %(first)s + n * interval '61 seconds',
    CASE WHEN n = %(orders)s / 2 THEN '' WHEN n %% 30 = 1 THEN 'payment_failed' ELSE 'fulfilled' END,
    CASE WHEN n <> %(orders)s / 2 THEN %(first)s + n * interval '61 seconds' END
FROM generate_series(1, %(orders)s) AS n;
INSERT INTO orders_orderline (order_id, sku, name, quantity, unit_price_minor, client_id, placed_at)
SELECT id, CASE WHEN place < %(orders)s / 5 THEN 'AUTUMN' ELSE 'SKU' || place %% 20 END, 'Tent', 1, 1000, client_id, placed_at
FROM (SELECT *, row_number() OVER (ORDER BY id) AS place FROM orders_order) AS placed;
ANALYZE orders_order; ANALYZE orders_orderline
"""
FILTERS: tuple[dict[str, Any], ...] = (
    {},
    {"status": "fulfilled"},
    {"status": "compensating"},
    {"status": "cancelled"},
    {"status_group": "open"},
    {"status_group": "ended"},
    {"status_group": "failed"},
    {"reference": "same"},
    {"reference": "web-1"},
    {"reference": "café"},
    {"customer_email": "EARLY@example.com"},
    {"customer_email": "customer7@example.com"},
    {"sku": "SKU7"},
    {"sku": "AUTUMN"},
    {"failure_code": "card_declined"},
    {"failure_code": "out_of_stock"},
    {"placed_from": datetime(2026, 1, 3, tzinfo=UTC), "placed_before": datetime(2026, 1, 12, tzinfo=UTC)},
    {"updated_from": datetime(2026, 1, 3, tzinfo=UTC)},
    {"sku": "AUTUMN", "placed_before": datetime(2026, 1, 3, tzinfo=UTC)},
)


@pytest.fixture
def client_id(db: None) -> int:
    client: int = User.objects.create(username="big-shop").pk
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")  # every column is given
        cursor.execute(FILL, {"orders": ORDERS, "client": client, "first": FIRST_DAY})
        cursor.execute("SET LOCAL session_replication_role = origin")
    return client


def blocks(client_id: int, asked: dict[str, Any], position: list[str] | None) -> int:
    """How many the database touches for one page of 25."""
    view = shown.View(tuple(shown.SUMMARY))
    page = selection.page_of(view.load(Order.objects.all()), client_id, asked, position, 26)
    explained: Any = page.explain(format="json", analyze=True, buffers=True)
    plan = json.loads(explained)[0]["Plan"]
    return int(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"])


def test_a_page_costs_the_same_however_many_orders_there_are(client_id: int) -> None:
    """In my third year the list is as quick as on my first day."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_relation_size('orders_order') / current_setting('block_size')::int")
        assert cursor.fetchone()[0] > FEW
    old = Order.objects.get(number=f"ORD-{ORDERS // 10}")

    first = {str(asked): blocks(client_id, asked, None) for asked in FILTERS}
    behind = {str(asked): blocks(client_id, asked, selection.position_of(old, asked)) for asked in FILTERS}

    assert {asked: count for asked, count in first.items() if count > FEW} == {}
    assert {asked: count for asked, count in behind.items() if count > FEW} == {}
