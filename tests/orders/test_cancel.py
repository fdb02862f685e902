"""Promise: a cancel is answered by what it can still do: an order that has ended is not cancelled, and says so."""

from typing import Any

import pytest

from fulfillment import engine, recovery
from fulfillment.models import Saga, StepRecord, StockLevel
from orders.models import Order, Status
from orders.timeline import TimelineEntry
from tests.fulfillment.driving import paid
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


@pytest.mark.parametrize(
    ("state", "failure", "says"),
    [
        ("completed", "", "has been shipped, and can no longer be cancelled."),
        ("compensated", "payment_failed", "has ended as payment_failed, and can no longer be cancelled."),
    ],
)
def test_a_refused_cancel_says_which_end_it_is(client: Client, body: dict[str, Any], state: str, failure: str, says: str) -> None:
    order = ended(client, body, state, failure)

    assert cancelled(client, order.number).json()["detail"] == f"{order.number} {says}"


# --- the order says what has become of it ---


def shown(client: Client, number: str) -> Any:
    """The same in a list."""
    order = client.get(f"/orders/{number}").json()
    assert client.get("/orders?fields=number,cancel").json()["data"] == [{"number": number, "cancel": order["cancel"]}]
    return order["cancel"]


def test_an_order_that_nobody_has_cancelled_says_so(client: Client, body: dict[str, Any]) -> None:
    assert shown(client, client.post(body).json()["number"]) is None


def test_a_cancel_stands_on_the_order_until_it_is_cancelled(client: Client, body: dict[str, Any]) -> None:
    """I need not remember what I was answered, and whoever looks at my order sees that it was cancelled."""
    number = client.post(body).json()["number"]
    saga = Saga.objects.get().pk
    paid(saga)

    said = cancelled(client, number).json()["cancel"]
    recorded = shown(client, number)
    recovery.inspect_saga(saga)
    undoing = client.get(f"/orders/{number}").json()
    claim = engine.start(saga, 2, "payment", compensating=True)
    assert claim is not None
    engine.record_success(claim, {"amount_minor": claim.amount_minor})

    assert (said, recorded) == ("accepted", "accepted")
    assert (undoing["status"], undoing["cancel"], undoing["allowed_actions"]) == ("compensating", "accepted", [])
    assert (client.get(f"/orders/{number}").json()["status"], shown(client, number)) == ("cancelled", "cancelled")


def test_a_cancel_that_waits_for_the_parcel_is_pending_and_then_too_late(client: Client, body: dict[str, Any]) -> None:
    """I learn who has won."""
    number = client.post(body).json()["number"]
    saga = Saga.objects.get().pk
    paid(saga)
    StockLevel.objects.update(on_hand=100)
    engine.run_local(saga, 1, "inventory", compensating=False)
    claim = engine.start(saga, 1, "shipping", compensating=False)
    assert claim is not None

    said = cancelled(client, number).json()["cancel"]
    recorded = shown(client, number)
    engine.record_success(claim, {"label_id": "lb_1", "tracking": "TRACK1"})

    assert (said, recorded, shown(client, number)) == ("pending", "pending", "too_late")
    assert cancelled(client, number).json()["detail"].endswith("has been shipped, and can no longer be cancelled.")


def test_an_order_that_has_failed_is_being_undone_whether_i_ask_or_not(client: Client, body: dict[str, Any]) -> None:
    order = client.post(body).json()["number"]
    Saga.objects.update(state="compensating", failure="inventory_failed")

    assert (shown(client, order), cancelled(client, order).json()["cancel"]) == ("undoing", "undoing")
    Saga.objects.update(state="compensated", wake_at=None)
    assert shown(client, order) is None


def test_what_nobody_can_read_says_nothing_of_a_cancel(client: Client, body: dict[str, Any]) -> None:
    number = client.post(body).json()["number"]
    cancelled(client, number)
    Saga.objects.update(plan=["poison"])

    assert shown(client, number) is None


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
