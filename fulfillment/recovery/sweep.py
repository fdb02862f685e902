"""The sweep: looks at every saga that is due and says what is to be published."""

import itertools
from collections.abc import Callable, Collection, Iterator
from datetime import datetime, timedelta

from django.conf import settings
from django.db import DatabaseError, InterfaceError, connection, transaction
from django.db.models import Exists, F, OuterRef, Q

from fulfillment import engine
from fulfillment.clock import ShopNow, in_seconds, patience_s, shop_now
from fulfillment.engine import Launch
from fulfillment.models import Quarantine, Saga, SweepBeat
from fulfillment.recovery import probes, quarantine
from fulfillment.recovery.containment import ClockHasJumped, Due, HeldBySomebody, Memory, contained, ends_the_connection
from orders.database import is_unusable
from orders.durability import may_be_lost
from orders.lowwater import A_PAGE
from orders.watch import ClockWatch

BATCH = A_PAGE
MANY = 5  # fewer are looked at one by one
FAILING = 10  # looks of one page: what has befallen them has perhaps befallen the rest of it too
LATER = 10_000  # at most so many are looked at after the others
BEAT_EVERY = timedelta(seconds=5)
BEGIN = "SELECT set_config('lock_timeout', %s, true), set_config('idle_in_transaction_session_timeout', %s, true), shop_now()"
WAIT_FOR_A_ROW = "500ms"
WAIT_BRIEFLY = "50ms"  # for the rows of a saga that were held before: hundreds of them must not keep the round from the others
STANDS_STILL_AFTER = (
    "3s"  # the server ends a look whose process does nothing for so long in the middle of it: the saga is free for the next one
)


class JournalIsBroken(Exception):
    """The rows of this saga contradict each other. Nothing was done. What the operator does: the quarantine's runbook."""


def due(may_go_on: Callable[[], bool] = lambda: True, memory: Memory | None = None) -> Iterator[Launch | None]:
    """Look at every saga that is due, oldest first, each in a transaction of its own, and yield what is to be published; None: nothing, for this one, or for a
    page of those that only wait in their queue. Then at those in quarantine whose next look is due.

    ``may_go_on`` is asked before each look: whoever has lost its turn stops there. ``memory``: of this sweep's earlier rounds.
    Pages by (wake_at, id), so that a saga which cannot be worked on (locked, or broken) never blocks the rest; from the low-water mark of the rounds before. Nor
    do thousands of them: where looks of a page fail, the rest of it comes after the other pages.
    """
    memory = memory or Memory()
    now = shop_now()
    for saga in itertools.chain(_waiting(now, memory), _left_alone(now, memory), _in_quarantine(now), _too_far_away()):
        if not may_go_on():
            return
        if not memory.leaves_alone(saga.saga) and not ends_the_connection(saga, memory):
            yield _look_safely(saga, memory)
    memory.mark.reached(now)
    memory.one_by_one = False


def _waiting(now: datetime, memory: Memory) -> Iterator[Due]:
    """What has become due since the mark, and whatever a slice of what lies behind it shows."""
    mark = memory.mark
    after = (mark.since, 0) if mark.since else None
    later: list[Due] = []
    while page := _page(now, after):
        waits = _postponed([saga_id for _, saga_id, _ in page], memory)
        looks = iter([Due(saga=saga_id, order=order_id) for _, saga_id, order_id in page if saga_id not in waits])
        yield from _until_many_fail(looks, memory) if len(later) < LATER else looks
        later += looks
        after = page[-1][:2]
    yield from (Due(saga=saga_id, order=order_id) for _, saga_id, order_id in mark.behind(_slice))
    yield from later


def _until_many_fail(looks: Iterator[Due], memory: Memory) -> Iterator[Due]:
    """``looks`` goes on from where this stops."""
    failed_before = memory.contained
    for saga in looks:
        yield saga
        if memory.contained - failed_before >= FAILING:
            return


def _postponed(sagas: list[int], memory: Memory) -> set[int]:
    """Those that may still wait in their queue. Where one of them makes that fail, none, for the rest of the round: each look tells what is its own saga's."""
    if len(sagas) < MANY or memory.one_by_one:
        return set()
    try:
        return postpone(sagas, memory.watch)
    except (DatabaseError, InterfaceError) as error:
        memory.one_by_one = True
        if is_unusable(error):
            raise
        return set()


def _slice(after: datetime | None, up_to: datetime) -> list[tuple[datetime, int, int]]:
    return _page(up_to, (after, 0) if after else None)


def _page(until: datetime, after: tuple[datetime, int] | None) -> list[tuple[datetime, int, int]]:
    waiting = Saga.objects.filter(~Exists(Quarantine.objects.filter(pk=OuterRef("pk"))), wake_at__lte=until).order_by("wake_at", "id")
    if after is not None:
        # The first condition alone bounds what is read of the index; the second only leaves out what was seen.
        waiting = waiting.filter(wake_at__gte=after[0]).filter(Q(wake_at__gt=after[0]) | Q(id__gt=after[1]))
    columns = waiting.values_list("wake_at", "id", "order_id")
    return [(wake_at, saga_id, order_id) for wake_at, saga_id, order_id in columns[:BATCH] if wake_at]


def _too_far_away() -> Iterator[Due]:
    waiting = Saga.objects.filter(~Exists(Quarantine.objects.filter(pk=OuterRef("pk"))), wake_at__gt=in_seconds(_furthest_s()))
    for saga_id, order_id in waiting.order_by("wake_at").values_list("id", "order_id")[:BATCH]:
        yield Due(saga=saga_id, order=order_id)


def _left_alone(now: datetime, memory: Memory) -> Iterator[Due]:
    """Those that somebody held: still due, and behind the mark by now."""
    held = memory.to_look_again()
    waiting = Saga.objects.filter(pk__in=held, wake_at__lte=now).values_list("id", "order_id") if held else []
    yield from (Due(saga=saga_id, order=order_id) for saga_id, order_id in waiting)


def _in_quarantine(now: datetime) -> Iterator[Due]:
    for saga_id, order_id in quarantine.due_again(now):
        yield Due(saga=saga_id, order=order_id, again=True)


def _look_safely(saga: Due, memory: Memory) -> Launch | None:
    launch = None
    with contained(saga, memory):
        launch = look(saga.saga, memory.watch, WAIT_BRIEFLY if saga.saga in memory.aside else WAIT_FOR_A_ROW)
        if saga.again:
            quarantine.release(saga.saga, saga.order)
    return launch


@engine.transition
def look(saga_id: int, watch: ClockWatch | None = None, wait: str = WAIT_FOR_A_ROW) -> Launch | None:
    """Work on one saga if it is still due; whoever holds one of its rows is not waited for.

    Raises HeldBySomebody: its own; JournalIsBroken; ClockHasJumped. What the ``watch`` has not seen pass is not taken for past.
    """
    _begin(watch, wait)
    waiting = Saga.objects.filter(Q(wake_at__lte=ShopNow()) | Q(wake_at__gt=in_seconds(_furthest_s())), pk=saga_id)
    saga = engine.locking(waiting, skip_locked=True).first()
    if saga is None:
        if waiting.exists():
            raise HeldBySomebody
        return None
    if engine.border(saga) is None and not engine.is_newer(saga) and not engine.left_at_its_end(saga):
        raise JournalIsBroken("It is due, and no step of it is left to do")
    if _may_still_wait_in_its_queue(saga):
        may_be_lost()
        engine.launch_of(saga)  # what cannot be read is found now, and not taken for well again because nothing had to be read
        engine.postpone(saga)
        return None
    return engine.look(saga, settings.POISON_AFTER, None if watch is None else watch.calm_s)


@engine.transition
def postpone(sagas: Collection[int], watch: ClockWatch | None = None) -> set[int]:
    """Those that may still wait in their queue are due later, in one transaction. Raises ClockHasJumped."""
    _begin(watch, WAIT_FOR_A_ROW)
    waits = engine.postpone_all(sagas, {queue: probes.lost_before(queue) for queue in probes.QUEUES})
    for undo in {undo for _, undo in waits}:
        probes.want("undo" if undo else "saga")
    return {saga_id for saga_id, _ in waits}


def _begin(watch: ClockWatch | None, wait: str) -> None:
    """First statement of a look: the limits that are its own, and the instant at which it takes place. Raises ClockHasJumped."""

    def ask() -> datetime:
        with connection.cursor() as cursor:
            cursor.execute(BEGIN, [wait, STANDS_STILL_AFTER])
            instant: datetime = cursor.fetchone()[-1]
        return instant

    if watch is None:
        ask()
    elif jumped_s := watch.look(ask):
        raise ClockHasJumped(jumped_s)


def _furthest_s() -> float:
    """No rule lets a saga wait for longer; what wakes up later was written by a clock that was ahead."""
    return 2 * max(settings.LEASE_S, settings.PATIENCE_CAP_S, settings.BACKOFF_CAP_S)


def _may_still_wait_in_its_queue(saga: Saga) -> bool:
    """Granted and not started: a probe decides whether the message is lost. A cancel does not wait for it, nor what is left to newer code."""
    at = engine.border(saga)
    if at is None or engine.is_newer(saga) or at[0].state not in engine.GRANTED or saga.cancel_requested_at:
        return False
    return not probes.proves_lost("undo" if at[1] else "saga", saga.launched_at)


def not_published(what: Launch) -> None:
    """The broker did not take it: due again after the first patience, which does not grow, because nothing was lost, and costs no time."""
    wait_s = patience_s(0)
    with transaction.atomic():
        may_be_lost()
        Saga.objects.filter(pk=what.saga, epoch=what.epoch, relaunches__gt=0).update(relaunches=F("relaunches") - 1)
        Saga.objects.filter(pk=what.saga, epoch=what.epoch, wake_at__isnull=False).update(launched_at=None, wake_at=in_seconds(wait_s))
        given = {"paused_s": F("paused_s") + wait_s, "deadline_at": F("deadline_at") + timedelta(seconds=wait_s)}
        Saga.objects.filter(pk=what.saga, epoch=what.epoch, wake_at__isnull=False, held_by="").update(**given)


def beat() -> int:
    """Note that the sweep is at work, at most every five seconds. May be lost: the next one comes."""
    with transaction.atomic():
        may_be_lost()
        beaten = SweepBeat.objects.filter(pk=1).update(at=ShopNow())
        if not beaten:
            SweepBeat.objects.create(pk=1, at=ShopNow(), reconciled_at=ShopNow())
    return beaten


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
