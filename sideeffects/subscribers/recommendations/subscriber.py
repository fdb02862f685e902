"""Recommendations: counts of products bought together, updated with each order. The counts commit with the delivery."""

from collections.abc import Iterator
from datetime import datetime

from django.db import connection

from orders.events import OrderFulfilled, subscriber
from orders.named_sql import run
from sideeffects.models import HEARD, Delivery

ADD_PAIRS = """
INSERT INTO sideeffects_recommendations_copurchase AS pair (sku, other, orders)
SELECT a.sku, b.sku, 1 FROM unnest(%(skus)s::text[]) AS a(sku), unnest(%(skus)s::text[]) AS b(sku) WHERE a.sku <> b.sku ORDER BY a.sku, b.sku
ON CONFLICT (sku, other) DO UPDATE SET orders = pair.orders + 1
"""

PAIRS_ARE_OFF = f"""
WITH heard AS ({HEARD}), bought AS (SELECT payload->>'number' AS number, line->>'sku' AS sku FROM heard, jsonb_array_elements(payload->'lines') AS line),
due AS (SELECT a.sku, b.sku AS other, count(*) AS orders FROM bought a JOIN bought b ON a.number = b.number AND a.sku <> b.sku GROUP BY 1, 2)
SELECT sku, other, coalesce(pair.orders, 0), coalesce(due.orders, 0)
FROM due FULL JOIN sideeffects_recommendations_copurchase pair USING (sku, other) WHERE pair.orders IS DISTINCT FROM due.orders ORDER BY 1, 2
"""


@subscriber(OrderFulfilled)
def recommendations(event: OrderFulfilled, delivery: Delivery) -> None:
    """Every pair of the order's products once, in sorted order, so that two orders never wait for each other."""
    run(ADD_PAIRS, {"skus": [line.sku for line in event.lines]})


def audit(since: datetime | None) -> Iterator[str]:
    """Every pair was counted once for each order that was heard of. These are counts of all time, so nothing can be said about new facts alone."""
    if since is not None:
        return
    with connection.cursor() as cursor:
        cursor.execute(PAIRS_ARE_OFF, ["recommendations"])
        for sku, other, orders, due in cursor.fetchall():
            yield f"{sku} with {other}: counted {orders} times, heard of {due} orders"
