"""The backlog: how many deliveries wait, and for how long."""

from django.db import connection
from django.db.models import Q

from orders.clock import in_seconds
from sideeffects.models import IS_OWED, Delivery

UNHEARD = f"""
SELECT subscriber.name, count(*), min(bought.number) FROM orders_fact fact JOIN orders_order bought ON bought.id = fact.order_id
JOIN sideeffects_subscriber subscriber ON {IS_OWED}
WHERE fact.relayed_at IS NULL AND fact.at <= shop_now() - %s * interval '1 second'
    AND NOT EXISTS (SELECT FROM sideeffects_delivery d WHERE d.event_id = fact.id AND d.subscriber = subscriber.name)
GROUP BY subscriber.name
"""


def waiting(for_s: float = 0.0) -> int:
    """How many deliveries have been due, or under way, for at least ``for_s`` seconds. Deliveries that have no row yet are counted too."""
    long_ago = in_seconds(-for_s)
    due_at = Q(wake_at__lt=long_ago) if for_s else Q(wake_at__isnull=False)
    return sum(count for _, count, _ in not_begun(for_s)) + Delivery.objects.filter(due_at | Q(launched_at__lt=long_ago)).count()


def not_begun(for_s: float) -> list[tuple[str, int, str]]:
    """(subscriber, how many, the first order): facts that a subscriber has been owed for ``for_s`` seconds and has no delivery row of."""
    with connection.cursor() as cursor:
        cursor.execute(UNHEARD, [for_s])
        return [(name, count, first) for name, count, first in cursor.fetchall()]
