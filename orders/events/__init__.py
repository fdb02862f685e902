"""The public events: every fact of an order's life, as whoever reacts to it reads it. docs/events.md lists them.

``event`` says what an event is and how its payload is read. The events stand in ``of_orders``, ``of_payments``, ``of_inventory`` and ``of_shipments``; ``catalogue``
finds one by its type, ``signals`` has a Django signal for each, and ``subscription`` is how a subscriber declares itself.

An event is recorded once (``orders.facts``), by the one place where it becomes true, inside the transaction that makes it true. The signal only says so: who
hears it publishes early, and decides nothing.
"""

from orders.events.catalogue import EVENTS, event_class
from orders.events.errors import EventError, InvalidPayload, NewerVersion
from orders.events.event import Event
from orders.events.line import Line, lines_of
from orders.events.of_inventory import InventoryFailed, InventoryReleased, InventoryReserved
from orders.events.of_orders import OrderCancelled, OrderCreated, OrderFailed, OrderFulfilled, OrderNeedsAttention
from orders.events.of_payments import PaymentCompleted, PaymentFailed, PaymentRefunded, PaymentRefundRequested
from orders.events.of_shipments import ShipmentCreated, ShipmentFailed
from orders.events.signals import order_fulfilled, signal_of
from orders.events.subscription import Subscription, subscriber

__all__ = [
    "EVENTS",
    "Event",
    "EventError",
    "InvalidPayload",
    "InventoryFailed",
    "InventoryReleased",
    "InventoryReserved",
    "Line",
    "NewerVersion",
    "OrderCancelled",
    "OrderCreated",
    "OrderFailed",
    "OrderFulfilled",
    "OrderNeedsAttention",
    "PaymentCompleted",
    "PaymentFailed",
    "PaymentRefundRequested",
    "PaymentRefunded",
    "ShipmentCreated",
    "ShipmentFailed",
    "Subscription",
    "event_class",
    "lines_of",
    "order_fulfilled",
    "signal_of",
    "subscriber",
]
