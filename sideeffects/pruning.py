"""Pruning of the side effects (docs/retention.md): nothing. Deliveries are kept as long as facts, and so is whatever a subscriber has made of them."""

from collections.abc import Mapping

from django.db.models import Exists, Model, OuterRef

from sideeffects.erasure import AT_REST
from sideeffects.models import Circuit, Delivery, RelayHeartbeat, Subscriber

ONE_STATE = "one row for each thing, and it says what is true now"

KEPT: Mapping[type[Model], str] = {
    Subscriber: ONE_STATE,
    Delivery: "which subscriber has heard of which fact: it must not hear of it twice, and its audit sums over what it has heard",
    Circuit: ONE_STATE,
    RelayHeartbeat: ONE_STATE,
}
TABLES_OF_SUBSCRIBERS = "for ever: the audit of the subscriber compares them with all facts that it has heard"

# Why the history of an order is needed whatever its age. Asked of its saga.
NEEDED: Mapping[str, Exists] = {
    "a side effect of it was not delivered": Exists(Delivery.objects.filter(fact__order=OuterRef("order_id")).exclude(state__in=AT_REST))
}
