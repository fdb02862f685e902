"""Promise: a subscriber that is late is interrupted where it calls others, and never within its own transaction."""

import os
import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from orders import soft_limit
from sideeffects import registry
from sideeffects.models import Delivery
from tests.sideeffects.conftest import Tell

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def task_begins() -> Iterator[None]:
    before = signal.getsignal(signal.SIGUSR1)
    soft_limit.begin_task()
    yield
    signal.signal(signal.SIGUSR1, before)


def deliver(delivery: Delivery, handler: Any) -> str:
    """As the registry would, with a handler that has come to be like this."""
    declared = registry.subscriptions()[delivery.subscriber]
    task = registry._define(replace(declared, name=f"late_{declared.name}", handler=handler))
    return str(task(delivery=delivery.pk, order="ORD-1"))


def test_a_subscriber_s_own_transaction_is_never_interrupted(tell: Tell) -> None:
    """My points are booked although the database was slow, in one try."""
    delivery = tell("loyalty")
    book = registry.subscriptions()["loyalty"].handler

    def slowly(event: Any, of: Delivery) -> None:
        os.kill(os.getpid(), signal.SIGUSR1)
        book(event, of)

    assert deliver(delivery, slowly) == "ORD-1: delivered"
    delivery.refresh_from_db()
    assert (delivery.state, delivery.tries) == ("delivered", 1)


def test_a_subscriber_that_calls_others_is_interrupted_and_tried_again(tell: Tell) -> None:
    delivery = tell("email")

    def hangs(event: Any, of: Delivery) -> None:
        os.kill(os.getpid(), signal.SIGUSR1)
        time.sleep(20)

    assert deliver(delivery, hangs) == "ORD-1: SoftTimeLimitExceeded: tried again later"
    delivery.refresh_from_db()
    assert (delivery.state, delivery.error_code) == ("retry_wait", "SoftTimeLimitExceeded")
