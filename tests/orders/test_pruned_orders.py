"""Promise: an order whose history was pruned is still the only one under its key."""

from datetime import timedelta
from typing import Any

from django.core.management import call_command

from fulfillment.clock import ShopNow, shop_now
from fulfillment.models import Saga, SagaState
from orders.models import Fact, Order, Status
from tests.orders.conftest import Client


def test_a_request_that_comes_again_after_years_finds_its_order(client: Client, body: dict[str, Any]) -> None:
    """My shop's queue held a request back for two years: I am not charged a second time."""
    first = client.post(body, key="two years ago")
    for status in (Status.PROCESSING, Status.FULFILLED):
        Order.objects.update(status=status)
    Saga.objects.update(state=SagaState.COMPLETED, wake_at=None, closed_at=shop_now() - timedelta(days=800))
    Fact.objects.update(relayed_at=ShopNow())
    call_command("prune", "--only", "history")
    assert Saga.objects.get().history_pruned_at

    again = client.post(body, key="two years ago")

    assert (again.status_code, again.json()) == (first.status_code, first.json())
    assert Order.objects.count() == 1
