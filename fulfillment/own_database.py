"""Our own database cannot serve a task: an outcome that is known is recorded as soon as possible, and everything else is put off. Nothing is spent by that.

The provider is not the cause, so no try and no deadline counts (``engine.put_off``). A connection that does not work is dropped where that is noticed
(``orders.postgresql``).
"""

import logging
import math
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from django.conf import settings

from fulfillment import engine
from fulfillment.engine import Claim, Recorded
from orders.database import is_our_trouble, is_timeout, is_unusable

log = logging.getLogger(__name__)

AWAY = 0.9  # of the hard limit, which would end this process: for so long a database that is away is tried again, because nothing else can be done
HELD_S = 1.0  # times TIME_SCALE: for so long a row that somebody holds is tried again; no longer, because others wait for this process


def insist(claim: Claim, began: float, record_outcome: Callable[[], Recorded]) -> Recorded:
    """Record the outcome that this worker has in memory. While our own database cannot take it, try again, for a bounded time.

    ``began``: when the task did, by the monotonic clock.
    Raises DatabaseError: it could not be recorded; or the answer of a commit was lost, and the journal shows that it was committed.
    """
    lost: Exception | None = None
    held_since = math.inf
    while True:
        try:
            if lost is not None and not engine.may_record(claim):
                raise lost
            return record_outcome()
        except Exception as trouble:
            now = time.monotonic()
            held_since = min(held_since, now) if is_timeout(trouble) else math.inf
            is_over = now - held_since > HELD_S * settings.TIME_SCALE or now - began > AWAY * settings.TASK_HARD_LIMIT_S
            if trouble is lost or is_over or not is_our_trouble(trouble):
                raise
            lost = trouble if is_unusable(trouble) else lost
        time.sleep(settings.BACKOFF_S / 4)


@contextmanager
def putting_off(saga: int, epoch: int, name: str, compensating: bool, claim: uuid.UUID | None = None) -> Iterator[None]:
    """What our own database could not serve in the block is put off. The caller then has nothing left to do.

    Raises DatabaseError: the answer of a commit may be lost, and nothing can be put off. An errback reads what the journal says.
    """
    try:
        yield
    except Exception as trouble:
        if not is_our_trouble(trouble):
            raise
        if not _put_off(saga, epoch, name, compensating, claim, is_timeout(trouble)) and is_unusable(trouble):
            raise


def _put_off(saga: int, epoch: int, name: str, compensating: bool, claim: uuid.UUID | None, is_held: bool) -> bool:
    try:
        return engine.put_off(saga, epoch, name, compensating, claim, is_held)
    except Exception as trouble:
        if not is_our_trouble(trouble):
            raise
        log.warning("Saga %s could not even be put off: it is inspected when it is due", saga)
        return False
