"""Inspection: the sweep inspects one saga that is due, in a transaction of its own, and does what its journal asks for. Locked rows are not waited for."""

from collections.abc import Collection
from datetime import datetime, timedelta

from django.conf import settings
from django.db import connection
from django.db.models import Q

from fulfillment import engine
from fulfillment.clock import ShopNow, furthest_s, in_seconds
from fulfillment.engine import Launch
from fulfillment.models import Saga
from fulfillment.recovery.containment import ClockHasJumped, RowsLocked
from fulfillment.recovery.queue_probes import QUEUES, probes
from orders.clock_watch import ClockWatch
from orders.durability import may_be_lost
from orders.queue_probes import lost_before

BEGIN = "SELECT set_config('lock_timeout', %s, true), set_config('idle_in_transaction_session_timeout', %s, true), shop_now()"
WAIT_FOR_A_ROW = "500ms"
WAIT_BRIEFLY = "50ms"  # for rows that were held at an earlier inspection: hundreds of them must not keep the round from the others
STANDS_STILL_AFTER = "3s"  # an inspection whose process stops in the middle of it for so long is ended by the server, and frees the saga


class JournalIsBroken(Exception):
    """The rows of this saga contradict each other. Nothing was done. What the operator does: the quarantine's runbook."""


@engine.transition
def inspect_saga(saga_id: int, watch: ClockWatch | None = None, wait: str = WAIT_FOR_A_ROW) -> Launch | None:
    """Work on one saga if it is still due. Returns what is to be published. Whoever holds one of its rows is not waited for.

    Afterwards its ``due_from`` lies where its ``wake_at`` does: the sweep has read the index up to here, and finds only what comes later.

    Raises RowsLocked: somebody else holds the saga's own row; JournalIsBroken; ClockHasJumped. What the ``watch`` has not seen pass is not taken for past.
    """
    now = _begin(watch, wait)
    waiting = Saga.objects.filter(Q(due_from__lte=ShopNow()) | Q(wake_at__gt=in_seconds(furthest_s())), pk=saga_id)
    saga = engine.locking(waiting, skip_locked=True).first()
    if saga is None:
        if waiting.exists():
            raise RowsLocked
        return None
    launch = _inspect(saga, watch) if is_due(saga.wake_at, now) else None
    engine.move_up(saga)
    return launch


def is_due(wake_at: datetime | None, now: datetime) -> bool:
    """An instant further away than any rule says was written by a clock that was ahead. It is due."""
    return wake_at is not None and not now < wake_at <= now + timedelta(seconds=furthest_s())


def _inspect(saga: Saga, watch: ClockWatch | None) -> Launch | None:
    if engine.current_action(saga) is None and not engine.is_newer(saga) and not engine.left_at_its_end(saga):
        raise JournalIsBroken("It is due, and no step of it is left to do")
    if _may_still_wait_in_its_queue(saga):
        may_be_lost()
        engine.launch_of(saga)  # what cannot be read is found now, and not taken for well again because nothing had to be read
        engine.postpone(saga)
        return None
    return engine.inspect_saga(saga, settings.POISON_AFTER, None if watch is None else watch.calm_s)


@engine.transition
def postpone(sagas: Collection[int], watch: ClockWatch | None = None) -> set[int]:
    """Those whose message may still wait in its queue are due later, in one transaction. Returns them. Raises ClockHasJumped."""
    _begin(watch, WAIT_FOR_A_ROW)
    waits = engine.postpone_all(sagas, {queue: lost_before(queue) for queue in QUEUES})
    for compensating in {compensating for _, compensating in waits}:
        probes.want("compensation" if compensating else "saga")
    return {saga_id for saga_id, _ in waits}


def wake_lost(proved: dict[str, datetime]) -> None:
    """What a probe has proved lost since is due now: it need not wait for its next inspection. ``proved``: queue → up to when this was asked already."""
    for queue in QUEUES:
        before = lost_before(queue)
        if before is not None and before != proved.get(queue) and engine.wake_lost(queue == "compensation", before) < engine.WOKEN:
            proved[queue] = before


@engine.transition
def relaunch(sagas: Collection[int], watch: ClockWatch | None = None) -> list[Launch]:
    """Those whose message is lost, and about which nothing else is to be said, in one transaction. What is to be published. Raises ClockHasJumped."""
    _begin(watch, WAIT_FOR_A_ROW)
    return engine.relaunch_all(sagas, lost_before("saga"))


@engine.transition
def move_up(sagas: Collection[int], watch: ClockWatch | None = None) -> set[int]:
    """Those that are not due yet are met again when they are, in one transaction. Returns them. Raises ClockHasJumped."""
    _begin(watch, WAIT_FOR_A_ROW)
    return engine.move_up_all(sagas)


def _begin(watch: ClockWatch | None, wait: str) -> datetime:
    """The first statement of an inspection: it sets the limits of this transaction, and reads the clock, which it returns. Raises ClockHasJumped."""
    seen: list[datetime] = []

    def ask() -> datetime:
        with connection.cursor() as cursor:
            cursor.execute(BEGIN, [wait, STANDS_STILL_AFTER])
            seen.append(cursor.fetchone()[-1])
        return seen[-1]

    if watch is None:
        ask()
    elif jumped_s := watch.jumped_s(ask):
        raise ClockHasJumped(jumped_s)
    return seen[-1]


def _may_still_wait_in_its_queue(saga: Saga) -> bool:
    """The step was scheduled and not started, and no probe has proved its message lost. A cancel does not wait for that, nor does what is left to newer code."""
    at = engine.current_action(saga)
    if at is None or engine.is_newer(saga) or at.state != engine.ActionState.SCHEDULED or saga.cancel_requested_at:
        return False
    return not probes.proves_lost("compensation" if at.is_compensation else "saga", saga.launched_at)
