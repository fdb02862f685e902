"""Promise: whoever holds, or breaks, what belongs to the side effects keeps nobody from seeing an order."""

import time
import uuid
from typing import Any

import pytest
from django.db import connection
from django.test import Client as Browser

from config import status
from fulfillment.models import Saga
from orders.incidents import IncidentKind, open_incident
from orders.models import Fact, Order
from sideeffects.models import Delivery
from tests.holding import held
from tests.orders.conftest import Client

HELD = "LOCK TABLE sideeffects_delivery, sideeffects_subscriber, sideeffects_relayheartbeat IN ACCESS EXCLUSIVE MODE"
WITHIN_S = 2.0


@pytest.fixture
def client(transactional_db: None, catalogue: None) -> Client:
    return Client("web-shop")


@pytest.fixture
def order(client: Client, body: dict[str, Any]) -> Order:
    """It is fulfilled, as far as its side effects can see; another order has no fact yet."""
    order, _ = (Order.objects.get(number=client.post(body).json()["number"]) for _ in range(2))
    columns = {"type": "order.fulfilled", "version": 2, "correlation_id": "c", "payload": {}, "relayed_at": "2026-11-24T00:00Z"}
    fact = Fact.objects.create(id=uuid.uuid4(), order=order, **columns)
    Delivery.objects.create(fact=fact, subscriber="email", state="delivered")
    Saga.objects.filter(order=order).update(state="completed", wake_at=None)
    return order


def timed(ask: Any) -> Any:
    begun = time.monotonic()
    answer = ask()
    assert time.monotonic() - begun < WITHIN_S
    assert answer.status_code == 200
    return answer


def test_the_list_and_the_page_say_that_they_cannot_be_read(operator: Browser, order: Order) -> None:
    """I see my orders as always, and no empty list that I could take for the truth."""
    with held(HELD):
        listed = timed(lambda: operator.get("/admin/orders/order/")).content.decode()
        page = timed(lambda: operator.get(f"/admin/orders/order/{order.pk}/change/")).content.decode()

    assert listed.count("cannot be read") == 1
    assert listed.count(order.number) >= 1
    assert "They cannot be read now" in page
    assert "The order is done; its side effects cannot be read now." in page
    assert "Order placed" in page
    assert "1/1" in timed(lambda: operator.get("/admin/orders/order/")).content.decode()


def test_a_client_reads_its_order_and_null_for_them(client: Client, order: Order) -> None:
    with held(HELD):
        shown = timed(lambda: client.get(f"/orders/{order.number}?expand=steps,deliveries,why")).json()

    assert shown["deliveries"] is None
    assert (shown["number"], len(shown["steps"])) == (order.number, 3)
    assert [effect["state"] for effect in client.get(f"/orders/{order.number}?expand=deliveries").json()["deliveries"]] == ["delivered"]


def test_a_table_that_is_broken_hides_no_order_either(client: Client, operator: Browser, order: Order) -> None:
    """Half of a migration was taken back by hand."""
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE sideeffects_delivery RENAME TO gone")
        try:
            assert client.get(f"/orders/{order.number}?expand=deliveries").json()["deliveries"] is None
            assert "cannot be read" in operator.get("/admin/orders/order/").content.decode()
        finally:
            cursor.execute("ALTER TABLE gone RENAME TO sideeffects_delivery")


def test_the_numbers_of_the_core_are_shown_too(order: Order) -> None:
    with held(HELD):
        begun = time.monotonic()
        counted = status.numbers()

    assert time.monotonic() - begun < WITHIN_S
    assert counted["orders"]["under_way"] == 1
    assert (counted["deliveries"], counted["relay_age_s"]) == (None, None)
    assert status.numbers()["deliveries"] == {"waiting": 0, "dead": 0, "held": 0}


def test_the_status_gets_to_what_the_core_has_to_report(order: Order, client: Client) -> None:
    """A monitor learns of an incident in time, whoever holds what it is not about."""
    open_incident(IncidentKind.MISMATCH, subject=order.number, currency="EUR", amount_minor=8420)
    with held(HELD):
        found = {finding["what"]: finding["found"] for finding in status.Examination(WITHIN_S).report()["findings"]}

    assert found["incidents"] == "1 open, €84.20 at risk"
    assert found["relay"].startswith("cannot be read")
