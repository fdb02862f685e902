"""Promise: nobody asks again while what was refused may still land, and what has landed is not given back again."""

import time
from dataclasses import replace
from typing import Any

import pytest

from fulfillment import engine, ledger, recovery
from fulfillment.errors import StepError
from fulfillment.gateways.lease import Lease
from fulfillment.models import SagaState, StepState
from fulfillment.provider_call import call_provider
from orders.incidents import Incident
from tests.fulfillment.driving import compensation_failed, found, record, start
from tests.fulfillment.refusals.conftest import ALL, EDGE, LAG, LEASE, SILENCE, Refusing, entries, past, retried, sweep_when_due, work
from tests.shop_clock import ShopClock


@pytest.mark.parametrize(("after_s", "asks"), [(0, False), (EDGE, True)], ids=["within the lag", "past it"])
def test_nothing_is_asked_for_while_what_was_refused_may_still_land(
    refusing: Refusing, clock: ShopClock, after_s: float, asks: bool
) -> None:
    """From the end of the last try's lease on, for as long as the provider's look-up lags."""
    saga = refusing("sandbox_watch")
    retried(saga)
    clock.passes(LEASE + LAG + after_s)
    sweep_when_due(saga, clock)

    answer = work(saga)

    assert refusing.effects == [("charge", 100), *([("refund", 100)] if asks else [])]
    if not asks:
        assert (answer.code, record(saga).state, record(saga).compensation_tries) == ("lag", StepState.COMPENSATION_IN_DOUBT, 0)


def test_it_is_inspected_again_when_the_refused_one_is_over(refusing: Refusing, clock: ShopClock) -> None:
    """Not a second earlier: each look would cost a task."""
    saga = refusing()
    retried(saga)
    clock.passes(10)
    sweep_when_due(saga, clock)

    work(saga)

    assert clock.left(found(saga).wake_at) == pytest.approx(LEASE + LAG - 10)


def test_a_worker_that_has_not_seen_the_lag_pass_asks_for_nothing(refusing: Refusing, clock: ShopClock) -> None:
    """The database's clock may have been set."""
    saga = refusing("sandbox_watch")
    retried(saga)
    clock.passes(3600)
    sweep_when_due(saga, clock)
    step = engine.step_of(found(saga), "payment")
    assert step is not None

    answer = call_provider(step, replace(start(saga, compensating=True), watched_s=LEASE + LAG), Lease.begin(LEASE))

    assert isinstance(answer, StepError)
    assert answer.code == "lag"


def test_a_clock_that_jumps_makes_no_refusal_older(saga: int, clock: ShopClock) -> None:
    compensation_failed(saga)
    retried(saga)
    clock.passes(5)

    clock.passes(3600)
    recovery.move_with_the_clock(recovery.Jump(3600.0, time.monotonic()))

    assert start(saga, compensating=True).refused_quiet_s == 5 - LEASE


@pytest.mark.parametrize("gateway", ["sandbox", "sandbox_watch"])
def test_what_landed_meanwhile_is_found_and_not_given_back_again(refusing: Refusing, clock: ShopClock, gateway: str) -> None:
    """The first try was still on its way when the second one was refused."""
    saga = refusing(gateway)
    retried(saga)
    refusing.refunds_elsewhere(100)
    clock.passes(LEASE + LAG + EDGE)
    sweep_when_due(saga, clock)

    assert work(saga) == {"found_compensated": True, "amount_minor": 100}

    assert found(saga).state == SagaState.COMPENSATED
    assert refusing.effects == [("charge", 100), ("refund", 100)]
    assert ledger.remaining(found(saga).order_id) == 0


def test_only_what_is_left_is_asked_for(refusing: Refusing, clock: ShopClock) -> None:
    """Support has given back a part between the refusal and the retry."""
    saga = refusing()
    refusing.refunds_elsewhere(40)
    retried(saga)
    clock.passes(LEASE + LAG + EDGE)
    for _ in range(2):
        sweep_when_due(saga, clock)
        work(saga)

    assert refusing.effects == [("charge", 100), ("refund", 40), ("refund", 60)]
    assert [(operation, amount) for operation, amount, _ in entries(saga)] == [("captured", 100), ("refunded", 40), ("refunded", 60)]
    assert found(saga).state == SagaState.COMPENSATED


@pytest.mark.parametrize("gateway", ALL)
def test_a_part_that_was_given_back_before_the_refusal_is_not_asked_for_again(refusing: Refusing, clock: ShopClock, gateway: str) -> None:
    """Two bad things in a row: support gives back a part, then the bank refuses the rest. I get all of my money, and no cent twice."""
    saga = refusing(gateway, given_back_before=40)
    assert entries(saga) == [("captured", 100, "payment:do:1:testsnonce")], "the shop has heard of no part"

    retried(saga)
    clock.passes(LEASE + LAG + EDGE)
    for _ in range(2):
        sweep_when_due(saga, clock)
        work(saga)

    assert refusing.effects == [("charge", 100), ("refund", 40), ("refund", 60)]
    assert entries(saga) == [
        ("captured", 100, "payment:do:1:testsnonce"),
        ("refunded", 40, "payment:compensate:2:testsnonce:elsewhere"),
        ("refunded", 60, "payment:compensate:3:testsnonce"),
    ]
    assert past(saga) == [(True, 1, "payment:compensate:1:testsnonce", 100, "refund_declined")]
    assert (found(saga).state, found(saga).order.status) == (SagaState.COMPENSATED, "cancelled")
    assert not Incident.objects.exclude(state="resolved").exists()


@pytest.mark.parametrize(("after_s", "asked"), [(0, False), (EDGE, True)], ids=["within the lag", "past it"])
def test_without_keys_a_refund_in_doubt_is_not_asked_for_again_while_it_may_land(
    refusing: Refusing, clock: ShopClock, settings: Any, after_s: float, asked: bool
) -> None:
    """Nothing tells the second one from the first."""
    saga = refusing("sandbox_keyless")
    retried(saga)
    clock.passes(LEASE + LAG + EDGE)
    sweep_when_due(saga, clock)
    engine.record_failure(start(saga, compensating=True), SILENCE)
    clock.passes(LEASE + LAG + after_s)
    sweep_when_due(saga, clock)

    work(saga)

    assert (("refund", 100) in refusing.effects) is asked


@pytest.mark.parametrize("gateway", ["sandbox_watch", "sandbox_keyless"])
def test_a_try_that_has_asked_for_nothing_is_not_waited_for(refusing: Refusing, clock: ShopClock, gateway: str) -> None:
    """Else each look would put off the next one, for ever."""
    saga = refusing(gateway)
    last = record(saga).compensation_asked_until
    retried(saga)
    for _ in range(2):
        clock.passes(10)
        sweep_when_due(saga, clock)
        assert work(saga).code == "lag"
        assert record(saga).compensation_asked_until == last

    sweep_when_due(saga, clock)
    clock.passes(EDGE)
    work(saga)

    assert found(saga).state == SagaState.COMPENSATED
