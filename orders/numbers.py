"""Order numbers: from a sequence, so that people can read them out. Nothing may depend on one being issued once: a database that was restored forgets."""

import re

from django.db import connection

from orders.incidents import IncidentKind, IncidentState

PREFIX = "ORD-"
NUMBER = re.compile(rf"{PREFIX}(\d{{1,15}})")
# What the last sweep has judged holds for so long; then nobody knows whether the orders still wait, and new ones are taken.
JUDGED_WITHIN_S = 30
_OPEN = f"EXISTS (SELECT FROM orders_incident WHERE state <> '{IncidentState.RESOLVED.value}' AND kind = "
_IS_CLOSED = f"{_OPEN} '{IncidentKind.FORGOTTEN_ORDERS.value}')"
_IS_OVERLOADED = f"""
{_OPEN} '{IncidentKind.OVERLOADED.value}')
    AND EXISTS (SELECT FROM orders_turnrow WHERE name = 'sweep' AND until > shop_now() - interval '{JUDGED_WITHIN_S} seconds')
""".strip()
# Fragments of the statement that places an order.
NEXT_NUMBER = f"'{PREFIX}' || nextval('orders_order_number')"
ARE_NOT_TAKEN = f"({_IS_CLOSED} OR ({_IS_OVERLOADED}))"
NEWEST = "SELECT number FROM orders_order ORDER BY id DESC LIMIT %s"
SIDE_BY_SIDE = 200  # orders that may be written in another order than their numbers were drawn
# PostgreSQL's SEQ_LOG_VALS: a sequence that was recovered or restored may stand so far ahead of the last number that it has issued.
WRITTEN_AHEAD = 32


class OrdersAreNotTaken(Exception):
    """Providers hold orders that this database has forgotten: a new one could be served with theirs. Nothing was done.

    What the operator does: the runbook forgotten_orders.
    """


class ShopIsOverloaded(Exception):
    """Too many orders wait already (``orders.overload``). Nothing was done.

    What the operator does: the runbook overloaded.
    """


def why_not_taken() -> OrdersAreNotTaken | ShopIsOverloaded:
    """Of an order that was not taken a moment ago."""
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {_IS_CLOSED}")
        return OrdersAreNotTaken() if cursor.fetchone()[0] else ShopIsOverloaded()


def surely_issued() -> int:
    """The greatest number of which this database knows that its order is no newer than its own: an order has it, or the sequence has left it far behind."""
    with connection.cursor() as cursor:
        cursor.execute(NEWEST, [SIDE_BY_SIDE])
        of_orders = [place_of(number) or 0 for (number,) in cursor.fetchall()]
    return max([newest() - WRITTEN_AHEAD - SIDE_BY_SIDE, *of_orders])


def newest() -> int:
    """The last that was issued; 1000: none."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT last_value - CASE WHEN is_called THEN 0 ELSE 1 END FROM orders_order_number")
        return int(cursor.fetchone()[0])


def place_of(number: str) -> int | None:
    """In the sequence. None: it is not from there."""
    found = NUMBER.fullmatch(number)
    return int(found[1]) if found else None


def go_on_behind(place: int) -> None:
    """Never back."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT setval('orders_order_number', greatest(%s, last_value)) FROM orders_order_number", [place])
