"""Promise: what a start tells its worker about earlier tries (how old the key is, for how long nobody can have sent anything) is what the rows say, not a
guess; and a provider call stops trusting the key, and starts trusting a look-up, at the very second that the capabilities name.
"""

import math
import time
from dataclasses import replace
from typing import Any

import pytest

from fulfillment import engine, recovery
from fulfillment.errors import LAG, WATCHED_IN_VAIN, WATCHING, InDoubt, StepError
from fulfillment.gateways import capabilities_of
from fulfillment.gateways.lease import Lease
from fulfillment.models import Saga, SagaState, StepRecord
from fulfillment.provider_call import call_provider
from fulfillment.recovery import Request, decide, version_of
from fulfillment.step import Compensation, Kind, Receipt, Step
from orders.models import Order
from tests.actors import AMARA
from tests.fulfillment.driving import refused
from tests.shop_clock import LIMITS_S, ShopClock

LEASE, WINDOW, EDGE = LIMITS_S["LEASE_S"], 400.0, 0.001
SILENCE = InDoubt("No answer", code="timeout")


class Listening(Step):
    """It calls nobody and remembers what it was asked."""

    name, kind, role = "payment", Kind.COMPENSABLE, "payments"

    def __init__(self) -> None:
        self.asked: list[str] = []

    def execute(self, order: Order, key: str) -> Receipt:
        self.asked.append("execute")
        return {"charge_id": "c", "amount_minor": order.total_minor}

    def compensate(self, order: Order, compensation: Compensation) -> Receipt | None:
        self.asked.append("compensate")
        return {}

    def resolve(self, order: Order, key: str) -> Receipt | None:
        self.asked.append("resolve")
        return None


@pytest.fixture
def listening() -> Listening:
    return Listening()


def opened(order: Order, settings: Any, gateway: str = "sandbox") -> int:
    settings.PAYMENTS_GATEWAY, settings.KEY_WINDOW_S = gateway, WINDOW
    return engine.open_saga(order).saga


def start(saga: int, compensating: bool = False) -> engine.Claim:
    claim = engine.start(saga, Saga.objects.get(pk=saga).epoch, "payment", compensating)
    assert claim is not None
    return replace(claim, watched_s=math.inf)  # the test's clock is believed


def due_and_inspected(saga: int, clock: ShopClock) -> None:
    clock.until(max(clock.now, Saga.objects.get(pk=saga).wake_at or clock.now))
    assert recovery.inspect_saga(saga) is not None


def says(step: Step, claim: engine.Claim) -> Receipt | StepError | None:
    return call_provider(step, claim, Lease.begin(LEASE))


# --- what a start says ---------------------------------------------------------------------------------------------------


def test_the_first_try_says_how_long_ago_its_key_was_scheduled_and_that_nobody_has_asked(
    order: Order, clock: ShopClock, settings: Any
) -> None:
    saga = opened(order, settings)
    clock.passes(17)

    claim = start(saga)

    assert (claim.age_s, claim.quiet_s) == (17, None)


def test_a_later_try_counts_from_the_first_scheduling_and_from_the_end_of_the_last_lease(
    order: Order, clock: ShopClock, settings: Any
) -> None:
    """The try before it could send until its lease was over, however soon it failed."""
    saga = opened(order, settings)
    clock.passes(17)
    engine.record_failure(start(saga), SILENCE)
    clock.passes(60)
    due_and_inspected(saga, clock)
    clock.passes(3)

    second = start(saga)
    assert (second.age_s, second.quiet_s) == (80, 63 - LEASE)

    engine.record_failure(second, SILENCE)
    clock.passes(5)
    due_and_inspected(saga, clock)
    third = start(saga)
    assert (third.age_s, third.quiet_s) == (85, 5 - LEASE), "negative: the second one may still send"


def test_a_take_over_says_that_the_lost_worker_could_send_until_its_lease_was_over(order: Order, clock: ShopClock, settings: Any) -> None:
    saga = opened(order, settings)
    start(saga)
    due_and_inspected(saga, clock)
    clock.passes(2)

    assert start(saga).quiet_s == 2


def test_a_retry_by_a_person_makes_no_key_younger(order: Order, clock: ShopClock, settings: Any) -> None:
    saga = opened(order, settings)
    Saga.objects.update(relaunches=settings.POISON_AFTER)
    start(saga)
    clock.passes(LEASE)
    recovery.inspect_saga(saga)
    assert Saga.objects.get().state == SagaState.NEEDS_ATTENTION
    clock.passes(5000)
    decide(Request(order=order.number, verb="retry", version=version_of(order.pk), actor=AMARA, reason="it is back"))
    due_and_inspected(saga, clock)

    claim = start(saga)

    assert (claim.age_s, claim.quiet_s) == (5000 + LEASE, 5000)


def test_a_compensation_counts_the_step_s_key_and_the_step_s_last_try(order: Order, clock: ShopClock, settings: Any) -> None:
    """Its own tries are another key's."""
    saga = opened(order, settings)
    clock.passes(10)
    refused(saga)  # paid at 10 s
    clock.passes(100)
    first = start(saga, compensating=True)
    assert (first.age_s, first.quiet_s) == (110, 100 - LEASE)

    engine.record_failure(first, SILENCE)
    clock.passes(40)
    due_and_inspected(saga, clock)
    second = start(saga, compensating=True)

    assert (second.age_s, second.quiet_s) == (150, 140 - LEASE)


def test_a_step_that_was_scheduled_and_never_seen_to_start_may_send_until_a_lease_after_it_turned_back(
    order: Order, clock: ShopClock, settings: Any
) -> None:
    """Its start may have been lost with the database: whoever held it has a lease from the turn, at most."""
    saga = opened(order, settings)
    clock.passes(LIMITS_S["PATIENCE_S"])
    assert recovery.cancel(order.number, "web-shop") == "accepted"
    assert recovery.inspect_saga(saga) is not None
    clock.passes(20)

    assert start(saga, compensating=True).quiet_s == 20 - LEASE


@pytest.mark.parametrize("jump_s", [3600, -3600], ids=["forward", "back"])
@pytest.mark.parametrize("compensating", [False, True], ids=["do", "compensate"])
def test_a_clock_that_jumps_makes_nothing_older_or_younger(
    order: Order, clock: ShopClock, settings: Any, jump_s: int, compensating: bool
) -> None:
    """What is open is moved with it: an hour ahead, a key would be forgotten, and whoever may still send would be taken for silent."""
    saga = opened(order, settings)
    clock.passes(10)
    engine.record_failure(start(saga), SILENCE)
    if compensating:
        recovery.cancel(order.number, "web-shop")
    clock.passes(20)
    due_and_inspected(saga, clock)
    if compensating:
        engine.record_failure(start(saga, compensating=True), SILENCE)
        clock.passes(20)
        due_and_inspected(saga, clock)
    clock.passes(5)
    before = StepRecord.objects.get(name="payment")
    expected = (35, 25 - LEASE) if not compensating else (55, 45 - LEASE)

    clock.passes(jump_s)
    recovery.move_with_the_clock(recovery.Jump(float(jump_s), time.monotonic()))

    after = StepRecord.objects.get(name="payment")
    claim = start(saga, compensating=compensating)
    assert (claim.age_s, claim.quiet_s) == expected
    pairs = [
        (before.compensation_asked_until, after.compensation_asked_until),
        (before.compensation_scheduled_at, after.compensation_scheduled_at),
    ]
    assert [(later - at).total_seconds() for at, later in pairs if at and later] == ([jump_s, jump_s] if compensating else [])


# --- the key window ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("before_s", "asked"), [(EDGE, ["execute"]), (0, [])], ids=["just inside", "just outside"])
def test_a_key_is_trusted_while_whatever_is_sent_until_the_lease_ends_falls_into_its_window(
    order: Order, clock: ShopClock, settings: Any, listening: Listening, before_s: float, asked: list[str]
) -> None:
    saga = opened(order, settings)
    clock.passes(WINDOW - LEASE - before_s)

    says(listening, start(saga))

    assert listening.asked == asked


@pytest.mark.parametrize(("after_s", "asked"), [(0, []), (EDGE, ["resolve", "execute"])], ids=["within the lag", "past it"])
def test_then_nothing_is_asked_until_a_look_up_shows_every_try_that_may_have_been_lost(
    order: Order, clock: ShopClock, settings: Any, listening: Listening, after_s: float, asked: list[str]
) -> None:
    saga = opened(order, settings)
    clock.passes(WINDOW + capabilities_of("payments", "sandbox").lookup_lag_s + after_s)

    says(listening, start(saga))

    assert listening.asked == asked


def test_a_retry_does_not_renew_the_window(order: Order, clock: ShopClock, settings: Any, listening: Listening) -> None:
    saga = opened(order, settings)
    engine.record_failure(start(saga), SILENCE)
    clock.passes(2 * WINDOW)
    due_and_inspected(saga, clock)

    says(listening, start(saga))

    assert listening.asked[0] == "resolve"


@pytest.mark.parametrize(("after_s", "asked"), [(0, ["resolve"]), (EDGE, ["resolve", "execute"])], ids=["within the lag", "past it"])
def test_nothing_there_counts_once_the_lag_has_passed_since_the_last_lease_ended(
    order: Order, clock: ShopClock, settings: Any, listening: Listening, after_s: float, asked: list[str]
) -> None:
    saga = opened(order, settings)
    clock.passes(WINDOW)
    engine.record_failure(start(saga), SILENCE)
    lag_s = capabilities_of("payments", "sandbox").lookup_lag_s
    clock.passes(LEASE + lag_s + after_s)
    due_and_inspected(saga, clock)

    outcome = says(listening, start(saga))

    assert listening.asked == asked
    assert isinstance(outcome, StepError) == (after_s == 0)


@pytest.mark.parametrize(
    ("after_s", "code"),
    [(-WINDOW / 2, WATCHING), (0, LAG), (EDGE, WATCHED_IN_VAIN)],
    ids=["within the window", "window and lag", "past both"],
)
def test_watching_ends_when_window_and_lag_are_over(
    order: Order, clock: ShopClock, settings: Any, listening: Listening, after_s: float, code: str
) -> None:
    saga = opened(order, settings, "sandbox_watch")
    engine.record_failure(start(saga), SILENCE)
    recovery.cancel(order.number, "web-shop")
    due_and_inspected(saga, clock)
    clock.passes(WINDOW + capabilities_of("payments", "sandbox_watch").lookup_lag_s + after_s)

    outcome = says(listening, start(saga, compensating=True))

    assert isinstance(outcome, StepError)
    assert outcome.code == code


@pytest.mark.parametrize(("after_s", "code"), [(0, WATCHING), (EDGE, WATCHED_IN_VAIN)], ids=["within the lag", "past it"])
def test_watching_goes_on_while_the_last_try_may_still_land(
    order: Order, clock: ShopClock, settings: Any, listening: Listening, after_s: float, code: str
) -> None:
    """The window was over long ago; the last try was not."""
    saga = opened(order, settings, "sandbox_watch")
    clock.passes(2 * WINDOW)
    engine.record_failure(start(saga), SILENCE)
    recovery.cancel(order.number, "web-shop")
    due_and_inspected(saga, clock)
    clock.passes(LEASE + capabilities_of("payments", "sandbox_watch").lookup_lag_s + after_s)

    outcome = says(listening, start(saga, compensating=True))

    assert isinstance(outcome, StepError)
    assert outcome.code == code


def test_where_no_keys_are_known_a_look_up_comes_before_every_try(
    order: Order, clock: ShopClock, settings: Any, listening: Listening
) -> None:
    saga = opened(order, settings, "sandbox_keyless")

    says(listening, start(saga))

    assert listening.asked == ["resolve", "execute"]
