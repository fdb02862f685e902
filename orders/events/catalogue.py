"""The catalogue: every event by its type. A new event has a class, and its line here."""

from orders.events.event import Event
from orders.events.of_inventory import InventoryFailed, InventoryReleased, InventoryReserved
from orders.events.of_orders import OrderCancelled, OrderCreated, OrderFailed, OrderFulfilled, OrderNeedsAttention
from orders.events.of_payments import PaymentCompleted, PaymentFailed, PaymentRefunded, PaymentRefundRequested
from orders.events.of_shipments import ShipmentCreated, ShipmentFailed

EVENTS: tuple[type[Event], ...] = (
    OrderCreated,
    PaymentCompleted,
    PaymentFailed,
    InventoryReserved,
    InventoryFailed,
    ShipmentCreated,
    ShipmentFailed,
    PaymentRefundRequested,
    PaymentRefunded,
    InventoryReleased,
    OrderFulfilled,
    OrderFailed,
    OrderCancelled,
    OrderNeedsAttention,
)
_BY_TYPE = {event.type: event for event in EVENTS}


def event_class(type_: str) -> type[Event] | None:
    """The class of events of this type. None: only newer code knows it."""
    return _BY_TYPE.get(type_)
