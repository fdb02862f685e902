"""Loyalty: one point for every whole unit of currency (ISO 4217: a euro, a yen, a dinar; what is left over earns nothing),
written to the ledger and added to the balance in one transaction.
"""

import hashlib
import secrets
from collections.abc import Iterator
from datetime import datetime

import pgtrigger
from django.db import connection

from orders.events import OrderFulfilled, subscriber
from orders.money import whole_units, whole_units_sql
from orders.named_sql import run
from sideeffects.models import HEARD, HEARD_SINCE, Delivery
from sideeffects.subscribers.loyalty.models import Balance, PointsEntry

ADD_POINTS = """
WITH entry AS (
    INSERT INTO sideeffects_loyalty_pointsentry (account, order_number, points)
    VALUES (%(account)s, %(order)s, %(points)s)
    RETURNING account, points
)
INSERT INTO sideeffects_loyalty_balance AS balance (account, points) SELECT account, points FROM entry
ON CONFLICT (account) DO UPDATE SET points = balance.points + excluded.points
"""

ENTRIES_ARE_OFF = f"""
WITH heard AS ({{heard}}), due AS (
  SELECT payload->>'number' AS order_number, {whole_units_sql("(payload->>'total_minor')::bigint", "payload->>'currency'")} AS points FROM heard
)
SELECT order_number, entry.points, due.points FROM due {{join}} JOIN sideeffects_loyalty_pointsentry entry USING (order_number)
WHERE entry.points IS DISTINCT FROM due.points ORDER BY 1
"""
BALANCES_ARE_OFF = """
WITH due AS (SELECT account, sum(points) AS points FROM sideeffects_loyalty_pointsentry GROUP BY 1)
SELECT account, coalesce(balance.points, 0), coalesce(due.points, 0) FROM due FULL JOIN sideeffects_loyalty_balance balance USING (account)
WHERE balance.points IS DISTINCT FROM due.points ORDER BY 1
"""


def account_of(email: str) -> str:
    """The loyalty account of an e-mail address, whatever its case."""
    return hashlib.sha256(email.strip().lower().encode()).hexdigest()


@subscriber(OrderFulfilled)
def loyalty(event: OrderFulfilled, delivery: Delivery) -> None:
    """The ledger takes one entry per order and no second one; the balance follows it."""
    account, points = account_of(delivery.fact.order.customer_email), whole_units(event.total_minor, event.currency)
    run(ADD_POINTS, {"account": account, "order": event.number, "points": points})


def erase(email: str, write: bool) -> int:
    """The account gets a random name: whoever knows the address does not find it any more. Its points and their sum stay. Returns how many entries."""
    account, nobody = account_of(email), secrets.token_hex(32)
    entries = PointsEntry.objects.filter(account=account)
    if not write:
        return entries.count()
    Balance.objects.filter(account=account).update(account=nobody)
    with pgtrigger.ignore("sideeffects_loyalty.PointsEntry:append_only"):
        return entries.update(account=nobody)


def audit(since: datetime | None) -> Iterator[str]:
    """One entry for each order that was heard of; asked about all of them, also no other entry, and every balance is the sum of its entries."""
    with connection.cursor() as cursor:
        if since is None:
            cursor.execute(ENTRIES_ARE_OFF.format(heard=HEARD, join="FULL"), ["loyalty"])
        else:
            cursor.execute(ENTRIES_ARE_OFF.format(heard=HEARD_SINCE, join="LEFT"), ["loyalty", since])
        for number, points, due in cursor.fetchall():
            yield f"{number}: {_points(points)} in the ledger, {_points(due)} earned"
        if since is not None:
            return
        cursor.execute(BALANCES_ARE_OFF)
        for account, points, due in cursor.fetchall():
            yield f"account {account[:8]}…: a balance of {points}, its entries add up to {due}"


def _points(points: int | None) -> str:
    return "nothing" if points is None else f"{points} points"
