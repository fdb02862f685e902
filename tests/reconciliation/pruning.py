"""Orders that ended long ago, and the command that prunes."""

import io
import json
from datetime import timedelta
from typing import Any

from django.contrib.auth.models import User
from django.core.management import call_command

from fulfillment import engine
from fulfillment.clock import shop_now
from fulfillment.models import Saga, SagaState
from orders.models import Order, Status
from orders.timeline import TimelineEntry
from sideeffects import relay
from tests.fulfillment.conftest import ADDRESS
from tests.reconciliation.shop import TOTAL
from tests.sideeffects.conftest import ALL_LOST

LONG_AGO_D = 500


def prune(*words: str) -> Any:
    """What it answers as JSON, by kind."""
    said = io.StringIO()
    call_command("prune", "--json", *words, stdout=said)
    return json.loads(said.getvalue())["kinds"]


def aged(*orders: Order, days: float = LONG_AGO_D) -> None:
    """They ended so long ago, and nothing about them is owed to anybody."""
    relay.owe(ALL_LOST)
    Saga.objects.filter(order__in=orders).update(closed_at=shop_now() - timedelta(days=days))


def kinds_of(order: Order) -> set[str]:
    """Of what is left of its history."""
    return set(TimelineEntry.objects.filter(order=order).values_list("kind", flat=True))


def is_pruned(order: Order) -> bool:
    return Saga.objects.filter(order=order, history_pruned_at__isnull=False).exists()


def cancelled_long_ago(number: str) -> Order:
    """It was placed and cancelled before anything was charged. No provider has ever heard of it."""
    client, _ = User.objects.get_or_create(username="web-shop")
    order = Order.objects.create(
        number=number, client=client, idempotency_key=number, currency="EUR", total_minor=TOTAL, payment_token="tok_ok",
        customer_email="a@example.com", customer_name="A", correlation_id="c", shipping_address=ADDRESS,
    )  # fmt: skip
    engine.open_saga(order)
    order.move(Status.CANCELLED)
    Saga.objects.filter(order=order).update(state=SagaState.COMPENSATED, wake_at=None)
    aged(order)
    return order
