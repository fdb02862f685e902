"""Movements of stock: whatever a person has changed, why and when, for ever. ``record`` is the only writer; it locks the stock level's row, as orders do."""

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
    """``pieces`` more on hand, or fewer below 0, and ``on_hand`` after it. Of a count, ``on_hand`` is what was seen. Append-only.

    ``request`` is unique, so that a form that is sent twice moves stock once. ``actor`` is empty where code from before the movements has moved it.
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
    """Whoever has counted has counted something else than is there now."""

    def __init__(self, then: int, now: int) -> None:
        super().__init__(
            f"The stock has moved since this page was opened: {then} on hand then, {now} now. Nothing was recorded. Count again."
        )


@dataclass(frozen=True)
class Seen:
    """What somebody was shown of a level before they counted. ``last``: the number of its newest movement; 0 if there is none.

    Both together change with whatever moves, orders included: after the same movements the same number is on hand only if no order has taken any.
    """

    on_hand: int
    last: int


def seen(level: StockLevel) -> Seen:
    """In one statement, so that nothing moves between both."""
    levels = StockLevel.objects.filter(pk=level.pk).annotate(last=Coalesce(Max("movements__id"), 0)).order_by()
    return Seen(*levels.values_list("on_hand", "last").get())


def lock(sku: str) -> StockLevel:
    """No order takes a piece, and nobody records a movement, until the caller's transaction ends."""
    return StockLevel.objects.select_for_update(no_key=True).get(sku=sku)


def change(level: StockLevel, reason: Reason, pieces: int, since: Seen | None) -> int:
    """How many more, or fewer below 0, would be on hand of a locked level. ``pieces``: how many came or went; of a count, how many are there.

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
    """In the caller's transaction. ``since``: what whoever counts has been shown. Under one ``request`` it is recorded once. Raises MovementRefused."""
    level = lock(sku)
    if (found := earlier(level, reason, pieces, request)) is not None:
        return found
    more = change(level, reason, pieces, since)
    movement = StockMovement(level=level, reason=reason, pieces=more, on_hand=level.on_hand + more, actor=actor, note=note, request=request)
    movement.save()
    StockLevel.objects.filter(pk=level.pk).update(on_hand=F("on_hand") + more, received=F("received") + more)
    return movement
