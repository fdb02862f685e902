"""One transition is one transaction: all of it or nothing. Where the database has only lost a race (serialization failure, deadlock), it is run again."""

import functools
import random
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import ParamSpec, TypeVar

from django.db import DatabaseError, connection, transaction

from orders.database import lost_a_race

TRIES = 4

P = ParamSpec("P")
T = TypeVar("T")


def transition(change: Callable[P, T]) -> Callable[P, T]:
    """``change`` in a transaction of its own, at most four times. Within a caller's transaction it is a part of that one, and is not repeated."""
    return _again(change, transaction.atomic)


def repeated(change: Callable[P, T]) -> Callable[P, T]:
    """As ``transition``, for what is one statement, and so a transaction by itself."""
    return _again(change, nullcontext)


def _again(change: Callable[P, T], around: Callable[[], AbstractContextManager[None]]) -> Callable[P, T]:
    @functools.wraps(change)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        if connection.in_atomic_block:
            return change(*args, **kwargs)
        for number in range(1, TRIES + 1):
            try:
                with around():
                    return change(*args, **kwargs)
            except DatabaseError as error:
                if number == TRIES or not lost_a_race(error):
                    raise
                time.sleep(random.uniform(0, 0.02 * number))
        raise AssertionError("unreachable")

    return run
