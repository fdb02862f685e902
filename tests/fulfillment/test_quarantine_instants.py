"""Promise: what nobody can work on is inspected again when the rules say, neither sooner nor later, and reported when its time has come."""

import random
from typing import Any

import pytest
from django.conf import settings

from fulfillment import engine, recovery
from fulfillment.models import Quarantine, Saga
from orders.models import Incident, Order
from tests.shop_clock import LIMITS_S, ShopClock

pytestmark = pytest.mark.django_db(transaction=True)
BACKOFF, BACKOFF_CAP, PATIENCE_CAP, EDGE = LIMITS_S["BACKOFF_S"], LIMITS_S["BACKOFF_CAP_S"], LIMITS_S["PATIENCE_CAP_S"], 0.001


@pytest.fixture
def broken(transactional_db: None, clock: ShopClock, order: Order) -> int:
    """Its plan cannot be read."""
    saga = engine.open_saga(order).saga
    Saga.objects.filter(pk=saga).update(plan=["poison"])
    clock.until(Saga.objects.get(pk=saga).wake_at)
    return saga


def round_of(clock: ShopClock) -> None:
    assert [launch for found in recovery.due() for launch in found] == []


@pytest.mark.parametrize(("edge", "times"), [(min, 0.8), (max, 1.2)], ids=["earliest", "latest"])
def test_its_inspections_back_off_up_to_a_step_s_cap_and_after_a_person_was_notified_up_to_patience_s(
    broken: int, clock: ShopClock, monkeypatch: pytest.MonkeyPatch, edge: Any, times: float
) -> None:
    monkeypatch.setattr(random, "uniform", lambda low, high: edge(low, high))
    waits, notified_after = [], 0
    for failures in range(1, settings.POISON_AFTER + 5):
        round_of(clock)
        waits.append(clock.left(Quarantine.objects.get().inspect_at))
        notified_after = notified_after or (failures if Incident.objects.exists() else 0)
        clock.until(Quarantine.objects.get().inspect_at)

    alone = [min(BACKOFF * 2**n, BACKOFF_CAP) for n in range(settings.POISON_AFTER - 1)]
    notified = [min(BACKOFF_CAP * 2**n, PATIENCE_CAP) for n in range(5)]
    assert waits == [pytest.approx(times * seconds, rel=1e-5) for seconds in alone + notified]
    assert notified_after == settings.POISON_AFTER
    assert waits[-1] == pytest.approx(times * PATIENCE_CAP)


def test_it_is_left_alone_until_its_instant_and_inspected_then(broken: int, clock: ShopClock) -> None:
    first_at = clock.now
    round_of(clock)
    clock.until(Quarantine.objects.get().inspect_at, -EDGE)

    round_of(clock)
    assert Quarantine.objects.get().failures == 1

    clock.passes(EDGE)
    round_of(clock)
    held = Quarantine.objects.get()
    assert (held.failures, held.first_at, clock.left(held.last_at)) == (2, first_at, 0)
    assert recovery.held_since() == (1, BACKOFF)
