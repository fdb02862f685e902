"""The sweep: looks at every saga that is due and says what is to be published."""

import logging
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta

from django.conf import settings
from django.db import DatabaseError, InterfaceError, OperationalError, connection, transaction
from django.db.models import F, Q

from fulfillment import engine
from fulfillment.clock import ShopNow, in_seconds, patience_s, shop_now
from fulfillment.engine import Launch
from fulfillment.models import Saga, SweepBeat
from fulfillment.recovery import probes
from orders.database import NOT_GRANTED, RACES, sqlstate
from orders.durability import may_be_lost

log = logging.getLogger(__name__)

BATCH = 100
BEAT_EVERY = timedelta(seconds=5)
WAIT_FOR_A_ROW = "500ms"
STANDS_STILL_AFTER = (
    "3s"  # the server ends a look whose process does nothing for so long in the middle of it: the saga is free for the next one
)
NOT_NOW = (*NOT_GRANTED, *RACES)  # these races were lost more than once


def due(may_go_on: Callable[[], bool] = lambda: True) -> Iterator[Launch | None]:
    """Look at every saga that is due, oldest first, each in a transaction of its own, and yield what is to be published; None: nothing, for this one.

    ``may_go_on`` is asked before each look: whoever has lost its turn stops there.
    Pages by (wake_at, id), so that a saga which cannot be worked on (locked, or broken) never blocks the rest.
    """
    now = shop_now()
    after: tuple[datetime, int] | None = None
    while page := _page(now, after):
        for wake_at, saga_id in page:
            if not may_go_on():
                return
            yield _look_safely(saga_id)
            after = (wake_at, saga_id)


def _page(now: datetime, after: tuple[datetime, int] | None) -> list[tuple[datetime, int]]:
    waiting = Saga.objects.filter(wake_at__lte=now).order_by("wake_at", "id")
    if after is not None:
        waiting = waiting.filter(Q(wake_at__gt=after[0]) | Q(wake_at=after[0], id__gt=after[1]))
    return [(wake_at, saga_id) for wake_at, saga_id in waiting.values_list("wake_at", "id")[:BATCH] if wake_at]


def _look_safely(saga_id: int) -> Launch | None:
    try:
        return look(saga_id)
    except DatabaseError as error:
        if sqlstate(error) in NOT_NOW:
            log.warning("Saga %s is held by somebody else; it stays due", saga_id)
        elif isinstance(error, OperationalError | InterfaceError):
            raise  # the database is gone, not this saga broken
        else:
            _could_not(saga_id, error)
    except Exception as error:
        _could_not(saga_id, error)
    return None


def _could_not(saga_id: int, error: Exception) -> None:
    log.exception("The sweep could not work on saga %s", saga_id)
    engine.could_not_be_looked_at(saga_id, type(error).__name__, settings.POISON_AFTER)


@engine.transition
def look(saga_id: int) -> Launch | None:
    """Work on one saga if it is still due and nobody holds its lock; whoever holds one of its other rows is not waited for either."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT set_config('lock_timeout', %s, true), set_config('idle_in_transaction_session_timeout', %s, true)",
            [WAIT_FOR_A_ROW, STANDS_STILL_AFTER],
        )
    waiting = Saga.objects.filter(pk=saga_id, wake_at__lte=ShopNow())
    saga = engine.locking(waiting, skip_locked=True).first()
    if saga is None:
        return None
    if _may_still_wait_in_its_queue(saga):
        may_be_lost()
        engine.postpone(saga)
        return None
    return engine.look(saga, settings.POISON_AFTER)


def _may_still_wait_in_its_queue(saga: Saga) -> bool:
    """Granted and not started: a probe decides whether the message is lost. A cancel does not wait for it, nor what is left to newer code."""
    at = engine.border(saga)
    if at is None or engine.is_newer(saga) or at[0].state not in engine.GRANTED or saga.cancel_requested_at:
        return False
    return not probes.proves_lost("undo" if at[1] else "saga", saga.launched_at)


def not_published(what: Launch) -> None:
    """The broker did not take it: due again after the first patience, which does not grow, because nothing was lost."""
    with transaction.atomic():
        may_be_lost()
        Saga.objects.filter(pk=what.saga, epoch=what.epoch, relaunches__gt=0).update(relaunches=F("relaunches") - 1)
        Saga.objects.filter(pk=what.saga, epoch=what.epoch, wake_at__isnull=False).update(
            launched_at=None, wake_at=in_seconds(patience_s(0))
        )


def beat() -> None:
    """Note that the sweep is at work, at most every five seconds. May be lost: the next one comes."""
    with transaction.atomic():
        may_be_lost()
        if not SweepBeat.objects.filter(pk=1).update(at=ShopNow()):
            SweepBeat.objects.create(pk=1, at=ShopNow(), reconciled_at=ShopNow())


def sweep_age_s() -> float | None:
    """Seconds since the sweep was last at work; None if it never was."""
    last = SweepBeat.objects.filter(pk=1).values_list("at", flat=True).first()
    return None if last is None else (shop_now() - last).total_seconds()


def reconciliation_is_due() -> bool:
    """True once every RECONCILE_EVERY_S, for whoever asks first: it is noted as begun."""
    with transaction.atomic():
        may_be_lost()
        old = Q(reconciled_at__isnull=True) | Q(reconciled_at__lt=in_seconds(-settings.RECONCILE_EVERY_S))
        return bool(SweepBeat.objects.filter(old, pk=1).update(reconciled_at=ShopNow()))
