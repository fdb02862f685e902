"""Replay: a person has seen which dead letters there are, and has them sent again, at a rate that they choose.

Each batch is one transaction. It gives each of its letters an instant, one after the other. If the command is killed, nothing is lost: a letter with an instant
goes out at that instant, the rest are still dead letters, and the same command goes on with them.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Max, QuerySet

from orders import refusals
from orders.clock import shop_now
from orders.operators import Actor
from sideeffects import deliveries
from sideeffects.models import Delivery, DeliveryState


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Which dead letters. An empty field matches all. ``error``: the code of the last error. ``since``, ``until``: when the fact became true."""

    subscriber: str = ""
    error: str = ""
    order: str = ""
    since: datetime | None = None
    until: datetime | None = None

    def letters(self) -> "QuerySet[Delivery]":
        asked: dict[str, Any] = {
            "subscriber": self.subscriber,
            "error_code": self.error,
            "fact__order__number": self.order,
            "fact__at__gte": self.since,
            "fact__at__lte": self.until,
        }
        return Delivery.objects.filter(state=DeliveryState.DEAD, **{name: value for name, value in asked.items() if value})


def replay(selection: Selection, subscribers: set[str], *, actor: Actor, reason: str, rate_per_s: float) -> int:
    """Each letter of these subscribers gets new tries and a new limit in time. Returns how many. Two replays at once send no letter twice. Raises Refused."""
    with refusals.recorded(actor, "replay", selection.order or selection.subscriber):
        actor.must_have("sideeffects.replay_delivery", "replay dead letters")
    detail = {"user": actor.user, "message": reason}

    def send_again(batch: list[Delivery]) -> None:
        start = _behind_those_that_wait(subscribers, rate_per_s)
        for place, letter in enumerate(batch):
            fresh = {"tries": 0, "unspent": 0, "relaunches": 0, "wake_at": start + timedelta(seconds=place / rate_per_s)}
            deliveries.move(letter, DeliveryState.PENDING, code="replay", detail=detail, actor=actor.name, **fresh)

    return deliveries.change_in_batches(selection.letters().filter(subscriber__in=subscribers), send_again)


def _behind_those_that_wait(subscribers: set[str], rate_per_s: float) -> datetime:
    now = shop_now()
    later = Delivery.objects.filter(subscriber__in=subscribers, state=DeliveryState.PENDING, wake_at__gt=now)
    last = later.aggregate(last=Max("wake_at"))["last"]
    return now if last is None else last + timedelta(seconds=1 / rate_per_s)
