"""Analytics: daily revenue, and units per product. The sums commit with the delivery, so an event told twice counts once."""

from collections.abc import Iterator

from django.db import connection

from orders.events import OrderFulfilled, subscriber
from sideeffects.models import HEARD, Delivery

ADD_REVENUE = """
INSERT INTO sideeffects_analytics_dailyrevenue AS sums (day, currency, orders, revenue_minor) VALUES (%s, %s, 1, %s)
ON CONFLICT (day, currency) DO UPDATE SET orders = sums.orders + 1, revenue_minor = sums.revenue_minor + excluded.revenue_minor
"""
ADD_UNITS = """
INSERT INTO sideeffects_analytics_dailyunits AS sums (day, sku, units) VALUES (%s, %s, %s)
ON CONFLICT (day, sku) DO UPDATE SET units = sums.units + excluded.units
"""

REVENUE_IS_OFF = f"""
WITH heard AS ({HEARD}), due AS (
  SELECT (payload->>'fulfilled_on')::date AS day, payload->>'currency' AS currency, count(*) AS orders, sum((payload->>'total_minor')::bigint) AS revenue_minor
  FROM heard GROUP BY 1, 2
)
SELECT day, currency, coalesce(sums.orders, 0), coalesce(sums.revenue_minor, 0), coalesce(due.orders, 0), coalesce(due.revenue_minor, 0)
FROM due FULL JOIN sideeffects_analytics_dailyrevenue sums USING (day, currency)
WHERE (sums.orders, sums.revenue_minor) IS DISTINCT FROM (due.orders, due.revenue_minor) ORDER BY 1, 2
"""
UNITS_ARE_OFF = f"""
WITH heard AS ({HEARD}), due AS (
  SELECT (payload->>'fulfilled_on')::date AS day, line->>'sku' AS sku, sum((line->>'quantity')::bigint) AS units
  FROM heard, jsonb_array_elements(payload->'lines') AS line GROUP BY 1, 2
)
SELECT day, sku, coalesce(sums.units, 0), coalesce(due.units, 0)
FROM due FULL JOIN sideeffects_analytics_dailyunits sums USING (day, sku) WHERE sums.units IS DISTINCT FROM due.units ORDER BY 1, 2
"""


@subscriber(OrderFulfilled)
def analytics(event: OrderFulfilled, delivery: Delivery) -> None:
    """One upsert per sum; products in sorted order, so that two orders never wait for each other."""
    with connection.cursor() as cursor:
        cursor.execute(ADD_REVENUE, [event.fulfilled_on, event.currency, event.total_minor])
        for line in sorted(event.lines, key=lambda line: line.sku):
            cursor.execute(ADD_UNITS, [event.fulfilled_on, line.sku, line.quantity])


def audit() -> Iterator[str]:
    """Every day's sums are those of the orders that were heard of, each once."""
    with connection.cursor() as cursor:
        cursor.execute(REVENUE_IS_OFF, ["analytics"])
        for day, currency, orders, revenue, due_orders, due_revenue in cursor.fetchall():
            yield f"{day}: {orders} orders and {revenue} {currency}, heard of {due_orders} and {due_revenue} (minor units)"
        cursor.execute(UNITS_ARE_OFF, ["analytics"])
        for day, sku, units, due in cursor.fetchall():
            yield f"{day}: {units} units of {sku}, heard of {due}"
