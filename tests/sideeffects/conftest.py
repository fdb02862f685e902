"""A fulfilled order whose fact is recorded, without workers: the doors of the registry are opened by hand."""

from collections.abc import Callable

import pytest
from django.contrib.auth.models import User

from orders.events import Line, OrderFulfilled
from orders.models import Order
from sideeffects import outbox
from sideeffects.models import Delivery

Tell = Callable[..., Delivery]


@pytest.fixture
def tell(db: None) -> Tell:
    """Record the fact for one subscriber and return its delivery."""
    client = User.objects.create(username="web-shop")

    def record(subscriber: str, number: str = "ORD-1", email: str = "amara@example.com", skus: tuple[str, ...] = ("A", "B")) -> Delivery:
        columns = {"currency": "EUR", "total_minor": 8420, "customer_email": email, "customer_name": "Amara Okafor"}
        order = Order.objects.create(
            number=number, client=client, idempotency_key=number, shipping_address={}, payment_token="tok_ok", correlation_id="c", **columns
        )
        lines = tuple(Line(sku=sku, name=f"Product {sku}", quantity=2, unit_price_minor=2105) for sku in skus)
        fact = OrderFulfilled(
            number=number,
            email=email,
            name="Amara Okafor",
            currency="EUR",
            total_minor=8420,
            tracking="TR-1",
            fulfilled_on="2026-11-24",
            lines=lines,
        )
        (message,) = outbox.record(fact, order, [subscriber], patience_s=10)
        return Delivery.objects.get(pk=message.delivery)

    return record
