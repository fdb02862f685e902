"""Promise: an open circuit asks, waits, wakes and gives time back at the instants that the rules name, with rows that only the running code has written."""

import random
from collections.abc import Callable
from typing import Any

import pytest
from django.conf import settings

from fulfillment import engine, recovery
from fulfillment.circuit import Circuit, CircuitState
from fulfillment.errors import CircuitSignal, InDoubt, Unavailable
from fulfillment.models import Saga, SagaState, StepState
from orders.models import Incident, Order
from tests.fulfillment.driving import copy_of, found, in_doubt, record
from tests.shop_clock import LIMITS_S, ShopClock

LEASE, PATIENCE, PATIENCE_CAP = LIMITS_S["LEASE_S"], LIMITS_S["PATIENCE_S"], LIMITS_S["PATIENCE_CAP_S"]
BACKOFF, BACKOFF_CAP, EDGE = LIMITS_S["BACKOFF_S"], LIMITS_S["BACKOFF_CAP_S"], 0.001
DOWN = Unavailable("down", code="connect_failed")
PROBE_S = PATIENCE + LEASE  # published, found and tried
Place = Callable[[int], int]


@pytest.fixture
def place(clock: ShopClock, order: Order) -> Place:
    """A new order's saga, by number."""
    return lambda number: copy_of(order, f"ORD-{100 + number}")


def circuit() -> Circuit:
    return Circuit.objects.get(pk="payments.sandbox.do")


def fails(saga: int) -> None:
    claim = engine.start(saga, found(saga).epoch, "payment", False)
    assert claim is not None
    assert engine.record_failure(claim, DOWN).mine


def opened(place: Place, clock: ShopClock) -> list[int]:
    """Three orders failed, a second apart; the first two notice when they are looked at."""
    sagas = [place(number) for number in range(3)]
    for saga in sagas:
        clock.passes(1)
        fails(saga)
    assert circuit().state == CircuitState.OPEN
    clock.passes(BACKOFF)
    for saga in sagas[:2]:
        assert recovery.inspect_saga(saga) is None
    return sagas


def next_probe(clock: ShopClock) -> int:
    clock.until(circuit().next_probe_at)
    (launch,) = recovery.launch_probes()
    return launch.saga


# --- opening and holding ---------------------------------------------------------------------------------------------------


def test_it_is_open_since_the_failure_that_opened_it_and_asks_after_one_back_off(place: Place, clock: ShopClock) -> None:
    sagas = [place(number) for number in range(3)]
    for saga in sagas:
        clock.passes(5)
        fails(saga)

    assert (clock.left(circuit().opened_at), clock.left(circuit().next_probe_at)) == (0, BACKOFF)
    third = found(sagas[2])
    assert (clock.left(third.held_at), clock.left(third.wake_at), third.launched_at) == (0, PATIENCE_CAP, None)


@pytest.mark.parametrize(("edge", "times"), [(min, 0.8), (max, 1.2)], ids=["earliest", "latest"])
def test_whoever_is_held_is_inspected_now_and_then(
    place: Place, clock: ShopClock, monkeypatch: pytest.MonkeyPatch, edge: Any, times: float
) -> None:
    opened(place, clock)
    late = place(9)
    monkeypatch.setattr(random, "uniform", lambda low, high: edge(low, high))

    assert engine.start(late, 1, "payment", False) is None
    engine.could_not_start(late, 1)

    assert clock.left(found(late).wake_at) == pytest.approx(times * PATIENCE_CAP)
    assert clock.left(found(late).held_at) == 0


@pytest.mark.parametrize(("after_s", "becomes"), [(0, StepState.SCHEDULED), (EDGE, StepState.PENDING)])
def test_what_is_scheduled_is_withdrawn_only_if_the_circuit_had_been_open_for_longer_than_a_lease(
    place: Place, clock: ShopClock, after_s: float, becomes: StepState
) -> None:
    """Before that a start may have been under way that nobody has seen."""
    opened(place, clock)
    clock.until(circuit().opened_at, LEASE + after_s)
    late = place(9)

    engine.could_not_start(late, 1)

    assert record(late).state == becomes


# --- probes ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("before_s", "asks"), [(EDGE, False), (0, True)], ids=["just before", "then"])
def test_a_probe_goes_out_when_it_is_due(place: Place, clock: ShopClock, before_s: float, asks: bool) -> None:
    opened(place, clock)
    for saga in recovery.launch_probes():  # the first, which fails
        fails(saga.saga)
    clock.until(circuit().next_probe_at, -before_s)

    assert bool(list(recovery.launch_probes())) is asks


def test_a_probe_may_call_for_a_patience_and_a_lease_and_once_started_for_its_lease(place: Place, clock: ShopClock) -> None:
    opened(place, clock)
    saga = next_probe(clock)
    assert [clock.left(at) for at in (circuit().probe_until, found(saga).wake_at, found(saga).launched_at)] == [PROBE_S, PROBE_S, 0]
    clock.passes(7)

    assert engine.start(saga, found(saga).epoch, "payment", False) is not None

    assert [clock.left(at) for at in (circuit().probe_until, found(saga).wake_at, record(saga).asked_until)] == [LEASE, LEASE, LEASE]


@pytest.mark.parametrize(("before_s", "starts"), [(EDGE, True), (0, False)], ids=["just before its end", "at its end"])
def test_the_right_of_a_probe_ends_with_its_lease(place: Place, clock: ShopClock, before_s: float, starts: bool) -> None:
    opened(place, clock)
    saga = next_probe(clock)
    clock.until(circuit().probe_until, -before_s)

    assert (engine.start(saga, found(saga).epoch, "payment", False) is not None) is starts


@pytest.mark.parametrize(("before_s", "others"), [(EDGE, False), (0, True)], ids=["just before its end", "at its end"])
def test_another_one_asks_as_soon_as_a_probe_has_lost_its_right(place: Place, clock: ShopClock, before_s: float, others: bool) -> None:
    opened(place, clock)
    first = next_probe(clock)
    clock.until(circuit().probe_until, -before_s)

    chosen = [launch.saga for launch in recovery.launch_probes()]

    assert bool(chosen) is others
    assert first not in chosen


def test_probes_that_fail_are_asked_less_and_less_often_up_to_the_longest_back_off(place: Place, clock: ShopClock) -> None:
    opened(place, clock)
    waits = []
    for _ in range(8):
        fails(next_probe(clock))
        waits.append(clock.left(circuit().next_probe_at))

    assert waits == [min(BACKOFF * 2**times, BACKOFF_CAP) for times in range(1, 9)]


def test_our_own_trouble_asks_another_one_as_soon_as_before(place: Place, clock: ShopClock) -> None:
    opened(place, clock)
    fails(next_probe(clock))
    saga = next_probe(clock)
    claim = engine.start(saga, found(saga).epoch, "payment", False)
    assert claim is not None

    engine.record_failure(claim, InDoubt("slow on our side", code="time_limit", signal=CircuitSignal.IGNORED))

    assert clock.left(circuit().next_probe_at) == 2 * BACKOFF


# --- what it takes and gives back --------------------------------------------------------------------------------------------


def test_a_hold_gives_back_exactly_the_time_that_it_took(place: Place, clock: ShopClock) -> None:
    first, second, _ = opened(place, clock)
    before, held_at = found(second).deadline_at, found(second).held_at
    saga = next_probe(clock)
    assert saga == first
    clock.passes(3)
    claim = engine.start(saga, found(saga).epoch, "payment", False)
    assert claim is not None
    clock.passes(4)
    engine.record_success(claim, {"charge_id": "c", "amount_minor": 100})
    assert not list(recovery.launch_probes())
    clock.until(found(second).wake_at)
    assert recovery.inspect_saga(second) is not None

    it = found(second)
    assert before is not None
    assert held_at is not None
    assert it.deadline_at is not None
    taken_s = (clock.now - held_at).total_seconds()
    assert taken_s > 7
    assert ((it.deadline_at - before).total_seconds(), it.paused_s, it.held_at) == (taken_s, taken_s, None)


def test_those_who_wait_are_woken_twenty_a_second_from_the_first_on(place: Place, clock: ShopClock) -> None:
    opened(place, clock)
    waiting = [place(number) for number in range(10, 16)]
    for saga in waiting:
        engine.could_not_start(saga, 1)
    saga = next_probe(clock)
    claim = engine.start(saga, found(saga).epoch, "payment", False)
    assert claim is not None
    engine.record_success(claim, {"charge_id": "c", "amount_minor": 100})

    assert not list(recovery.launch_probes())

    held = Saga.objects.exclude(held_by="").order_by("id")
    assert [clock.left(at) for at in held.values_list("wake_at", flat=True)] == [pytest.approx(n / 20) for n in range(1, len(held) + 1)]
    assert len(held) == 8


@pytest.mark.parametrize(("before_s", "is_open"), [(EDGE, False), (0, True)], ids=["just before", "then"])
def test_who_was_never_asked_for_needs_a_person_after_the_limit_of_an_outage(
    place: Place, clock: ShopClock, before_s: float, is_open: bool
) -> None:
    opened(place, clock)
    clock.until(circuit().opened_at, LEASE + 1)
    late = place(9)
    engine.could_not_start(late, 1)
    assert record(late).state == StepState.PENDING
    clock.until(found(late).held_at, settings.PROVIDER_OUTAGE_LIMIT_S - before_s)

    recovery.inspect_saga(late)

    assert Incident.objects.filter(order__saga=late).exists() is is_open
    assert found(late).state == SagaState.RUNNING, "it waits on, with an incident or without"


def test_a_cancel_of_who_is_held_is_due_at_once(place: Place, order: Order, clock: ShopClock) -> None:
    """In doubt and cancelled: its compensation need not wait for a look."""
    opened(place, clock)
    saga = place(9)
    Circuit.objects.filter(pk="payments.sandbox.do").update(state=CircuitState.CLOSED)
    in_doubt(saga)
    Circuit.objects.filter(pk="payments.sandbox.do").update(state=CircuitState.OPEN)
    clock.until(found(saga).wake_at)
    assert recovery.inspect_saga(saga) is None
    clock.passes(5)

    assert recovery.cancel("ORD-109", "web-shop") == "accepted"

    assert clock.left(found(saga).wake_at) == 0
