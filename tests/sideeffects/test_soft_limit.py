"""Promise: a subscriber that is late is interrupted where it calls others, and never within its own transaction."""

import os
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from sideeffects import discovery
from sideeffects.delivery_try import deliver
from sideeffects.models import Delivery
from tests.sideeffects.conftest import Owed, RecordFact

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("task_begins")]


def deliver_with(handler: Callable[..., Any], owed: Owed) -> str:
    """As its task would, with a handler that has come to be like this."""
    return deliver(replace(discovery.subscriptions()[owed.subscriber], handler=handler), owed.fact.pk)


def test_a_subscriber_s_own_transaction_is_never_interrupted(record_fact: RecordFact) -> None:
    """My points are booked although the database was slow, in one try."""
    owed = record_fact("loyalty")
    book = discovery.subscriptions()["loyalty"].handler

    def slowly(event: Any, of: Delivery) -> None:
        os.kill(os.getpid(), signal.SIGUSR1)
        book(event, of)

    assert deliver_with(slowly, owed) == "delivered"
    assert owed.row() == ("delivered", 1, "")


def test_a_subscriber_that_calls_others_is_interrupted_and_tried_again(record_fact: RecordFact) -> None:
    owed = record_fact("email")

    def hangs(event: Any, of: Delivery) -> None:
        os.kill(os.getpid(), signal.SIGUSR1)
        time.sleep(20)

    assert deliver_with(hangs, owed) == "SoftTimeLimitExceeded: tried again later"
    assert owed.row() == ("retry_wait", 1, "SoftTimeLimitExceeded")
