"""Fault containment: a page of rows is worked on in one transaction. If that fails, each row gets a transaction of its own, so a broken row stops no other row.

A broken row is left aside for a minute, in the memory of this process: perhaps the row itself cannot be written.

Another session may lock what one row needs (its order, for a history entry), or a table that all rows need. Only a try for each row shows which. Each try waits
for a short time only, and after many refusals in a row the page is given up.
"""

import logging
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from django.db import transaction

from orders.database import is_our_trouble, is_timeout, wait_for_locks

log = logging.getLogger(__name__)

ASIDE_FOR_S = 60.0
BRIEFLY_S = 0.05
TIMEOUTS_IN_A_ROW = 20

Found = TypeVar("Found")


class Containment:
    """``what``: what the rows are, for the log."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._until: dict[Any, float] = {}

    def keys(self) -> list[Any]:
        """The keys of the rows that are left aside now."""
        now = time.monotonic()
        self._until = {key: until for key, until in self._until.items() if until > now}
        return list(self._until)

    def work(self, keys: Sequence[Any], on: Callable[[Sequence[Any]], list[Found]]) -> list[Found]:
        """What ``on`` returns for all rows at once, or row by row. Raises DatabaseError: the database cannot serve us now, and no row is to blame."""
        try:
            return on(keys)
        except Exception as error:
            if is_our_trouble(error) and not is_timeout(error):
                raise
        return self._one_by_one(keys, on)

    def _one_by_one(self, keys: Sequence[Any], on: Callable[[Sequence[Any]], list[Found]]) -> list[Found]:
        """If the page is given up, the rows before that are committed, so their results are returned."""
        found: list[Found] = []
        timeouts = 0
        for key in keys:
            try:
                with transaction.atomic():
                    wait_for_locks(BRIEFLY_S)
                    found += on([key])
                timeouts = 0
            except Exception as error:
                timeouts = timeouts + 1 if is_timeout(error) else 0
                if timeouts == TIMEOUTS_IN_A_ROW or (is_our_trouble(error) and not timeouts):
                    if found:
                        break
                    raise
                self._leave_alone(key, error)
        return found

    def _leave_alone(self, key: Any, error: Exception) -> None:
        if is_timeout(error):
            log.warning("Somebody holds what %s %s needs; it is left alone for a minute", self._what, key)
        else:
            log.error("The relay could not work on %s %s; it is left alone for a minute", self._what, key, exc_info=error)
        self._until[key] = time.monotonic() + ASIDE_FOR_S
