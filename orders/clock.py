"""One clock: every instant comes from the database's ``shop_now()``, which is ``now()``, overridable per connection so that a simulation can jump.

Durations are seconds; whoever calls has multiplied them by TIME_SCALE.
"""

import random
from datetime import datetime, timedelta
from typing import Any

from django.db.models import DateTimeField, DurationField, ExpressionWrapper, Func, Value

from orders.named_sql import run


class ShopNow(Func):
    """The database's instant of this transaction."""

    function = "shop_now"
    template = "%(function)s()"
    output_field = DateTimeField()


def shop_now() -> datetime:
    """The database's instant of the current transaction."""
    ((instant,),) = run("SELECT shop_now()", {})
    assert isinstance(instant, datetime)
    return instant


def in_seconds(seconds: float) -> "ExpressionWrapper[Any]":
    """``shop_now()`` plus ``seconds``, as an expression for an UPDATE."""
    later = ShopNow() + Value(timedelta(seconds=seconds), output_field=DurationField())
    return ExpressionWrapper(later, output_field=DateTimeField())


def doubled(first_s: float, times: int, cap_s: float) -> float:
    """``first_s`` doubled ``times`` times, at most ``cap_s``."""
    return float(min(first_s * 2 ** min(max(times, 0), 16), cap_s))


def jittered(seconds: float) -> float:
    """± 20 %, so that a thousand waiters do not come back at once."""
    return seconds * random.uniform(0.8, 1.2)
