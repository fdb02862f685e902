"""The sweep and the operators' verbs. Neither publishes: the sweep returns what to launch, and a verb only makes the saga due now."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

from django.db import DatabaseError, connection, transaction
from django.db.models import F, Q

from fulfillment import engine
from fulfillment.clock import ShopNow, in_seconds, patience_s, shop_now
from fulfillment.engine import Launch
from fulfillment.models import Saga, SweepBeat
from orders.durability import may_be_lost
from orders.timeline import Kind, TimelineEntry

log = logging.getLogger(__name__)

BATCH = 100
BEAT_EVERY = timedelta(seconds=5)
SWEEP_LOCK = 0x5A6A


def due() -> Iterator[Launch]:
    """Look at every saga that is due, oldest first, each in a transaction of its own, and yield what is to be published.

    Pages by (wake_at, id), so that a saga which cannot be worked on (locked, or broken) never blocks the rest.
    """
    now = shop_now()
    after: tuple[datetime, int] | None = None
    while page := _page(now, after):
        for wake_at, saga_id in page:
            launch = _look_safely(saga_id)
            if launch is not None:
                yield launch
            after = (wake_at, saga_id)


def _page(now: datetime, after: tuple[datetime, int] | None) -> list[tuple[datetime, int]]:
    waiting = Saga.objects.filter(wake_at__lte=now).order_by("wake_at", "id")
    if after is not None:
        waiting = waiting.filter(Q(wake_at__gt=after[0]) | Q(wake_at=after[0], id__gt=after[1]))
    return [(wake_at, saga_id) for wake_at, saga_id in waiting.values_list("wake_at", "id")[:BATCH] if wake_at]


def _look_safely(saga_id: int) -> Launch | None:
    try:
        return look(saga_id)
    except DatabaseError:
        raise
    except Exception:
        log.exception("The sweep could not work on saga %s; it stays due", saga_id)
        return None


def look(saga_id: int) -> Launch | None:
    """Work on one saga if it is still due and nobody holds its lock."""
    with transaction.atomic():
        waiting = Saga.objects.filter(pk=saga_id, wake_at__lte=ShopNow())
        saga = engine.locking(waiting, skip_locked=True).first()
        return engine.look(saga) if saga else None


def not_published(what: Launch) -> None:
    """The broker did not take it: due again after the first patience, which does not grow, because nothing was lost."""
    with transaction.atomic():
        may_be_lost()
        Saga.objects.filter(pk=what.saga, epoch=what.epoch, relaunches__gt=0).update(
            relaunches=F("relaunches") - 1, wake_at=in_seconds(patience_s(0))
        )


@contextmanager
def turn() -> Iterator[bool]:
    """True for the one sweep that may work on this round; the others try again at their next one."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(%s)", [SWEEP_LOCK])
        mine = bool(cursor.fetchone()[0])
    try:
        yield mine
    finally:
        if mine:
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_advisory_unlock(%s)", [SWEEP_LOCK])


def beat() -> None:
    """Note that a round of the sweep is finished, at most every five seconds. May be lost: the next one comes."""
    with transaction.atomic():
        may_be_lost()
        if not SweepBeat.objects.filter(pk=1).update(at=ShopNow()):
            SweepBeat.objects.create(pk=1, at=ShopNow())


def sweep_age_s() -> float | None:
    """Seconds since the sweep last finished a round; None if it never did."""
    last = SweepBeat.objects.filter(pk=1).values_list("at", flat=True).first()
    return None if last is None else (shop_now() - last).total_seconds()


def cancel(order_number: str, actor: str) -> str:
    """Record a cancel under the saga's row lock, to be honoured at the next step border.

    "accepted", "already" (it is being undone, or was), or "too_late" (shipped). Raises Saga.DoesNotExist.
    """
    with transaction.atomic():
        saga = engine.locking(Saga.objects.filter(order__number=order_number)).get()
        return engine.request_cancel(saga, actor)


def retry_now(order_number: str, actor: str) -> str:
    """Make a saga that waits for its next try due now, under the same key: "due", or "nothing_waits". Raises Saga.DoesNotExist."""
    with transaction.atomic():
        saga = engine.locking(Saga.objects.filter(order__number=order_number)).get()
        at = engine.border(saga)
        if at is None or at[0].state not in engine.WAITING:
            return "nothing_waits"
        Saga.objects.filter(pk=saga.pk).update(wake_at=ShopNow())
        TimelineEntry.objects.create(
            order_id=saga.order_id, kind=Kind.OPERATOR, name=at[0].name, code="retry_now", epoch=saga.epoch, actor=actor
        )
        return "due"
