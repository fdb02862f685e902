"""Analytics: daily revenue, and units per product. The sums commit with the delivery, so an event that is delivered twice counts once."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta

from django.db import connection

from orders.events import OrderFulfilled, subscriber
from orders.named_sql import run
from sideeffects.models import HEARD_SINCE, Delivery

# The day's revenue first, then its products in sorted order, so that two orders never wait for each other.
ADD = """
WITH revenue AS (
    INSERT INTO sideeffects_analytics_dailyrevenue AS sums (day, currency, orders, revenue_minor)
    VALUES (%(day)s::date, %(currency)s, 1, %(revenue_minor)s)
    ON CONFLICT (day, currency) DO UPDATE SET orders = sums.orders + 1, revenue_minor = sums.revenue_minor + excluded.revenue_minor
    RETURNING day
)
INSERT INTO sideeffects_analytics_dailyunits AS sums (day, sku, units)
SELECT revenue.day, line.sku, sum(line.quantity)
FROM revenue, unnest(%(skus)s::text[], %(quantities)s::bigint[]) AS line(sku, quantity)
GROUP BY revenue.day, line.sku ORDER BY line.sku
ON CONFLICT (day, sku) DO UPDATE SET units = sums.units + excluded.units
"""

EVER = datetime.min.replace(tzinfo=UTC)
# Days from the given one on.
REVENUE_IS_OFF = f"""
WITH heard AS ({HEARD_SINCE}), due AS (
  SELECT (payload->>'fulfilled_on')::date AS day, payload->>'currency' AS currency, count(*) AS orders, sum((payload->>'total_minor')::bigint) AS revenue_minor
  FROM heard WHERE (payload->>'fulfilled_on')::date >= %s GROUP BY 1, 2
), sums AS (SELECT * FROM sideeffects_analytics_dailyrevenue WHERE day >= %s)
SELECT day, currency, coalesce(sums.orders, 0), coalesce(sums.revenue_minor, 0), coalesce(due.orders, 0), coalesce(due.revenue_minor, 0)
FROM due FULL JOIN sums USING (day, currency)
WHERE (sums.orders, sums.revenue_minor) IS DISTINCT FROM (due.orders, due.revenue_minor) ORDER BY 1, 2
"""
UNITS_ARE_OFF = f"""
WITH heard AS ({HEARD_SINCE}), due AS (
  SELECT (payload->>'fulfilled_on')::date AS day, line->>'sku' AS sku, sum((line->>'quantity')::bigint) AS units
  FROM heard, jsonb_array_elements(payload->'lines') AS line WHERE (payload->>'fulfilled_on')::date >= %s GROUP BY 1, 2
), sums AS (SELECT * FROM sideeffects_analytics_dailyunits WHERE day >= %s)
SELECT day, sku, coalesce(sums.units, 0), coalesce(due.units, 0)
FROM due FULL JOIN sums USING (day, sku) WHERE sums.units IS DISTINCT FROM due.units ORDER BY 1, 2
"""


@subscriber(OrderFulfilled)
def analytics(event: OrderFulfilled, delivery: Delivery) -> None:
    """Revenue and units, in one statement."""
    values = {
        "day": event.fulfilled_on,
        "currency": event.currency,
        "revenue_minor": event.total_minor,
        "skus": [line.sku for line in event.lines],
        "quantities": [line.quantity for line in event.lines],
    }
    run(ADD, values)


def audit(since: datetime | None) -> Iterator[str]:
    """Every day's sums are those of the orders that were heard of, each once. ``since``: only days that have begun after it, so that each day is whole."""
    day = (since.astimezone(UTC) + timedelta(days=1)).date() if since else date.min
    begins = datetime.combine(day, time.min, UTC) if since else EVER
    with connection.cursor() as cursor:
        cursor.execute(REVENUE_IS_OFF, ["analytics", begins, day, day])
        for found, currency, orders, revenue, due_orders, due_revenue in cursor.fetchall():
            yield f"{found}: {orders} orders and {revenue} {currency}, heard of {due_orders} and {due_revenue} (minor units)"
        cursor.execute(UNITS_ARE_OFF, ["analytics", begins, day, day])
        for found, sku, units, due in cursor.fetchall():
            yield f"{found}: {units} units of {sku}, heard of {due}"
