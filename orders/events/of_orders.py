"""Events of the order itself: how it begins, how it ends, and that a person must decide."""

from dataclasses import dataclass
from typing import ClassVar

from orders.events.event import Event
from orders.events.line import Line


@dataclass(frozen=True, kw_only=True)
class OrderCreated(Event):
    """The order is placed, and its saga is open."""

    type: ClassVar[str] = "order.created"

    currency: str
    total_minor: int
    lines: tuple[Line, ...]


@dataclass(frozen=True, kw_only=True)
class OrderFulfilled(Event):
    """The order is paid, reserved and shipped. ``fulfilled_on`` is the UTC date, ISO 8601. Whoever needs the customer's name reads it from the order.

    Version 1 carried the customer's name and address.
    """

    type: ClassVar[str] = "order.fulfilled"
    version: ClassVar[int] = 2

    currency: str
    total_minor: int
    tracking: str
    fulfilled_on: str
    lines: tuple[Line, ...]


@dataclass(frozen=True, kw_only=True)
class OrderFailed(Event):
    """The order has ended without a parcel, and whatever was done has been compensated, or a person has closed it. ``reason``: the status that it shows."""

    type: ClassVar[str] = "order.failed"

    reason: str
    code: str = ""


@dataclass(frozen=True, kw_only=True)
class OrderCancelled(Event):
    """The order has ended because somebody has cancelled it, and whatever was done has been compensated."""

    type: ClassVar[str] = "order.cancelled"


@dataclass(frozen=True, kw_only=True)
class OrderNeedsAttention(Event):
    """An incident about the order is open: a person must decide. ``amount_minor`` is at risk, in ``currency``."""

    type: ClassVar[str] = "order.needs_attention"

    incident: int
    kind: str
    currency: str
    amount_minor: int

    @property
    def occasion(self) -> str:
        return str(self.incident)
