"""The sandbox refuses bad input, and names the field."""

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.fulfillment.conftest import SandboxProcess
from tests.fulfillment.sandbox.answers import CHARGE, error_code

LABEL: dict[str, Any] = {
    "order": "ORD-50",
    "address": {"name": "A", "line1": "B", "city": "C", "postal_code": "D", "country": "IE"},
    "parcels": [{"sku": "TENT", "quantity": 1}],
}


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("/v1/charges", {name: value for name, value in CHARGE.items() if name != "token"}, "token"),
        ("/v1/charges", CHARGE | {"amount": -1}, "amount"),
        ("/v1/charges", CHARGE | {"amount": 0}, "amount"),
        ("/v1/charges", CHARGE | {"amount": 1.5}, "amount"),
        ("/v1/charges", CHARGE | {"amount": True}, "amount"),
        ("/v1/charges", CHARGE | {"amount": "1"}, "amount"),
        ("/v1/charges", CHARGE | {"amount": 10**40}, "amount"),
        ("/v1/charges", CHARGE | {"currency": "eur"}, "currency"),
        ("/v1/charges", CHARGE | {"order": ""}, "order"),
        ("/v1/charges", CHARGE | {"order": ["ORD-50"]}, "order"),
        ("/v1/charges", CHARGE | {"order": "x" * 256}, "order"),
        ("/v1/charges", CHARGE | {"order": "\x00"}, "order"),
        ("/v1/charges", CHARGE | {"order": "\ud800"}, "order"),
        ("/v1/refunds", {"charge": "ch_1", "amount": -1}, "amount"),
        ("/v1/charges/cancel_by_key", {"order": "ORD-50"}, "key"),
        ("/v1/labels", LABEL | {"address": "Cork"}, "address"),
        ("/v1/labels", LABEL | {"address": {}}, "address.name"),
        ("/v1/labels", LABEL | {"parcels": []}, "parcels"),
        ("/v1/labels", LABEL | {"parcels": ["TENT"]}, "parcels.0"),
        ("/v1/labels", LABEL | {"parcels": [{"sku": "TENT", "quantity": 0}]}, "parcels.0.quantity"),
    ],
)
def test_bad_input_is_refused_and_the_field_named(sandbox: "SandboxProcess", path: str, body: dict[str, Any], field: str) -> None:
    """Nothing is stored, and the key stays free for the corrected request."""
    answer = sandbox.client.post(path, content=json.dumps(body), headers={"Idempotency-Key": "ORD-50:k"})

    assert (answer.status_code, answer.json()["error"]["field"]) == (400, field)
    assert sandbox.effects("ORD-50") == []


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"\xff", b"[" * 50_000, b'{"amount": ' + b"9" * 5000 + b"}"])
def test_what_is_no_json_object_is_refused(sandbox: "SandboxProcess", content: bytes) -> None:
    """Broken, deep or wrong JSON is a client's fault, never a crash."""
    answer = sandbox.client.post("/v1/charges", content=content, headers={"Idempotency-Key": "ORD-51:k"})

    assert (answer.status_code, error_code(answer)) == (400, "invalid_json")


@pytest.mark.parametrize("headers", [{}, {"Idempotency-Key": ""}, {"Idempotency-Key": "k" * 256}])
def test_a_post_needs_a_key(sandbox: "SandboxProcess", headers: dict[str, str]) -> None:
    """Without a key nobody could ask twice."""
    for path in ("/v1/charges", "/v1/refunds", "/v1/labels", "/v1/labels/lb_1/cancel"):
        answer = sandbox.client.post(path, json=CHARGE, headers=headers)
        assert (answer.status_code, answer.json()["error"]["field"]) == (400, "Idempotency-Key")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
        ("POST", "/nothing", 404),
        ("PUT", "/nothing", 404),
        ("POST", "/burn/v1/charges/cancel_by_key", 404),
        ("GET", "/v1/refunds", 405),
        ("POST", "/ledger", 405),
        ("PUT", "/v1/charges", 405),
        ("GET", "/v1/charges?key=", 400),
        ("GET", "/v1/labels?limit=0", 400),
    ],
)
def test_wrong_paths_and_methods_are_answered_in_json(sandbox: "SandboxProcess", method: str, path: str, status: int) -> None:
    """Every problem has a code."""
    answer = sandbox.client.request(method, path)

    assert answer.status_code == status
    assert error_code(answer)


def test_test_values_are_refused_without_demo_values(new_sandbox: Callable[..., "SandboxProcess"]) -> None:
    """A real shop cannot be paid with a test card."""
    strict = new_sandbox(demo_values=False)

    refused = [strict.charge("ORD-60"), strict.charge("ORD-61", "tok_declined"), strict.book("ORD-60", "00422")]

    assert [(answer.status_code, error_code(answer)) for answer in refused] == [(400, "test_value_refused")] * 3
    assert strict.book("ORD-61").status_code == 201
    assert strict.effects("ORD-60") == []
