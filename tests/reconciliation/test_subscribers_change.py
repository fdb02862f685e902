"""Promise: a subscriber may come or go, and no order of before becomes a finding."""

import pytest

from orders.events import OrderFulfilled
from orders.models import Order
from sideeffects import discovery, relay
from tests.reconciliation.shop import Shop
from tests.sideeffects.conftest import ALL_LOST


@pytest.fixture
def fulfilled(shop: Shop) -> Order:
    order = shop.place()
    relay.register(discovery.types(), release=1)
    relay.owe(ALL_LOST)
    return order


def test_a_subscriber_that_has_gone_leaves_older_orders_well(shop: Shop, fulfilled: Order) -> None:
    """We gave up the loyalty programme: what was published to it then was right then."""
    relay.register({name: types for name, types in discovery.types().items() if name != "loyalty"}, release=2)

    assert shop.found() == []


def test_a_subscriber_that_is_new_was_not_owed_older_orders(shop: Shop, fulfilled: Order) -> None:
    """We ask for a survey from today: nobody who ordered yesterday is asked."""
    relay.register({**discovery.types(), "survey": {OrderFulfilled.type}}, release=2)

    assert shop.found() == []
