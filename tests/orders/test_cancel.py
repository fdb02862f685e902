"""Promise: a cancel is answered by what it can still do: an order that has ended is not cancelled, and says so."""

from typing import Any

import pytest

from fulfillment.models import Saga, StepRecord
from orders.models import Order, Status
from orders.timeline import TimelineEntry
from tests.orders.conftest import Client


def cancelled(client: Client, number: str) -> Any:
    return client.api.post(f"/api/v1/orders/{number}/cancel")


def ended(client: Client, body: dict[str, Any], state: str, failure: str) -> Order:
    """As the engine leaves it."""
    order = Order.objects.get(number=client.post(body).json()["number"])
    Saga.objects.update(state=state, failure=failure, wake_at=None)
    StepRecord.objects.update(state="not_needed")
    order.move(Status.PROCESSING)
    order.move(Status(failure or "fulfilled"))
    return order


@pytest.mark.parametrize(
    ("state", "failure"),
    [
        ("completed", ""),
        ("compensated", "payment_failed"),
        ("compensated", "failed"),
        ("closed_by_operator", "shipping_failed"),
    ],
)
def test_an_order_that_has_ended_otherwise_is_not_cancelled(client: Client, body: dict[str, Any], state: str, failure: str) -> None:
    """Nobody tells me that something is under way when nothing is."""
    order = ended(client, body, state, failure)
    before = TimelineEntry.objects.count()

    answers = [cancelled(client, order.number) for _ in range(2)]

    assert [answer.status_code for answer in answers] == [409, 409], answers[0].json()
    document = answers[0].json()
    assert (document["code"], document["order"], document["allowed_actions"]) == ("invalid_state", order.number, [])
    assert document["order_status"] == order.status
    assert TimelineEntry.objects.count() == before
    assert Order.objects.get().status == (failure or "fulfilled")


@pytest.mark.parametrize("state", ["compensated", "closed_by_operator"])
def test_an_order_that_is_cancelled_is_cancelled(client: Client, body: dict[str, Any], state: str) -> None:
    """I ask again, because the answer was lost: what I want is so, and nothing is under way any more."""
    order = ended(client, body, state, "cancelled")

    answer = cancelled(client, order.number)

    assert (answer.status_code, answer.json()) == (200, {"number": order.number, "cancel": "cancelled", "status": "cancelled"})


def test_an_order_that_is_being_compensated_ends_as_it_failed(client: Client, body: dict[str, Any]) -> None:
    number = client.post(body).json()["number"]
    Saga.objects.update(state="compensating", failure="inventory_failed")

    answer = cancelled(client, number)

    assert (answer.status_code, answer.json()["cancel"]) == (202, "undoing")


def test_an_order_that_is_under_way_is_cancelled_at_the_next_border(client: Client, body: dict[str, Any]) -> None:
    number = client.post(body).json()["number"]

    answers = [cancelled(client, number) for _ in range(2)]

    assert [(answer.status_code, answer.json()["cancel"]) for answer in answers] == [(202, "accepted")] * 2


@pytest.mark.parametrize("sent", [{"reason": "too late"}, ["x"]])
def test_a_cancel_takes_no_fields(client: Client, body: dict[str, Any], sent: Any) -> None:
    """What I send and nobody would read is refused by name, and nothing is recorded."""
    number = client.post(body).json()["number"]

    answer = client.api.post(f"/api/v1/orders/{number}/cancel", sent, format="json")

    assert (answer.status_code, answer["Content-Type"]) == (400, "application/problem+json")
    assert Saga.objects.get().cancel_requested_at is None


def test_an_empty_object_is_no_field(client: Client, body: dict[str, Any]) -> None:
    number = client.post(body).json()["number"]

    assert client.api.post(f"/api/v1/orders/{number}/cancel", {}, format="json").status_code == 202
