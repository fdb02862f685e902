"""Promise: one answer tells of one instant: whatever the shop does while it is made, its parts do not contradict each other."""

from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection, transaction

from fulfillment.models import Saga, StepRecord
from orders.database import snapshot
from orders.models import Fact, Order, Status
from tests.fulfillment.quarantine.test_quarantine_shown import plan_becomes_corrupt
from tests.holding import held
from tests.orders.conftest import Client
from tests.sides import at_once

THE_ORDER = 'FROM "orders_order"'


@pytest.fixture
def client(transactional_db: None, catalogue: None) -> Client:
    client = Client("web-shop")
    client.get("/orders")  # that the token was used is written down
    return client


@pytest.fixture
def number(client: Client, body: dict[str, Any]) -> str:
    return str(client.post(body).json()["number"])


@transaction.atomic
def ships() -> None:
    """Everything of the order ends in one commit."""
    order = Order.objects.get()
    StepRecord.objects.update(state="succeeded", receipt={"tracking": "TRACK1"})
    Saga.objects.update(state="completed", wake_at=None)
    order.move(Status.PROCESSING)
    order.move(Status.FULFILLED)


def read(client: Client, path: str) -> Callable[[], Any]:
    return lambda: client.get(path).json()


@pytest.mark.parametrize("expand", ["steps", "steps,why", "timeline,steps"])
def test_an_order_that_ends_while_it_is_read_is_shown_as_it_was(client: Client, number: str, expand: str) -> None:
    """No parcel has a number while its order is still waiting for payment."""
    then, _ = at_once(read(client, f"/orders/{number}?expand={expand}"), THE_ORDER, ships, must_wait=False)

    assert (then["status"], then["tracking_number"], then["allowed_actions"]) == ("placed", None, ["cancel"])
    assert {step["state"] for step in then["steps"]} == {"pending", "scheduled"}
    assert then.get("why", {"sentence": "Payment is next."})["sentence"] == "Payment is next."
    assert client.get(f"/orders/{number}").json()["tracking_number"] == "TRACK1"


@pytest.mark.parametrize("query", ["expand=steps", "fields=number,status,tracking_number"])
def test_so_is_each_of_a_list(client: Client, number: str, query: str) -> None:
    page, _ = at_once(read(client, f"/orders?{query}"), THE_ORDER, ships, must_wait=False)

    (then,) = page["data"]
    assert (then["status"], then.get("tracking_number")) == ("placed", None)
    assert {step["state"] for step in then.get("steps", [])} <= {"pending", "scheduled"}


def test_a_list_that_is_read_at_once_needs_no_transaction(client: Client, number: str, django_assert_num_queries: Any) -> None:
    """Lines never change."""
    with django_assert_num_queries(3):
        client.get("/orders")


def test_a_snapshot_writes_nothing_and_leaves_nothing_behind(client: Client, number: str) -> None:
    """What I do next on the same connection is as always."""
    with snapshot(), connection.cursor() as cursor:
        cursor.execute("SELECT current_setting('transaction_isolation'), current_setting('transaction_read_only')")
        assert cursor.fetchone() == ("repeatable read", "on")

    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT current_setting('transaction_isolation'), current_setting('transaction_read_only')")
        assert cursor.fetchone() == ("read committed", "off")


def test_a_plan_that_cannot_be_read_hides_nothing_else(client: Client, number: str) -> None:
    saga = Saga.objects.defer("plan").get()
    plan_becomes_corrupt(saga.pk)

    shown = client.get(f"/orders/{number}?expand=why,steps,deliveries,timeline")

    assert shown.status_code == 200
    assert (shown.json()["status"], shown.json()["allowed_actions"], len(shown.json()["steps"])) == ("placed", [], 3)
    assert shown.json()["why"]["sentence"] == "It takes longer than usual."


def test_side_effects_that_cannot_be_read_hide_nothing_else_and_limit_nothing_else(client: Client, number: str) -> None:
    """Their limit of time is theirs alone."""
    limits: list[str] = []

    def look(execute: Any, sql: str, *rest: Any) -> Any:
        if "fulfillment_quarantine" in sql:
            with connection.connection.cursor() as cursor:
                limits.extend(cursor.execute("SELECT current_setting('statement_timeout')").fetchone())
        return execute(sql, *rest)

    order = Order.objects.get()
    _with_a_fact(order)
    path = f"/orders/{number}?expand=deliveries,why"
    with connection.execute_wrapper(look):
        assert client.get(path).json()["deliveries"] != []
        with held("LOCK TABLE sideeffects_delivery IN ACCESS EXCLUSIVE MODE"):
            assert client.get(path).json()["deliveries"] is None

    assert len(limits) == 2
    assert "500ms" not in limits


def _with_a_fact(order: Order) -> None:
    Fact.objects.create(
        id="7d0f1f4e-7a53-4b2c-9d3e-3a5d6f1e2b3c", order=order, type="order.fulfilled", version=2, correlation_id="c", payload={}
    )
