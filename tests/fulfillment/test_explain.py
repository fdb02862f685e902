"""Promise: the why-sentence reads like one, and its instants are those of what it tells."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.conf import settings
from django.db import transaction

from fulfillment import engine
from fulfillment.clock import shop_now
from fulfillment.engine import compensation
from fulfillment.explanation import LATE_AFTER_S, explain
from fulfillment.models import Saga, StepRecord
from orders.models import Order
from orders.queue_probes import Probes
from orders.timeline import TimelineEntry
from tests.shop_clock import ShopClock

DECLINED = "The provider answered 402 (card_declined)."


@pytest.mark.parametrize(
    ("stands", "record"),
    [
        ({}, {"state": "retry_wait", "tries": 1}),
        ({"failure": "payment_failed", "state": "compensated", "wake_at": None}, {"state": "not_needed"}),
        ({"failure": "payment_failed", "state": "compensating"}, {"state": "compensation_retry_wait", "compensation_tries": 1}),
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


def test_the_reason_is_that_of_turning_back_not_of_a_failed_compensation(saga: int, order: Order) -> None:
    """The carrier never answered; that it later refused the cancel is another story."""
    StepRecord.objects.filter(name="shipping").update(state="compensation_failed", error_message="The provider answered 400 (handed_over).")
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


@pytest.mark.parametrize(("name", "message"), [("insurance", "insurance failed"), ("gift_wrap", "gift wrap failed")])
def test_an_order_that_fails_at_a_step_of_one_s_own_says_which(saga: int, order: Order, name: str, message: str) -> None:
    """A step that somebody adds has no status of its own; its name is shown all the same, inside and outside."""
    StepRecord.objects.filter(name="payment").update(name=name)
    with transaction.atomic():
        compensation.turn_back(engine.locking(Saga.objects.filter(pk=saga)).get(), "No paper left.")

    assert f"The order is being undone ({message}: No paper left)." in explain(order).sentence
    Saga.objects.filter(pk=saga).update(state="compensated", wake_at=None)
    assert explain(order).sentence.startswith(f"The order ended because {message}: No paper left.")
    assert explain(order).public.startswith(f"The order ended because {message}.")


@pytest.mark.parametrize(("failure", "message"), [("failed", "a step failed"), ("shipping_failed", "shipping failed")])
def test_an_order_that_turned_back_before_its_step_was_kept_says_what_is_known(saga: int, order: Order, failure: str, message: str) -> None:
    Saga.objects.filter(pk=saga).update(failure=failure, state="compensated", wake_at=None)

    assert f"because {message}." in explain(order).sentence


def test_a_second_try_runs_since_its_own_start(saga: int, order: Order) -> None:
    """Not since the outcome of the first one."""
    first, recorded, second = (datetime(2026, 1, 1, hour, tzinfo=UTC) for hour in (1, 2, 3))
    StepRecord.objects.filter(name="payment").update(state="started", scheduled_at=first, outcome_at=recorded, started_at=second)

    explanation = explain(order)

    assert (explanation.sentence, explanation.since) == ("Payment is running.", second)


def test_an_inspection_that_is_overdue_is_not_reported_as_one_that_comes(saga: int) -> None:
    """The sweep stands still: nobody tells me that it looks at my order two minutes ago."""
    StepRecord.objects.filter(name="payment").update(state="retry_wait", tries=1)
    overdue = shop_now() - timedelta(seconds=LATE_AFTER_S + 1)
    Saga.objects.filter(pk=saga).update(wake_at=overdue)

    explanation = explain(Order.objects.get())

    assert explanation.sentence == (
        "Payment could not be tried after try 1. It is tried again under the same key. "
        f"It was due at {overdue:%H:%M:%S} UTC, and the sweep has not come to it since: `manage.py doctor` says why."
    )
    assert (explanation.next_at, explanation.blocked_on) == (None, "the sweep")
    assert explanation.public == "Payment takes longer than usual; it goes on by itself."


def test_an_inspection_that_is_a_little_late_is_no_news(saga: int) -> None:
    """The sweep comes once a second."""
    StepRecord.objects.filter(name="payment").update(state="retry_wait", tries=1)
    Saga.objects.filter(pk=saga).update(wake_at=shop_now() - timedelta(seconds=LATE_AFTER_S - 2))

    explanation = explain(Order.objects.get())

    assert explanation.blocked_on == "the provider"
    assert explanation.next_at is not None


def test_a_message_in_a_queue_that_lets_nothing_out_is_not_reported_as_on_its_way(saga: int, order: Order, clock: ShopClock) -> None:
    """As doctor says it, and not to my customer. A stamp that may well be on its way is no news."""
    sender = Probes()
    sender.want("saga")
    sender.due()
    clock.passes(settings.PROBE_AFTER_S)
    Saga.objects.update(wake_at=clock.now)
    assert explain(order).sentence == "Payment may start: its message is on the way to a worker."

    clock.passes(38 - settings.PROBE_AFTER_S)
    Saga.objects.update(wake_at=clock.now)
    explanation = explain(order)

    assert explanation.sentence == "Payment may start, but its queue has let nothing out for 38 s: `manage.py doctor` says why."
    assert (explanation.public, explanation.blocked_on) == ("Payment takes longer than usual; it goes on by itself.", "a worker")


def test_a_compensation_has_a_queue_of_its_own(saga: int, order: Order, clock: ShopClock) -> None:
    StepRecord.objects.update(state="not_needed")
    StepRecord.objects.filter(name="payment").update(state="compensation_scheduled")
    Saga.objects.update(failure="payment_failed", state="compensating")
    sender = Probes()
    sender.want("saga")
    sender.due()
    clock.passes(500)
    sender.want("compensation")
    sender.due()
    clock.passes(180)
    Saga.objects.update(wake_at=clock.now)

    explanation = explain(order)

    assert (
        "The undo of payment may start, but its queue has let nothing out for 3 min: `manage.py doctor` says why." in explanation.sentence
    )
    assert explanation.public == "The order is being undone."


def test_an_order_that_is_held_is_so_since_it_is_held(saga: int, order: Order) -> None:
    """Not since the last try as the probe, which changes nothing for it."""
    held_at, tried_at = (datetime(2026, 1, 1, hour, tzinfo=UTC) for hour in (1, 2))
    StepRecord.objects.filter(name="payment").update(state="in_doubt", started_at=tried_at, outcome_at=tried_at)
    Saga.objects.update(held_by="payments.sandbox.do", held_at=held_at)

    assert explain(order).since == held_at
