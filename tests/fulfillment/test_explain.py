"""Promise: the why-sentence reads like one, and its instants are those of what it tells."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from fulfillment.clock import shop_now
from fulfillment.explain import LATE_AFTER_S, explain
from fulfillment.models import Saga, StepRecord
from orders.models import Order
from orders.timeline import TimelineEntry

DECLINED = "The provider answered 402 (card_declined)."


@pytest.mark.parametrize(
    ("stands", "record"),
    [
        ({}, {"state": "retry_wait", "tries": 1}),
        ({"failure": "payment_failed", "state": "compensated", "wake_at": None}, {"state": "not_needed"}),
        ({"failure": "payment_failed", "state": "compensating"}, {"state": "undo_retry_wait", "undo_tries": 1}),
    ],
)
def test_a_sentence_ends_once(saga: int, order: Order, stands: dict[str, Any], record: dict[str, Any]) -> None:
    """Whatever the provider's own words end with."""
    StepRecord.objects.filter(name="payment").update(error_message=DECLINED, **record)
    Saga.objects.filter(pk=saga).update(**stands)
    turned = {"kind": "saga", "to_state": "compensating", "code": "payment_failed", "detail": {"message": DECLINED}}
    TimelineEntry.objects.create(order=order, **turned)

    sentence = explain(order).sentence

    assert "card_declined" in sentence
    assert ".." not in sentence
    assert ".)" not in sentence


def test_the_reason_is_that_of_turning_back_not_of_a_failed_undo(saga: int, order: Order) -> None:
    """The carrier never answered; that it later refused the cancel is another story."""
    StepRecord.objects.filter(name="shipping").update(state="undo_failed", error_message="The provider answered 400 (handed_over).")
    Saga.objects.filter(pk=saga).update(failure="shipping_failed", state="needs_attention", wake_at=None)
    turned = {
        "kind": "saga",
        "to_state": "compensating",
        "code": "shipping_failed",
        "detail": {"message": "out of tries: no answer in time."},
    }
    TimelineEntry.objects.create(order=order, **turned)

    assert "(shipping failed: out of tries: no answer in time)" in explain(order).sentence
    assert "tries" not in explain(order).public


def test_a_second_try_runs_since_its_own_start(saga: int, order: Order) -> None:
    """Not since the first one was settled."""
    first, settled, second = (datetime(2026, 1, 1, hour, tzinfo=UTC) for hour in (1, 2, 3))
    StepRecord.objects.filter(name="payment").update(state="started", granted_at=first, settled_at=settled, started_at=second)

    told = explain(order)

    assert (told.sentence, told.since) == ("Payment is running.", second)


def test_a_look_that_is_overdue_is_not_told_as_one_that_comes(saga: int) -> None:
    """The sweep stands still: nobody tells me that it looks at my order two minutes ago."""
    StepRecord.objects.filter(name="payment").update(state="retry_wait", tries=1)
    overdue = shop_now() - timedelta(seconds=LATE_AFTER_S + 1)
    Saga.objects.filter(pk=saga).update(wake_at=overdue)

    told = explain(Order.objects.get())

    assert told.sentence == (
        "Payment could not be tried after try 1. It is tried again under the same key. "
        f"It was due at {overdue:%H:%M:%S} UTC, and the sweep has not come to it since: `manage.py doctor` says why."
    )
    assert (told.next_at, told.blocked_on) == (None, "the sweep")
    assert told.public == "Payment takes longer than usual; it goes on by itself."


def test_a_look_that_is_a_little_late_is_no_news(saga: int) -> None:
    """The sweep comes once a second."""
    StepRecord.objects.filter(name="payment").update(state="retry_wait", tries=1)
    Saga.objects.filter(pk=saga).update(wake_at=shop_now() - timedelta(seconds=LATE_AFTER_S - 2))

    told = explain(Order.objects.get())

    assert told.blocked_on == "the provider"
    assert told.next_at is not None
