"""Movements of stock: whatever a person has changed, with why and when, is kept for ever. ``record`` alone writes them. It locks the level's row, as orders do."""

from dataclasses import dataclass
from typing import ClassVar
from uuid import UUID

import pgtrigger
from django.db import models
from django.db.models import F, Max, Q
from django.db.models.functions import Coalesce

from fulfillment.clock import ShopNow
from fulfillment.stock import StockLevel

MAX_ON_HAND = 2_147_483_647  # what the columns hold


class Reason(models.TextChoices):
    RECEIVED = "received", "Received"
    RETURNED = "returned", "Returned"
    DAMAGED = "damaged", "Damaged"
    COUNTED = "counted", "Counted"


INCOMING = (Reason.RECEIVED, Reason.RETURNED)


class StockMovement(models.Model):
    """``pieces``: how many more are on hand; below 0: how many fewer. ``on_hand``: after it; of a count, what was seen. Append-only.

    ``request`` is unique, so that a form that is sent twice moves stock once. ``actor`` is empty where code that knew no movements has moved it.
    """

    level = models.ForeignKey(StockLevel, models.PROTECT, related_name="movements")
    reason = models.CharField(max_length=10, choices=Reason)
    pieces = models.IntegerField()
    on_hand = models.IntegerField()
    at = models.DateTimeField(db_default=ShopNow())
    actor = models.CharField(max_length=150)
    note = models.CharField(max_length=200, blank=True)
    request = models.UUIDField(null=True, unique=True)

    class Meta:
        ordering: ClassVar = ["-id"]
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=Q(reason__in=INCOMING, pieces__gt=0) | Q(reason=Reason.DAMAGED, pieces__lt=0) | Q(reason=Reason.COUNTED),
                name="movement_agrees_with_reason",
            )
        ]
        triggers: ClassVar = [pgtrigger.Protect(name="append_only", operation=pgtrigger.Update | pgtrigger.Delete)]

    def __str__(self) -> str:
        return f"{self.level.sku}: {self.reason} {self.pieces:+d}, {self.on_hand} on hand"


class MovementRefused(Exception):
    """Nothing was recorded. The sentence says why."""


class HasMoved(MovementRefused):
    """A person has counted, and the stock has moved since they began."""

    def __init__(self, then: int, now: int) -> None:
        super().__init__(
            f"The stock has moved since this page was opened: {then} on hand then, {now} now. Nothing was recorded. Count again."
        )


@dataclass(frozen=True)
class Seen:
    """What a person was shown of a level before they counted. ``last``: the number of its newest movement. 0: there is none.

    Any movement changes ``last``, and any order changes ``on_hand``. So if both are the same, nothing has moved.
    """

    on_hand: int
    last: int


def seen(level: StockLevel) -> Seen:
    """What is there now. It is one statement, so that nothing moves between both numbers."""
    levels = StockLevel.objects.filter(pk=level.pk).annotate(last=Coalesce(Max("movements__id"), 0)).order_by()
    return Seen(*levels.values_list("on_hand", "last").get())


def lock(sku: str) -> StockLevel:
    """Lock a level: until the caller's transaction ends, no order takes a piece of it, and nobody records a movement."""
    return StockLevel.objects.select_for_update(no_key=True).get(sku=sku)


def change(level: StockLevel, reason: Reason, pieces: int, since: Seen | None) -> int:
    """How many more would be on hand of a locked level; below 0: how many fewer. ``pieces``: how many came or went; of a count, how many are there.

    Raises MovementRefused.
    """
    least = 0 if reason == Reason.COUNTED else 1
    if reason == Reason.COUNTED:
        _refuse_if_moved(level, since)
    if pieces < least:
        raise MovementRefused(f"Write how many pieces: {least} or more.")
    more = {Reason.DAMAGED: -pieces, Reason.COUNTED: pieces - level.on_hand}.get(reason, pieces)
    if level.on_hand + more < level.reserved:
        raise MovementRefused(_promised(level, reason))
    if max(level.on_hand, level.received) + more > MAX_ON_HAND:
        raise MovementRefused(f"There cannot be more than {MAX_ON_HAND:,} of one product.")
    return more


def _refuse_if_moved(level: StockLevel, since: Seen | None) -> None:
    if since is None:
        raise MovementRefused("Nobody can tell what was on hand when you began to count. Nothing was recorded. Open the page again.")
    if since != (now := seen(level)):
        raise HasMoved(since.on_hand, now.on_hand)


def _promised(level: StockLevel, reason: Reason) -> str:
    if reason == Reason.COUNTED:
        return f"Orders under way hold {level.reserved}: there cannot be fewer on hand."
    return f"Orders under way hold {level.reserved} of the {level.on_hand} on hand: at most {level.available} can go."


def earlier(level: StockLevel, reason: Reason, pieces: int, request: UUID | None) -> StockMovement | None:
    """The movement that this very request has recorded. Raises MovementRefused: it has recorded another one."""
    found = StockMovement.objects.filter(request=request).select_related("level").first() if request else None
    if found is None:
        return None
    counted = reason == Reason.COUNTED
    if found.level_id == level.pk and found.reason == reason and (found.on_hand if counted else abs(found.pieces)) == pieces:
        return found
    raise MovementRefused("This form has recorded another movement already. Nothing was recorded now. Open the page again.")


def record(
    sku: str, reason: Reason, pieces: int, *, actor: str, note: str = "", since: Seen | None = None, request: UUID | None = None
) -> StockMovement:
    """Record a movement in the caller's transaction, once per ``request``. ``since``: what the person who counts has been shown. Raises MovementRefused."""
    level = lock(sku)
    if (found := earlier(level, reason, pieces, request)) is not None:
        return found
    more = change(level, reason, pieces, since)
    movement = StockMovement(level=level, reason=reason, pieces=more, on_hand=level.on_hand + more, actor=actor, note=note, request=request)
    movement.save()
    StockLevel.objects.filter(pk=level.pk).update(on_hand=F("on_hand") + more, received=F("received") + more)
    return movement
