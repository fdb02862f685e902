"""Overload: more orders wait for a worker than the shop lets wait. Until enough of them are worked off, new ones are refused.

The sweep judges, in each of its rounds, by the length of the queue of new orders: that costs the same whatever the queue and the tables hold. Its judgement is an
incident. Every web process reads it in the statement that draws an order's number (``orders.numbers``), so all of them refuse, and take orders again, at once.
"""

import threading
import time
from datetime import datetime
from typing import NamedTuple

from django.conf import settings
from django.contrib import messages
from django.db import connection, transaction
from django.http import HttpRequest

from orders.incidents import IncidentKind, IncidentState, open_incident, resolve, unresolved

QUEUE = "saga"  # an order that goes forward has one message in it at most
ENDS_AT = 0.8  # of the limit: else the shop would open and close with every order
SAVED_EVERY_S = 1.0
ACTOR = "sweep"

SAVE = f"""
UPDATE orders_incident SET count = count + %s
WHERE set_config('synchronous_commit', 'off', true) IS NOT NULL AND kind = '{IncidentKind.OVERLOADED}' AND state <> '{IncidentState.RESOLVED}'
"""


class Overload(NamedTuple):
    """``refused``: orders, since ``since``; of each web process those of its last second are missing."""

    since: datetime
    refused: int


def judge(waiting: int | None) -> None:
    """``waiting``: messages in the queue of new orders. None: the broker does not say, and what was judged before holds."""
    if waiting is None:
        return
    limit, known = settings.BACKLOG_LIMIT, unresolved(kind=IncidentKind.OVERLOADED)
    if waiting > limit > 0:
        if not known.exists():
            _begin(waiting, limit)
    elif (limit == 0 or waiting <= ends_at()) and known.exists():
        with transaction.atomic():
            resolve(known, "worked_off", f"{waiting:,} orders are left in the queue", ACTOR)


def ends_at() -> int:
    """So few must wait before orders are taken again."""
    return int(settings.BACKLOG_LIMIT * ENDS_AT)


def _begin(waiting: int, limit: int) -> None:
    message = f"{waiting:,} orders wait for a worker, and {limit:,} may"
    with transaction.atomic():
        open_incident(IncidentKind.OVERLOADED, subject=QUEUE, currency=settings.SHOP_CURRENCY, message=message, count=0)


def refusing() -> Overload | None:
    """None: it is not overloaded."""
    found = unresolved(kind=IncidentKind.OVERLOADED).values_list("opened_at", "count").first()
    return found and Overload(*found)


def say_whether_orders_are_refused(request: HttpRequest) -> None:
    """On whichever page of the admin an operator's day begins."""
    if (refused := refusing()) is not None:
        since = f"{refused.since:%Y-%m-%d %H:%M} UTC, {refused.refused:,} so far"
        sentence = f"New orders are refused since {since}: too many wait for a worker. See docs/runbooks/overloaded.md."
        messages.error(request, sentence)


class _Refusals:
    """Counted in this process, and written once a second: whoever is overloaded has no transaction to spare for each."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._unsaved, self._saved_at = 0, 0.0

    def count(self) -> None:
        if unsaved := self._one_more():
            with connection.cursor() as cursor:
                cursor.execute(SAVE, [unsaved])

    def _one_more(self) -> int:
        """How many are to be written now."""
        with self._lock:
            self._unsaved += 1
            if time.monotonic() - self._saved_at < SAVED_EVERY_S:
                return 0
            unsaved, self._unsaved, self._saved_at = self._unsaved, 0, time.monotonic()
            return unsaved


count_refusal = _Refusals().count
