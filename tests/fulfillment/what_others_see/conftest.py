"""An order that a witness watches, and what workers, errback and sweep do with it."""

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from django.db import transaction

from config.management.commands.sweep import Sweep
from fulfillment import engine, tasks
from fulfillment.errors import Rejected
from fulfillment.models import Saga, StockLevel
from orders.models import Order
from tests.fulfillment.conftest import ADDRESS, SandboxProcess, now_due
from tests.witness import ObservingProxy, Witness

SCHEDULED, STARTED = "placed running/1 payment=scheduled", "processing running/1 payment=started"
PAID = "processing running/1 payment=succeeded inventory=scheduled captured:100"
RESERVED = "processing running/1 payment=succeeded inventory=succeeded shipping=scheduled captured:100 stock:held"
FULFILLED = "fulfilled completed/1 payment=succeeded inventory=succeeded shipping=succeeded captured:100 stock:consumed fact"
NUMBERS = iter(range(1, 1_000_000))


@pytest.fixture
def order(order: Order) -> Order:
    """A number of its own, because the provider remembers those of other tests."""
    order.number, order.shipping_address = f"ORD-W{next(NUMBERS)}", ADDRESS
    order.save()
    return order


@pytest.fixture
def witness(order: Order, sandbox: SandboxProcess, settings: Any) -> Iterator[Witness]:
    witness = Witness(order.number)
    door = ObservingProxy(sandbox.url, witness)
    settings.SANDBOX_URL = door.url
    yield witness
    door.close()
    witness.close()


@pytest.fixture
def saga(order: Order) -> int:
    with transaction.atomic():
        return engine.open_saga(order).saga


def run(saga: int, name: str) -> None:
    """What a worker does with this message; a rejection ends its chain."""
    found = Saga.objects.select_related("order").get(pk=saga)
    with suppress(Rejected):
        tasks.TASKS[f"fulfillment.{name}"](saga=saga, epoch=found.epoch, order=found.order.number)


def stopped(saga: int) -> None:
    """What the errback does."""
    found = Saga.objects.select_related("order").get(pk=saga)
    tasks.failed(saga=saga, epoch=found.epoch, order=found.order.number)


def out_of_stock(saga: int) -> None:
    """Paid, and the second step is refused."""
    run(saga, "payment")
    StockLevel.objects.update(on_hand=1)
    run(saga, "inventory")


def swept(saga: int) -> None:
    now_due(saga)
    Sweep(lambda _: None).round()
