"""One round of the bus: the events that follow the last one that it has got are sent, and the position is moved.

Facts are numbered after their commit, so no number turns up below one that was seen. If the position cannot be written after the bus has taken a batch, the batch
is sent again: a reader may get an event twice, and recognises it by its id.
"""

import logging
from collections.abc import Callable

from django.conf import settings
from django.db import transaction

from orders import facts, refusals
from orders.clock import ShopNow
from orders.durability import may_be_lost
from orders.facts import Fact
from orders.operators import Actor
from sideeffects.bus.errors import BusTrouble
from sideeffects.bus.kind import Bus
from sideeffects.models import BusPosition

log = logging.getLogger(__name__)

PERMISSION = "sideeffects.replay_delivery"
A_BATCH = 200
BATCHES_A_ROUND = 20


def run_round(bus: Bus, may_go_on: Callable[[], bool]) -> int:
    """Send what follows, 4,000 events at most. Returns how many were sent. Raises BusTrouble: not taken, or the bus has events that the database has not."""
    position = _position(bus)
    sent = 0
    for _ in range(BATCHES_A_ROUND):
        batch = _following(position) if may_go_on() else []
        if not batch:
            break
        bus.publish(batch)
        position = batch[-1].number or position
        _write(published=position, again_from=None)
        sent += len(batch)
    return sent


def ask_again(number: int, actor: Actor) -> None:
    """The next round sends everything from this number on once more, to a bus that has forgotten what it kept. Raises Refused: ``actor`` may not."""
    with refusals.recorded(actor, "send events again", settings.BUS_NAME):
        actor.must_have(PERMISSION, "send events again")
    _write(again_from=number, asked_by=actor.name)
    log.warning("%s has asked for every event from %d on once more", actor.name, number)


def _position(bus: Bus) -> int:
    """The number of the last event that need not be sent."""
    row, last, newest = _row(), facts.next_number() - 1, bus.newest()
    if row is not None and row.again_from is not None:
        bus.forget()
        return row.again_from - 1
    position = (
        _left_off(row, last) if newest is None else newest or max(0, last - settings.BUS_KEEPS)
    )  # one that is empty gets what it would keep
    if position > last:
        raise BusTrouble(
            f"the bus has events up to {position}, and the database only up to {last}: it is older than the bus. "
            "Nothing is sent until somebody has run `manage.py bus --again-from NUMBER`"
        )
    if row is None:
        _write(published=position)
    return position


def _left_off(row: BusPosition | None, last: int) -> int:
    """Of a bus that does not remember. At the very first it begins with what comes: nobody can have subscribed before."""
    return last if row is None else row.published


def _row() -> BusPosition | None:
    return BusPosition.objects.filter(name=settings.BUS_NAME).first()


def _write(**columns: int | str | None) -> None:
    with transaction.atomic():
        may_be_lost()
        BusPosition.objects.update_or_create(name=settings.BUS_NAME, defaults=columns | {"at": ShopNow()})


def _following(position: int) -> list[Fact]:
    return list(facts.numbered_from(position + 1)[:A_BATCH])
