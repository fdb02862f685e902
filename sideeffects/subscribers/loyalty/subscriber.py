"""Loyalty: one point for every whole unit of currency, written to the ledger and added to the balance in one transaction."""

import hashlib

from django.db import connection

from orders.events import OrderFulfilled, subscriber
from sideeffects.models import Delivery
from sideeffects.subscribers.loyalty.models import PointsEntry

ADD_POINTS = """
INSERT INTO sideeffects_loyalty_balance AS balance (account, points) VALUES (%s, %s)
ON CONFLICT (account) DO UPDATE SET points = balance.points + excluded.points
"""


def account_of(email: str) -> str:
    """The loyalty account of an e-mail address, whatever its case."""
    return hashlib.sha256(email.strip().lower().encode()).hexdigest()


@subscriber(OrderFulfilled)
def loyalty(event: OrderFulfilled, delivery: Delivery) -> None:
    """The ledger takes one entry per order and no second one; the balance follows it."""
    account, points = account_of(event.email), event.total_minor // 100
    PointsEntry.objects.create(account=account, order_number=event.number, points=points)
    with connection.cursor() as cursor:
        cursor.execute(ADD_POINTS, [account, points])
