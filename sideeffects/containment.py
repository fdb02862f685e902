"""Containment: a page of rows is worked on in one transaction; where that breaks, each row in its own. What breaks alone stops nobody else.

It is left aside for a minute, in this process's memory: that needs no write to a row that perhaps cannot be written.
"""

import logging
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from orders.database import is_our_trouble

log = logging.getLogger(__name__)

ASIDE_FOR_S = 60.0

Found = TypeVar("Found")


class Containment:
    """``what``: what the rows are, for the log."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._until: dict[Any, float] = {}

    def aside(self) -> list[Any]:
        """The keys of the rows that are left alone now."""
        now = time.monotonic()
        self._until = {key: until for key, until in self._until.items() if until > now}
        return list(self._until)

    def work(self, keys: Sequence[Any], on: Callable[[Sequence[Any]], list[Found]]) -> list[Found]:
        """What ``on`` finds, all rows at once or one by one. Raises DatabaseError: the database cannot serve us now, which is no row's fault."""
        try:
            return on(keys)
        except Exception as error:
            if is_our_trouble(error):
                raise
        return [found for key in keys for found in self._alone(key, on)]

    def _alone(self, key: Any, on: Callable[[Sequence[Any]], list[Found]]) -> list[Found]:
        try:
            return on([key])
        except Exception as error:
            if is_our_trouble(error):
                raise
            log.exception("The relay could not work on %s %s; it is left alone for a minute", self._what, key)
            self._until[key] = time.monotonic() + ASIDE_FOR_S
            return []
