"""Events of the parcel."""

from dataclasses import dataclass
from typing import ClassVar

from orders.events.attempt import EARLIER, EventOfAttempt, EventOfEffect


@dataclass(frozen=True, kw_only=True)
class ShipmentCreated(EventOfEffect):
    """A parcel is booked. ``tracking``: the carrier's tracking number; empty if there is none."""

    type: ClassVar[str] = "shipment.created"
    earlier: ClassVar[int] = EARLIER

    tracking: str = ""


@dataclass(frozen=True, kw_only=True)
class ShipmentFailed(EventOfAttempt):
    """The order turns back because no parcel could be booked. ``code``: why."""

    type: ClassVar[str] = "shipment.failed"
    earlier: ClassVar[int] = EARLIER

    code: str = ""
