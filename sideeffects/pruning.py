"""Pruning of the side effects (docs/retention.md): nothing. Deliveries are kept as long as facts, and so is whatever a subscriber has made of them."""

from collections.abc import Mapping

from django.db.models import Exists, Model, OuterRef

from sideeffects.erasure import AT_REST
from sideeffects.models import BusPosition, Circuit, Delivery, RelayHeartbeat, Subscriber

KEPT: tuple[type[Model], ...] = (Subscriber, Delivery, Circuit, RelayHeartbeat, BusPosition)

# Why the history of an order is needed whatever its age. Asked of its saga.
NEEDED: Mapping[str, Exists] = {
    "a side effect of it was not delivered": Exists(Delivery.objects.filter(fact__order=OuterRef("order_id")).exclude(state__in=AT_REST))
}
