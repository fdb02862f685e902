"""What every test may use; the stack itself stands in ``tests/engines.py``, a plugin, because settings are read before any conftest."""

import random
from collections.abc import Iterator
from typing import Any

import pytest

from fulfillment import keys
from tests.shop_clock import LIMITS_S, ShopClock

# Minutes each: what begins last would keep one core waiting.
LONG = ("test_storm_small", "test_storm_many", "test_storm_money", "test_prove")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: LONG.index(item.path.stem) if item.path.stem in LONG else len(LONG))


@pytest.fixture(autouse=True)
def one_nonce(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every key of a test can be written down beforehand."""
    monkeypatch.setattr(keys, "new_nonce", lambda: "testsnonce")


@pytest.fixture
def clock(db: None, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[ShopClock]:
    """It stands still, every limit is a number of its own, and jitter is nil until a test wants it."""
    for name, seconds in LIMITS_S.items():
        setattr(settings, name, seconds)
    monkeypatch.setattr(random, "uniform", lambda low, high: (low + high) / 2)
    clock = ShopClock()
    yield clock
    clock.let_go()
