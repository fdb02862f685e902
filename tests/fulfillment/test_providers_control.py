"""The control of the sandbox: what is down, what is forgotten, what is planted; for tests and demos alone."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import httpx
import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.fulfillment.conftest import SandboxProcess


ADDRESS = {"name": "A", "line1": "B", "city": "C", "postal_code": "D", "country": "IE"}
PARCELS = [{"sku": "TENT", "quantity": 1}]


@pytest.fixture
def control(sandbox: "SandboxProcess") -> "Iterator[SandboxProcess]":
    """Everything is up again afterwards."""
    yield sandbox
    take_down(sandbox)


def take_down(sandbox: "SandboxProcess", *areas: str) -> httpx.Response:
    return sandbox.client.put("/control", json={"down": list(areas)})


def plant(sandbox: "SandboxProcess", operation: str, order: str, **more: Any) -> httpx.Response:
    body = {"operation": operation, "order": order, "key": f"{order}:do"} | more
    return sandbox.client.post("/control/plant", json=body)


def status_and_code(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


# --- down ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("area", ["charges", "refunds", "labels", "label_cancels"])
def test_what_is_down_answers_an_error_and_does_nothing(control: "SandboxProcess", area: str) -> None:
    """Both ways of a compensation belong together; everything else works on, look-ups of what is down included."""
    order = f"ORD-{area}"
    charge = control.charge(order, key=f"{order}:first").json()["id"]
    label = control.book(order).json()["id"]

    assert take_down(control, area).json() == control.client.get("/control").json() == {"down": [area]}
    answers = {
        "charges": [control.charge(order)],
        "refunds": [
            control.post("/v1/refunds", f"{order}:u1", charge=charge, amount=1),
            control.post("/v1/charges/cancel_by_key", f"{order}:u2", key=f"{order}:first", order=order),
        ],
        "labels": [control.post("/v1/labels", f"{order}:again", order=order, address=ADDRESS, parcels=PARCELS)],
        "label_cancels": [
            control.post(f"/v1/labels/{label}/cancel", f"{order}:u3"),
            control.post("/v1/labels/cancel_by_key", f"{order}:u4", key=f"{order}:shipping:do:1", order=order),
        ],
    }

    for name, given in answers.items():
        assert {answer.status_code < 300 for answer in given} == {name != area}
    assert {status_and_code(answer) for answer in answers[area]} == {(503, "unavailable")}
    assert control.client.get("/v1/charges", params={"key": f"{order}:first"}).json()["data"]


def test_the_full_set_of_what_is_down_is_given_each_time(control: "SandboxProcess") -> None:
    """What is not named is up, for every profile; the same key then does what it could not do."""
    take_down(control, "charges", "labels")
    body = {"order": "ORD-1", "amount": 1, "currency": "EUR", "token": "tok_ok"}
    assert status_and_code(control.post("/watch/v1/charges", "ORD-1:do", 5.0, **body)) == (503, "unavailable")

    assert take_down(control, "labels", "labels").json() == {"down": ["labels"]}

    assert control.post("/watch/v1/charges", "ORD-1:do", 5.0, **body).status_code == 201


@pytest.mark.parametrize(
    ("body", "field"),
    [({}, "down"), ({"down": "charges"}, "down"), ({"down": ["charges", "webhooks"]}, "down.1"), ({"down": [["charges"]]}, "down.0")],
)
def test_an_unknown_word_is_refused_and_nothing_changes(control: "SandboxProcess", body: dict[str, Any], field: str) -> None:
    """A typing error never leaves a test without its fault unnoticed."""
    take_down(control, "refunds")

    answer = control.client.put("/control", json=body)

    assert (answer.status_code, answer.json()["error"]["field"]) == (400, field)
    assert control.client.get("/control").json() == {"down": ["refunds"]}


# --- forgotten ----------------------------------------------------------------------------------------------------------


def test_a_pruned_key_is_a_new_request(sandbox: "SandboxProcess") -> None:
    """As after the provider's window: the customer pays twice, unless somebody looks up first. Other profiles keep theirs."""
    first = sandbox.charge("ORD-10").json()
    elsewhere = sandbox.client.post("/control/forget", json={"profile": "burn", "key": "ORD-10:payment:do:1"})
    assert (elsewhere.json(), sandbox.charge("ORD-10").json()) == ({"forgotten": False}, first)

    assert sandbox.client.post("/control/forget", json={"key": "ORD-10:payment:do:1"}).json() == {"forgotten": True}

    assert sandbox.charge("ORD-10").json()["id"] != first["id"]
    cancelled = sandbox.post("/v1/charges/cancel_by_key", "ORD-10:u", key="ORD-10:payment:do:1", order="ORD-10").json()
    assert cancelled["refunded"] == 2 * 8420


def test_a_tombstone_is_not_pruned(sandbox: "SandboxProcess") -> None:
    """The tombstone stays."""
    sandbox.post("/v1/charges/cancel_by_key", "ORD-11:u", key="ORD-11:payment:do:1", order="ORD-11")
    sandbox.client.post("/control/forget", json={"profile": "", "key": "ORD-11:payment:do:1"})

    assert status_and_code(sandbox.charge("ORD-11")) == (402, "cancelled_by_key")


# --- planted ------------------------------------------------------------------------------------------------------------


def test_planted_effects_are_effects(sandbox: "SandboxProcess") -> None:
    """Ledger, look-up and list show them as if somebody had asked."""
    charge = plant(sandbox, "charge", "ORD-20", amount=500, currency="EUR", profile="watch").json()["id"]
    refund = plant(sandbox, "refund", "ORD-20", amount=200, profile="watch")
    label = plant(sandbox, "label", "ORD-20").json()["id"]
    cancel = plant(sandbox, "cancel_label", "ORD-20")

    assert [(answer.status_code, answer.json()) for answer in (refund, cancel)] == [(201, {"id": charge}), (201, {"id": label})]
    key = "ORD-20:do"
    assert sandbox.effects("ORD-20") == [("charge", key, 500), ("refund", key, 200), ("label", key, None), ("cancel_label", key, None)]
    (found,) = sandbox.client.get("/watch/v1/charges", params={"key": key}).json()["data"]
    assert (found["id"], found["amount"], found["refunded"], found["order"]) == (charge, 500, 200, "ORD-20")
    listed = sandbox.client.get("/v1/labels").json()["data"]
    assert [entry["cancelled"] for entry in listed if entry["id"] == label] == [True]


def test_a_second_charge_can_be_planted_beside_a_real_one(sandbox: "SandboxProcess") -> None:
    """A divergence for somebody to find."""
    sandbox.charge("ORD-21", key="ORD-21:do")
    plant(sandbox, "charge", "ORD-21", amount=8420, currency="EUR")

    assert sandbox.effects("ORD-21") == [("charge", "ORD-21:do", 8420)] * 2


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"operation": "gift"}, "operation"),
        ({"operation": "charge", "currency": "EUR"}, "amount"),
        ({"operation": "charge", "amount": 1}, "currency"),
        ({"operation": "charge", "amount": 1, "currency": "EUR", "profile": "nobody"}, "profile"),
        ({"operation": "charge", "amount": 1, "currency": "EUR", "profile": ["watch"]}, "profile"),
        ({"operation": "refund", "amount": 1}, "key"),
        ({"operation": "cancel_label"}, "key"),
    ],
)
def test_what_cannot_be_planted_is_refused(sandbox: "SandboxProcess", body: dict[str, Any], field: str) -> None:
    """The field is named and nothing is entered."""
    answer = plant(sandbox, order="ORD-22", **body)

    assert answer.status_code in (400, 404)
    assert (answer.json()["error"]["field"], sandbox.effects("ORD-22")) == (field, [])


def test_a_planted_refund_stays_within_its_charge(sandbox: "SandboxProcess") -> None:
    """Even a divergence gives back no more than was taken."""
    plant(sandbox, "charge", "ORD-23", amount=100, currency="EUR")

    assert status_and_code(plant(sandbox, "refund", "ORD-23", amount=101)) == (400, "amount_exceeds_captured")
    assert sandbox.effects("ORD-23") == [("charge", "ORD-23:do", 100)]


# --- where there is none ------------------------------------------------------------------------------------------------


def test_without_demo_values_there_is_no_control(new_sandbox: Callable[..., "SandboxProcess"]) -> None:
    """Nobody plants anything in earnest."""
    strict = new_sandbox(demo_values=False)

    answers = [
        strict.client.get("/control"),
        take_down(strict, "charges"),
        strict.client.post("/control/forget", json={"key": "k"}),
        plant(strict, "charge", "ORD-30", amount=1, currency="EUR"),
    ]

    assert [answer.status_code for answer in answers] == [404, 404, 404, 404]
    assert strict.client.get("/ledger").json() == []


def test_the_control_knows_its_methods(sandbox: "SandboxProcess") -> None:
    """A wrong one is told so, in JSON."""
    asked = [("POST", "/control"), ("DELETE", "/control"), ("GET", "/control/plant"), ("PUT", "/control/forget")]

    assert {status_and_code(sandbox.client.request(method, path)) for method, path in asked} == {(405, "method_not_allowed")}
