"""A fulfilled order whose fact is recorded, without workers: a test runs the tasks itself."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
from django.contrib.auth.models import User
from django.db import connection

from orders import facts
from orders.events import Line, OrderFulfilled
from orders.models import Fact, Order, OrderLine
from sideeffects import delivery_try, discovery, tasks
from sideeffects.models import Delivery, Subscriber

ALL_LOST, NONE_LOST = datetime(2100, 1, 1, tzinfo=UTC), None  # what was published before this instant is lost


@dataclass(frozen=True)
class Owed:
    """One fact, and a subscriber to whom it is owed."""

    fact: Fact
    subscriber: str

    def run(self) -> str:
        """What a worker does with its message."""
        return str(tasks.TASKS[self.subscriber](fact=str(self.fact.pk), order=self.fact.order.number))

    @property
    def delivery(self) -> Delivery:
        """Its row. Raises Delivery.DoesNotExist: nobody has written one."""
        return Delivery.objects.get(fact=self.fact, subscriber=self.subscriber)

    def row(self) -> tuple[str, int, str]:
        """(state, tries, error) of its row."""
        return self.delivery.state, self.delivery.tries, self.delivery.error_code


RecordFact = Callable[..., Owed]


def wanting(*names: str) -> dict[str, set[str]]:
    """Subscribers that react to fulfilled orders, as they are registered."""
    return {name: {OrderFulfilled.type} for name in names}


@pytest.fixture
def record_fact(db: None) -> RecordFact:
    """Record the fact of a fulfilled order, as the core does it, for one subscriber."""
    client = User.objects.create(username="web-shop")

    def record(
        subscriber: str,
        number: str = "ORD-1",
        email: str = "amara@example.com",
        skus: tuple[str, ...] = ("A", "B"),
        currency: str = "EUR",
        total_minor: int = 8420,
    ) -> Owed:
        columns = {"currency": currency, "total_minor": total_minor, "customer_email": email, "customer_name": "Amara Okafor"}
        order = Order.objects.create(
            number=number, client=client, idempotency_key=number, shipping_address={}, payment_token="tok_ok", correlation_id="c", **columns
        )
        for sku in skus:
            OrderLine.objects.create(order=order, sku=sku, name=f"Product {sku}", quantity=2, unit_price_minor=2105)
        lines = tuple(Line(sku=sku, quantity=2, unit_price_minor=2105) for sku in skus)
        fact = OrderFulfilled(
            number=number, currency=currency, total_minor=total_minor, tracking="TR-1", fulfilled_on="2026-11-24", lines=lines
        )
        facts.record(fact, order.pk, "c")
        Subscriber.objects.get_or_create(name=subscriber, defaults={"starts_at": 1, "types": {fact.type: 0}, "release": 0})
        return Owed(Fact.objects.get(pk=fact.fact_id), subscriber)

    return record


@pytest.fixture
def other_connection() -> Iterator["psycopg.Connection[Any]"]:
    """Somebody else's session on the same database."""
    wanted = connection.get_connection_params()
    with psycopg.connect(host=wanted["host"], user=wanted["user"], dbname=wanted["dbname"], autocommit=True) as other:
        yield other


def deliver(owed: Owed, handler: Callable[..., None], **declared: Any) -> str:
    """One try with another handler in the subscriber's place."""
    return delivery_try.deliver(replace(discovery.subscriptions()[owed.subscriber], handler=handler, **declared), owed.fact.pk)
