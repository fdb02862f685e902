"""One Django signal for each type of event, with the argument ``fact``: the event. ``order_fulfilled`` is that of ``order.fulfilled``."""

from django.dispatch import Signal

from orders.events.catalogue import EVENTS
from orders.events.event import Event
from orders.events.of_orders import OrderFulfilled

_SIGNALS = {event.type: Signal() for event in EVENTS}


def signal_of(event: Event | type[Event]) -> Signal:
    return _SIGNALS[event.type]


order_fulfilled = signal_of(OrderFulfilled)
