"""Promise: a subscriber may come or go, and no order of before becomes a finding."""

import pytest

from orders.models import Order
from sideeffects import registry
from tests.config.conftest import Shop


@pytest.fixture
def fulfilled(shop: Shop) -> Order:
    return shop.place()


def test_a_subscriber_that_has_gone_leaves_older_orders_well(shop: Shop, fulfilled: Order, monkeypatch: pytest.MonkeyPatch) -> None:
    """We gave up the loyalty programme: what was told to it then was right then."""
    left = [name for name in registry.names() if name != "loyalty"]
    monkeypatch.setattr(registry, "names", lambda: left)

    assert shop.found() == []


def test_a_subscriber_that_is_new_was_not_owed_older_orders(shop: Shop, fulfilled: Order, monkeypatch: pytest.MonkeyPatch) -> None:
    """We ask for a survey from today: nobody who ordered yesterday is asked."""
    more = [*registry.names(), "survey"]
    monkeypatch.setattr(registry, "names", lambda: more)

    assert shop.found() == []
