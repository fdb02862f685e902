"""Recommendations: counts of products bought together, updated with each order. The counts commit with the delivery."""

from django.db import connection

from orders.events import OrderFulfilled, subscriber
from sideeffects.models import Delivery

ADD_PAIRS = """
INSERT INTO sideeffects_recommendations_copurchase AS pair (sku, other, orders)
SELECT a.sku, b.sku, 1 FROM unnest(%(skus)s::text[]) AS a(sku), unnest(%(skus)s::text[]) AS b(sku) WHERE a.sku <> b.sku ORDER BY a.sku, b.sku
ON CONFLICT (sku, other) DO UPDATE SET orders = pair.orders + 1
"""


@subscriber(OrderFulfilled)
def recommendations(event: OrderFulfilled, delivery: Delivery) -> None:
    """Every pair of the order's products once, in sorted order, so that two orders never wait for each other."""
    with connection.cursor() as cursor:
        cursor.execute(ADD_PAIRS, {"skus": [line.sku for line in event.lines]})
