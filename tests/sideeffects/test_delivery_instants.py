"""Promise: a delivery's lease, back-off and limits are what its declaration says times TIME_SCALE, read back from the rows that delivering has written."""

import random
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from orders import queue_probes
from orders.events import OrderFulfilled, Subscription
from orders.models import Fact, QueueProbe
from sideeffects import deliveries, delivery_try, discovery, relay, replay, tasks
from sideeffects.models import Delivery
from sideeffects.replay import Selection
from tests.actors import AMARA
from tests.shop_clock import LIMITS_S, ShopClock
from tests.sideeffects.conftest import Owed, RecordFact

EDGE, HARD = 0.001, LIMITS_S["TASK_HARD_LIMIT_S"]
PATIENCE, PATIENCE_CAP, CAP = LIMITS_S["PATIENCE_S"], LIMITS_S["PATIENCE_CAP_S"], LIMITS_S["DELIVERY_BACKOFF_CAP_S"]
SCALE = 0.1


@pytest.fixture
def owed(clock: ShopClock, record_fact: RecordFact) -> Owed:
    """Recorded at the clock's first instant, and numbered."""
    found = record_fact("email")
    relay.owe(None)
    return found


def declared(subscriber: str, **changes: Any) -> Subscription:
    return replace(discovery.subscriptions()[subscriber], **changes)


def fails(event: OrderFulfilled, delivery: Delivery) -> None:
    raise RuntimeError("broken")


def published(clock: ShopClock, lost_before: Any = None) -> list[int]:
    return [message.launch for message in relay.due(discovery.names(), lost_before, relay.after_loss)]


def test_a_try_lasts_twice_its_limit_and_the_time_after_which_it_is_killed(owed: Owed, clock: ShopClock) -> None:
    """Read in the middle of the try, as the relay reads it."""
    seen: list[Delivery] = []
    subscription = declared("email", timeout_s=30, handler=lambda event, delivery: seen.append(owed.delivery))
    clock.passes(5)

    assert delivery_try.deliver(subscription, owed.fact.pk) == "delivered"

    assert seen[0].state == "started"
    assert (clock.left(seen[0].wake_at), seen[0].launched_at) == ((2 * 30 + 5) * SCALE, None)
    assert (clock.left(owed.delivery.delivered_at), owed.delivery.wake_at) == (0, None)


@pytest.mark.parametrize(("edge", "times"), [(min, 0.8), (max, 1.2)], ids=["earliest", "latest"])
@pytest.mark.parametrize("outside", [False, True], ids=["our rows", "outside"])
def test_a_try_that_failed_backs_off_doubling_capped_and_within_a_fifth(
    owed: Owed, clock: ShopClock, monkeypatch: pytest.MonkeyPatch, outside: bool, edge: Any, times: float
) -> None:
    monkeypatch.setattr(random, "uniform", lambda low, high: edge(low, high))
    subscription = declared("email", handler=fails, outside=outside, final=(), backoff_s=30)
    waits = []
    for _ in range(11):
        delivery_try.deliver(subscription, owed.fact.pk)
        waits.append(clock.left(owed.delivery.wake_at))
        clock.until(owed.delivery.wake_at)
        assert published(clock) == [len(waits) + 1]

    assert waits == [pytest.approx(times * min(3.0 * 2**tries, CAP)) for tries in range(11)]
    assert waits[-1] == pytest.approx(times * CAP)


@pytest.mark.parametrize("outside", [False, True], ids=["our rows", "outside"])
def test_it_is_tried_for_days_and_is_a_dead_letter_at_the_end_of_its_limit(owed: Owed, clock: ShopClock, outside: bool) -> None:
    """A mail server that is away for the weekend loses no receipt."""
    subscription = declared("email", handler=fails, outside=outside)
    delivery_try.deliver(subscription, owed.fact.pk)
    gives_up_at = clock.now + timedelta(seconds=LIMITS_S["DELIVERY_LIMIT_S"])

    clock.until(gives_up_at, -EDGE)
    delivery_try.deliver(subscription, owed.fact.pk)
    assert owed.row()[:2] == ("retry_wait", 2)
    clock.until(gives_up_at)
    delivery_try.deliver(subscription, owed.fact.pk)

    assert (owed.row(), owed.delivery.wake_at) == (("dead", 3, "RuntimeError"), None)


@pytest.mark.parametrize("jumped_s", [LIMITS_S["DELIVERY_LIMIT_S"], -3600.0], ids=["ahead", "back"])
def test_a_jump_of_the_clock_is_no_time_in_which_it_failed(owed: Owed, clock: ShopClock, jumped_s: float) -> None:
    delivery_try.deliver(declared("email", handler=fails), owed.fact.pk)
    clock.passes(jumped_s)

    relay.move_with_the_clock(jumped_s)

    assert clock.left(owed.delivery.failing_since) == 0


def test_no_number_of_tries_is_the_end(owed: Owed, clock: ShopClock) -> None:
    subscription = declared("email", handler=fails)
    for _ in range(50):
        delivery_try.deliver(subscription, owed.fact.pk)
        clock.until(owed.delivery.wake_at)
        assert len(published(clock)) == 1

    assert owed.row()[:2] == ("retry_wait", 50)


def test_what_our_own_database_cannot_serve_waits_a_patience_that_doubles(
    owed: Owed, clock: ShopClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery_try, "was_not_served", lambda error: True)
    subscription = declared("loyalty", name="email", handler=fails)
    waits = []
    for _ in range(20):  # nor does it end: more than POISON_AFTER messages have come out of the queue
        delivery_try.deliver(subscription, owed.fact.pk)
        waits.append(clock.left(owed.delivery.wake_at))
        clock.until(owed.delivery.wake_at)
        assert len(published(clock)) == 1

    assert waits == [min(PATIENCE * 2**times, PATIENCE_CAP) for times in range(20)]
    assert owed.delivery.tries == 0


@pytest.mark.parametrize(("before_s", "is_lost"), [(EDGE, False), (0, True)], ids=["just before its end", "at its end"])
def test_a_worker_is_lost_at_the_end_of_its_lease_and_the_next_try_backs_off(
    owed: Owed, clock: ShopClock, before_s: float, is_lost: bool
) -> None:
    subscription = discovery.subscriptions()["email"]
    started = deliveries.start(owed.fact.pk, "email", delivery_try._lease_s(subscription), 1.0)
    assert started is not None
    assert clock.left(started.fact.at) == 0
    clock.passes((2 * subscription.timeout_s + 5) * SCALE - before_s)

    assert published(clock) == []

    assert owed.delivery.state == ("retry_wait" if is_lost else "started")
    if is_lost:
        assert clock.left(owed.delivery.wake_at) == subscription.backoff_s * SCALE


@pytest.mark.parametrize(("before_s", "launches"), [(EDGE, []), (0, [2])], ids=["just before", "then"])
def test_a_delivery_is_due_at_its_instant(owed: Owed, clock: ShopClock, before_s: float, launches: list[int]) -> None:
    delivery_try.deliver(declared("email", handler=fails), owed.fact.pk)
    clock.until(owed.delivery.wake_at, -before_s)

    assert published(clock) == launches
    if launches:
        assert (clock.left(owed.delivery.launched_at), owed.delivery.wake_at) == (0, None)


@pytest.mark.parametrize(("after_s", "is_lost"), [(0, False), (EDGE, True)], ids=["as late as it may be", "earlier"])
def test_a_fact_s_first_message_is_lost_if_a_stamp_left_a_hard_limit_after_it_and_came_out(
    owed: Owed, clock: ShopClock, after_s: float, is_lost: bool
) -> None:
    clock.until(Fact.objects.get().at, HARD + after_s)
    stamp_comes_out(clock)

    relay.owe(queue_probes.lost_before(tasks.QUEUE))

    assert Delivery.objects.exists() is is_lost
    if is_lost:
        assert clock.left(owed.delivery.wake_at) == 0


@pytest.mark.parametrize(("after_s", "launches"), [(0, []), (EDGE, [3])], ids=["as late as it may be", "earlier"])
def test_a_message_of_the_relay_is_lost_by_the_same_rule(owed: Owed, clock: ShopClock, after_s: float, launches: list[int]) -> None:
    clock.passes(HARD + EDGE)
    stamp_comes_out(clock)
    relay.owe(queue_probes.lost_before(tasks.QUEUE))
    assert published(clock) == [2]
    clock.until(owed.delivery.launched_at, HARD + after_s)
    stamp_comes_out(clock)

    assert published(clock, queue_probes.lost_before(tasks.QUEUE)) == launches


def stamp_comes_out(clock: ShopClock) -> None:
    QueueProbe.objects.get_or_create(queue=tasks.QUEUE)
    queue_probes.probe_came_out(tasks.QUEUE, clock.now)


def test_what_a_person_replays_is_due_now(owed: Owed, clock: ShopClock) -> None:
    delivery_try.deliver(declared("email", handler=fails, final=(RuntimeError,)), owed.fact.pk)
    clock.passes(86_400)

    assert replay.replay(Selection(), {"email"}, actor=AMARA, reason="mended", rate_per_s=20) == 1

    assert (clock.left(owed.delivery.wake_at), owed.delivery.tries, owed.delivery.relaunches) == (0, 0, 0)


def test_how_long_the_relay_was_silent_is_counted_from_its_heartbeat(clock: ShopClock) -> None:
    relay.record_heartbeat()
    clock.passes(33)

    assert relay.age_s() == 33
