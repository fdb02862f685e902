"""Events of the stock that an order holds."""

from dataclasses import dataclass
from typing import ClassVar

from orders.events.attempt import EARLIER, EventOfAttempt, EventOfEffect


@dataclass(frozen=True, kw_only=True)
class InventoryReserved(EventOfEffect):
    """The pieces of every line are held for the order."""

    type: ClassVar[str] = "inventory.reserved"
    earlier: ClassVar[int] = EARLIER


@dataclass(frozen=True, kw_only=True)
class InventoryFailed(EventOfAttempt):
    """The order turns back because of its stock. ``code``: why."""

    type: ClassVar[str] = "inventory.failed"
    earlier: ClassVar[int] = EARLIER

    code: str = ""


@dataclass(frozen=True, kw_only=True)
class InventoryReleased(EventOfEffect):
    """The pieces that were held for the order are free again."""

    type: ClassVar[str] = "inventory.released"
    earlier: ClassVar[int] = EARLIER
