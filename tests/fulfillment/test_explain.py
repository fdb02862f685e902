"""Promise: the why-sentence reads like one, and its instants are those of what it tells."""

from datetime import UTC, datetime
from typing import Any

import pytest

from fulfillment.explain import explain
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
