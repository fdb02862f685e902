"""Erasure of a customer from the rows of the side effects: deliveries, and what each subscriber keeps."""

import re
from collections import Counter

from orders.models import Order
from orders.pseudonyms import changed, replace
from sideeffects import discovery
from sideeffects.models import Delivery, DeliveryState

AT_REST = (DeliveryState.DELIVERED, DeliveryState.DISCARDED)


def left_to_do(order: Order) -> str:
    """Why this order still needs to know its customer. Empty: it does not."""
    waiting = Delivery.objects.filter(fact__order=order).exclude(state__in=AT_REST).values_list("subscriber", "state")
    return "".join(f"waits for {name} ({state})" for name, state in waiting[:1])


def erase_order(order: Order, marks: re.Pattern[str], *, write: bool) -> Counter[str]:
    """How many rows about this order name its customer. They are changed only with ``write``."""
    deliveries = changed(Delivery.objects.filter(fact__order=order), marks, "error_message")
    return replace({"deliveries": deliveries}, (), write=write)


def erase_address(email: str, *, write: bool) -> Counter[str]:
    """By subscriber, how many of its rows belong to this address: each does it itself, with the function ``erase`` of its ``subscriber.py``."""
    return +Counter({name: erase(email, write) for name, erase in discovery.functions("erase").items()})
