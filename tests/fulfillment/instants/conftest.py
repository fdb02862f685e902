"""Sagas whose instants are read back."""

import pytest

from fulfillment import engine, recovery
from fulfillment.errors import InDoubt, StepError, Unavailable
from fulfillment.models import StockLevel
from orders.models import Order
from tests.fulfillment.driving import found, start
from tests.shop_clock import LIMITS_S, ShopClock

LEASE, PATIENCE, PATIENCE_CAP = LIMITS_S["LEASE_S"], LIMITS_S["PATIENCE_S"], LIMITS_S["PATIENCE_CAP_S"]
BACKOFF, BACKOFF_CAP, SAGA_DEADLINE = LIMITS_S["BACKOFF_S"], LIMITS_S["BACKOFF_CAP_S"], LIMITS_S["SAGA_DEADLINE_S"]
DOWN, SILENCE = Unavailable("down", code="connect_failed"), InDoubt("No answer", code="timeout")


@pytest.fixture
def saga(clock: ShopClock, order: Order) -> int:
    """Opened by the clock that the test holds."""
    return engine.open_saga(order).saga


def fail(saga: int, error: StepError, name: str = "payment", compensating: bool = False) -> None:
    assert engine.record_failure(start(saga, name, compensating), error).mine


def inspected_when_due(saga: int, clock: ShopClock) -> engine.Launch | None:
    clock.until(found(saga).wake_at)
    return recovery.inspect_saga(saga)


def out_of_stock() -> None:
    StockLevel.objects.update(on_hand=0)
