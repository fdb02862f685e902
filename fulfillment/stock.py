"""Stock, as orders take it: nothing is ever oversold. Levels change under their row's lock only, and every reservation is a row that is released or consumed once.

Note: saga isolation. The row lock, under which what is free is read, prevents the lost update. A reservation is a semantic lock: it keeps a dirty read from selling
pieces twice. A fuzzy read is possible before anything is reserved. Each case: docs/semantics.md#isolation-between-sagas-anomalies-and-countermeasures.
"""

from collections.abc import Mapping
from typing import ClassVar

import pgtrigger
from django.db import models
from django.db.models import Exists, F, OuterRef

from fulfillment.named_statements import SQL


class StockLevel(models.Model):
    """``on_hand`` pieces are in the warehouse, ``reserved`` of them are promised to orders.

    Pieces come, and are lost, by movements (``fulfillment.movements``). They leave with orders. ``received``: the sum of all movements. Code that knows no movements
    adds only to it; the trigger ``movement_owed`` then makes the movement.
    """

    sku = models.CharField(max_length=40)
    on_hand = models.IntegerField()
    reserved = models.IntegerField(default=0)
    received = models.IntegerField(db_default=0)

    class Meta:
        triggers: ClassVar = [
            pgtrigger.Trigger(
                name="first_received", when=pgtrigger.Before, operation=pgtrigger.Insert, func="NEW.received = NEW.on_hand; RETURN NEW;"
            ),
            pgtrigger.Trigger(
                name="movement_owed",
                when=pgtrigger.After,
                operation=pgtrigger.Insert | pgtrigger.UpdateOf("received"),  # type: ignore[no-untyped-call]
                declare=[("recorded", "integer")],
                func="""
                    SELECT coalesce(sum(pieces), 0) INTO recorded FROM fulfillment_stockmovement WHERE level_id = NEW.id;
                    IF NEW.received <> recorded THEN
                        INSERT INTO fulfillment_stockmovement (level_id, reason, pieces, on_hand, actor, note)
                        VALUES (NEW.id, CASE TG_OP WHEN 'INSERT' THEN 'received' ELSE 'counted' END, NEW.received - recorded, NEW.on_hand, '', '');
                    END IF;
                    RETURN NULL;
                """,
            ),
        ]
        ordering: ClassVar = ["sku"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["sku"], name="stock_once_per_sku"),
            models.CheckConstraint(condition=models.Q(reserved__gte=0) & models.Q(on_hand__gte=F("reserved")), name="stock_never_oversold"),
        ]

    def __str__(self) -> str:
        return f"{self.sku}: {self.available} available"

    @property
    def available(self) -> int:
        return self.on_hand - self.reserved


class Reservation(models.Model):
    """Pieces of one SKU held for one order: a semantic lock on stock, until the saga has ended."""

    class State(models.TextChoices):
        HELD = "held", "Held"
        RELEASED = "released", "Released"
        CONSUMED = "consumed", "Consumed"

    order_number = models.CharField(max_length=20)
    sku = models.CharField(max_length=40)
    quantity = models.PositiveIntegerField()
    state = models.CharField(max_length=10, choices=State, default=State.HELD, db_default=State.HELD)

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["order_number", "sku"], name="reservation_once_per_sku")]

    def __str__(self) -> str:
        return f"{self.quantity} × {self.sku} for {self.order_number} ({self.state})"


# As is_kept, for a statement about rows ``product``.
IS_KEPT = "EXISTS (SELECT FROM fulfillment_stocklevel AS level WHERE level.sku = product.sku)"


def is_kept() -> Exists:
    """For rows with a ``sku``: the shop keeps stock of it. Nothing else is sold, because no order could reserve it."""
    return Exists(StockLevel.objects.filter(sku=OuterRef("sku")))


def is_available() -> Exists:
    """For rows with a ``sku``: a piece of it is promised to nobody now."""
    return Exists(StockLevel.objects.filter(sku=OuterRef("sku"), on_hand__gt=F("reserved")))


class OutOfStock(Exception):
    """Too few pieces of ``sku`` are available."""

    def __init__(self, sku: str) -> None:
        super().__init__(f"{sku} is out of stock")
        self.sku = sku


def reserve(order_number: str, quantities: Mapping[str, int]) -> list[int]:
    """Hold every SKU for the order. Returns the ids of the reservations. Raises OutOfStock: the caller must roll its transaction back.

    Levels are locked sorted by SKU, so that two orders never wait for each other.
    """
    row = SQL.row("reserve", {"order": order_number, "skus": list(quantities), "quantities": list(quantities.values())})
    assert row is not None
    short, ids = row
    if short is not None:
        raise OutOfStock(short)
    return list(ids)


def release(reservation_ids: list[int]) -> None:
    """Give held pieces back. What was released or consumed before stays as it is."""
    _give_back(Reservation.objects.filter(pk__in=reservation_ids))


def release_all(order_number: str) -> None:
    """Give back whatever the order still holds."""
    _give_back(Reservation.objects.filter(order_number=order_number))


def _give_back(reservations: models.QuerySet[Reservation]) -> None:
    for reservation in _take(reservations, Reservation.State.RELEASED):
        StockLevel.objects.filter(sku=reservation.sku).update(reserved=F("reserved") - reservation.quantity)


def consume(order_number: str) -> None:
    """The order's held pieces have left the warehouse. ``on_hand`` and ``reserved`` fall together, once."""
    for reservation in _take(Reservation.objects.filter(order_number=order_number), Reservation.State.CONSUMED):
        StockLevel.objects.filter(sku=reservation.sku).update(
            reserved=F("reserved") - reservation.quantity, on_hand=F("on_hand") - reservation.quantity
        )


def _take(reservations: models.QuerySet[Reservation], to: Reservation.State) -> list[Reservation]:
    taken = list(reservations.select_for_update().filter(state=Reservation.State.HELD).order_by("sku"))
    Reservation.objects.filter(pk__in=[reservation.pk for reservation in taken]).update(state=to)
    return taken
