"""Analytics: daily revenue, and units per product. The sums commit with the delivery, so an event told twice counts once."""

from django.db import connection

from orders.events import OrderFulfilled, subscriber
from sideeffects.models import Delivery

ADD_REVENUE = """
INSERT INTO sideeffects_analytics_dailyrevenue AS sums (day, currency, orders, revenue_minor) VALUES (%s, %s, 1, %s)
ON CONFLICT (day, currency) DO UPDATE SET orders = sums.orders + 1, revenue_minor = sums.revenue_minor + excluded.revenue_minor
"""
ADD_UNITS = """
INSERT INTO sideeffects_analytics_dailyunits AS sums (day, sku, units) VALUES (%s, %s, %s)
ON CONFLICT (day, sku) DO UPDATE SET units = sums.units + excluded.units
"""


@subscriber(OrderFulfilled)
def analytics(event: OrderFulfilled, delivery: Delivery) -> None:
    """One upsert per sum; products in sorted order, so that two orders never wait for each other."""
    with connection.cursor() as cursor:
        cursor.execute(ADD_REVENUE, [event.fulfilled_on, event.currency, event.total_minor])
        for line in sorted(event.lines, key=lambda line: line.sku):
            cursor.execute(ADD_UNITS, [event.fulfilled_on, line.sku, line.quantity])
