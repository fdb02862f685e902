"""One transition is one transaction: all of it or nothing, and again where the database has only lost a race."""

import functools
import random
import time
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from django.db import DatabaseError, connection, transaction

from orders.database import lost_a_race

TRIES = 4

P = ParamSpec("P")
T = TypeVar("T")


def transition(change: Callable[P, T]) -> Callable[P, T]:
    """``change`` in a transaction of its own, repeated after a serialization failure or a deadlock; within a caller's transaction, as part of that."""

    @functools.wraps(change)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        if connection.in_atomic_block:
            return change(*args, **kwargs)
        for attempt in range(1, TRIES + 1):
            try:
                with transaction.atomic():
                    return change(*args, **kwargs)
            except DatabaseError as error:
                if attempt == TRIES or not lost_a_race(error):
                    raise
                time.sleep(random.uniform(0, 0.02 * attempt))
        raise AssertionError("unreachable")

    return run
