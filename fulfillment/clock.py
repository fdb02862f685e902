"""One clock: every instant of the engine is the database's ``shop_now()``; the durations here say when the sweep should look again.

All are seconds, already multiplied by TIME_SCALE.
"""

import random
from datetime import datetime, timedelta

from django.conf import settings
from django.db import connection
from django.db.models import DateTimeField, DurationField, ExpressionWrapper, Value

from orders.timeline import ShopNow

__all__ = ["ShopNow", "backoff_s", "in_seconds", "lease_s", "patience_s", "shop_now"]


def shop_now() -> datetime:
    """The database's instant of the current transaction."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT shop_now()")
        (instant,) = cursor.fetchone()
    assert isinstance(instant, datetime)
    return instant


def in_seconds(seconds: float) -> ExpressionWrapper:
    """``shop_now()`` plus ``seconds``, as an expression for an UPDATE."""
    later = ShopNow() + Value(timedelta(seconds=seconds), output_field=DurationField())
    return ExpressionWrapper(later, output_field=DateTimeField())


def lease_s() -> float:
    """A step started longer ago than this has lost its worker."""
    return float(settings.LEASE_S)


def patience_s(relaunches: int) -> float:
    """How long a granted step may wait for its start before its message is published again; doubles with each relaunch."""
    return float(min(settings.PATIENCE_S * 2 ** min(relaunches, 16), settings.PATIENCE_CAP_S))


def backoff_s(tries: int) -> float:
    """The wait after try number ``tries``: doubles, capped, ± 20 % so that a thousand sagas do not come back at once."""
    wait = min(settings.BACKOFF_S * 2 ** min(max(tries - 1, 0), 16), settings.BACKOFF_CAP_S)
    return float(wait * random.uniform(0.8, 1.2))
