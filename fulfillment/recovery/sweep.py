"""The sweep: every saga that is due is inspected, whatever is wrong with the others. It publishes nothing itself: it returns the launches."""

import itertools
from collections.abc import Callable, Collection, Iterator
from datetime import datetime, timedelta
from typing import NamedTuple, TypeVar

from django.db import DatabaseError, InterfaceError, transaction
from django.db.models import Exists, F, OuterRef, Q

from fulfillment.clock import furthest_s, in_seconds, patience_s, shop_now
from fulfillment.engine import Launch
from fulfillment.models import DUE_FROM_LAG_S, Quarantine, Saga
from fulfillment.named_statements import SQL
from fulfillment.recovery import quarantine
from fulfillment.recovery.containment import Due, contained, ends_the_connection
from fulfillment.recovery.inspection import WAIT_BRIEFLY, WAIT_FOR_A_ROW, inspect_saga, is_due, move_up, postpone, relaunch, wake_lost
from fulfillment.recovery.sweep_memory import Memory
from orders.clock_watch import ClockWatch
from orders.database import is_unusable
from orders.durability import may_be_lost
from orders.lowwater import A_PAGE

BATCH = A_PAGE
MANY = 5  # fewer are inspected one by one
FAILING = 10  # inspections of one page; then what is wrong with them may be wrong with the rest of it too
LATER = 10_000  # at most so many are inspected after the others

Worked = TypeVar("Worked", int, Launch)


def due(may_go_on: Callable[[], bool] = lambda: True, memory: Memory | None = None) -> Iterator[list[Launch]]:
    """Inspect every saga that is due, oldest first, each in a transaction of its own; then those in quarantine that are due. Yields what is to be published.

    Each list is to be published together: what one saga needs, or a page of sagas that were worked off as one, because they only wait in their queue, or their
    message was plainly lost. It may be empty.
    ``may_go_on`` is asked before each inspection: a sweep that has lost its turn stops there. ``memory``: of this sweep's earlier rounds.
    It reads pages by (due_from, id), from the low-water mark of the rounds before. So a saga that cannot be worked on (locked, or broken) never blocks the rest.
    Nor do thousands of them: where many inspections of a page fail, the rest of that page comes after the other pages.
    """
    memory = memory or Memory()
    wake_lost(memory.proved)
    now = shop_now()
    for saga in itertools.chain(_waiting(now, memory), _left_alone(now, memory), _in_quarantine(now), _too_far_away()):
        if not may_go_on():
            return
        if isinstance(saga, list):
            yield saga
        elif not memory.leaves_alone(saga.saga) and not ends_the_connection(saga, memory):
            yield _inspect_safely(saga, memory)
    memory.mark.reached(now)
    memory.one_by_one = False


def anything_due(memory: Memory) -> bool:
    """Whether a round would find something now. One statement, for a shop in which nothing happens."""
    since = memory.mark.since
    row = SQL.row("anything_due", {"since": since or "-infinity", "furthest": timedelta(seconds=furthest_s())})
    return bool(memory.aside) or row == (True,)


def _waiting(now: datetime, memory: Memory) -> Iterator[Due | list[Launch]]:
    """What has become due since the mark, and one slice of what lies behind the mark. A list: of a page that was worked off as one, what is to be published."""
    mark = memory.mark
    after = (mark.since, 0) if mark.since else None
    later: list[Due] = []
    while page := _page(now, after):
        early = {found.saga for found in page if not is_due(found.wake_at, now)}
        here = [found.saga for found in page if found.saga not in early]
        waits = set(_all_at_once(move_up, early, memory)) | set(_all_at_once(postpone, here, memory))
        lost = [] if memory.was_refused else _all_at_once(relaunch, [saga for saga in here if saga not in waits], memory)
        if waits or lost:
            yield list(lost)  # a queue of thousands is many pages: between them the turn is kept, and circuits and queues are inspected
        waits |= {launch.saga for launch in lost}
        inspections = iter([Due(saga=found.saga, order=found.order) for found in page if found.saga not in waits])
        yield from _until_many_fail(inspections, memory) if len(later) < LATER else inspections
        later += inspections
        after = page[-1].due_from, page[-1].saga
    yield from (Due(saga=found.saga, order=found.order) for found in mark.behind(_slice))
    yield from later


def _until_many_fail(inspections: Iterator[Due], memory: Memory) -> Iterator[Due]:
    """Of ``inspections``, until many have failed. The iterator itself goes on from there."""
    failed_before = memory.contained
    for saga in inspections:
        yield saga
        if memory.contained - failed_before >= FAILING:
            return


def _all_at_once(
    work_off: Callable[[Collection[int], ClockWatch | None], Collection[Worked]], sagas: Collection[int], memory: Memory
) -> Collection[Worked]:
    """What ``work_off`` has worked off. If one of them makes this fail: none, for the rest of the round, and each saga is inspected by itself."""
    if len(sagas) < MANY or memory.one_by_one:
        return []
    try:
        return work_off(sagas, memory.watch)
    except (DatabaseError, InterfaceError) as error:
        memory.one_by_one = True
        if is_unusable(error):
            raise
        return []


class Found(NamedTuple):
    """A saga in the index of what is due. At ``wake_at``, which may be later than ``due_from``, it is."""

    due_from: datetime
    saga: int
    order: int
    wake_at: datetime


def _slice(after: datetime | None, up_to: datetime) -> list[Found]:
    return _page(up_to, (after, 0) if after else None)


def _page(until: datetime, after: tuple[datetime, int] | None) -> list[Found]:
    waiting = Saga.objects.filter(~Exists(Quarantine.objects.filter(pk=OuterRef("pk"))), due_from__lte=until).order_by("due_from", "id")
    if after is not None:
        # The first condition alone bounds what is read of the index; the second only leaves out what was seen.
        waiting = waiting.filter(due_from__gte=after[0]).filter(Q(due_from__gt=after[0]) | Q(id__gt=after[1]))
    columns = waiting.values_list("due_from", "id", "order_id", "wake_at")
    return [Found(due_from, saga_id, order_id, wake_at) for due_from, saga_id, order_id, wake_at in columns[:BATCH] if due_from and wake_at]


def _too_far_away() -> Iterator[Due]:
    """Those that are due later than any rule says: a clock that was ahead has written it."""
    waiting = Saga.objects.filter(
        ~Exists(Quarantine.objects.filter(pk=OuterRef("pk"))),
        due_from__gt=in_seconds(furthest_s() - DUE_FROM_LAG_S),  # read from the index
        wake_at__gt=in_seconds(furthest_s()),
    )
    for saga_id, order_id in waiting.order_by("due_from").values_list("id", "order_id")[:BATCH]:
        yield Due(saga=saga_id, order=order_id)


def _left_alone(now: datetime, memory: Memory) -> Iterator[Due]:
    """Those whose rows somebody held: they are still due, and behind the mark by now."""
    held = memory.to_inspect_again()
    waiting = Saga.objects.filter(pk__in=held, due_from__lte=now).values_list("id", "order_id") if held else []
    yield from (Due(saga=saga_id, order=order_id) for saga_id, order_id in waiting)


def _in_quarantine(now: datetime) -> Iterator[Due]:
    for saga_id, order_id in quarantine.due_again(now):
        yield Due(saga=saga_id, order=order_id, again=True)


def _inspect_safely(saga: Due, memory: Memory) -> list[Launch]:
    launch = None
    with contained(saga, memory):
        launch = inspect_saga(saga.saga, memory.watch, WAIT_BRIEFLY if saga.saga in memory.aside else WAIT_FOR_A_ROW)
        if saga.again:
            quarantine.release(saga.saga, saga.order)
    return [launch] if launch else []


def not_published(what: Launch) -> None:
    """The broker did not take the launch: the saga is due again after the first patience. Nothing was lost, so the patience does not grow, and no time counts."""
    wait_s = patience_s(0)
    with transaction.atomic():
        may_be_lost()
        Saga.objects.filter(pk=what.saga, epoch=what.epoch, relaunches__gt=0).update(relaunches=F("relaunches") - 1)
        Saga.objects.filter(pk=what.saga, epoch=what.epoch, wake_at__isnull=False).update(launched_at=None, wake_at=in_seconds(wait_s))
        Saga.objects.filter(pk=what.saga, epoch=what.epoch, wake_at__isnull=False, held_by="").update(
            paused_s=F("paused_s") + wait_s, deadline_at=F("deadline_at") + timedelta(seconds=wait_s)
        )
