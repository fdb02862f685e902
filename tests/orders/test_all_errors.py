"""Promise: whatever is wrong with a body is told at once, in an answer that stays small."""

from typing import Any

import pytest

from tests.orders.conftest import Client


def sent(client: Client, raw: str, **headers: str) -> Any:
    return client.api.post("/api/v1/orders", raw, content_type="application/json", headers=headers)


def told(answer: Any) -> dict[str, str]:
    """The code of each error, by its place."""
    assert answer.status_code == 400, answer.json()
    return {error["pointer"]: error["code"] for error in answer.json()["errors"]}


def test_errors_of_every_level_come_together(client: Client, body: dict[str, Any]) -> None:
    """I correct my request once, and not once for each level."""
    body |= {"unknown": 1, "currency": "JPY", "expected_total_minor": -1}
    body["customer"] = {"email": "nobody", "surname": "Okafor"}
    body["lines"] = [{"sku": "NO-SUCH", "quantity": 0}, {"sku": "MUG", "quantity": 1}, {"sku": "MUG", "count": 1}, "tent"]
    body["shipping_address"] = {"line1": 7, "city": "Springfield", "country": "US", "zip": "1"}

    assert told(client.post(body)) == {
        "/unknown": "unknown_field",
        "/currency": "foreign_currency",
        "/expected_total_minor": "min_value",
        "/customer/email": "invalid",
        "/customer/name": "required",
        "/customer/surname": "unknown_field",
        "/lines/0/sku": "unknown_sku",
        "/lines/0/quantity": "min_value",
        "/lines/2/sku": "duplicate_sku",
        "/lines/2/quantity": "required",
        "/lines/2/count": "unknown_field",
        "/lines/3": "invalid",
        "/shipping_address/name": "required",
        "/shipping_address/line1": "invalid",
        "/shipping_address/state": "required",
        "/shipping_address/postal_code": "required",
        "/shipping_address/zip": "unknown_field",
    }


def test_a_field_that_stands_twice_and_one_that_is_missing_come_together(client: Client) -> None:
    raw = '{"currency": "EUR", "currency": "JPY", "customer": {}}'

    found = told(sent(client, raw, **{"Idempotency-Key": "k"}))

    assert (found["/currency"], found["/customer/name"], found["/lines"]) == ("duplicate_field", "required", "required")


def test_the_body_the_key_and_the_parameters_are_told_together(client: Client, body: dict[str, Any]) -> None:
    """I correct my request once, whatever part of it is wrong."""
    answer = client.api.post("/api/v1/orders?wait=5", body | {"unknown": 1}, format="json")

    found = [(error["location"], error["pointer"], error["code"]) for error in answer.json()["errors"]]
    assert found == [
        ("query", "/wait", "unknown_parameter"),
        ("header", "/Idempotency-Key", "required"),
        ("body", "/unknown", "unknown_field"),
    ]
    assert answer.json()["detail"] == "3 things are wrong: `errors` names each."


def test_a_cancel_too_is_told_of_all_at_once(client: Client, body: dict[str, Any]) -> None:
    number = client.post(body).json()["number"]

    assert told(client.api.post(f"/api/v1/orders/{number}/cancel?now=1", {"reason": "late"}, format="json")) == {
        "/now": "unknown_parameter",
        "/reason": "unknown_field",
    }


@pytest.mark.parametrize("raw", ["{", "[1, 2", '{"a": NaN}', "\x00", "[" * 100_000, "{'currency': 'EUR'}"])
def test_a_body_that_is_no_json_is_one_fault_of_the_whole(client: Client, raw: str) -> None:
    """``errors`` is there whenever the code is ``validation_error``."""
    answer = sent(client, raw, **{"Idempotency-Key": "k"})

    (error,) = answer.json()["errors"]
    assert (answer.status_code, answer.json()["code"]) == (400, "validation_error")
    assert (error["location"], error["pointer"], error["code"]) == ("body", "", "invalid_json")


def test_a_body_that_is_empty_says_so_and_not_that_each_field_is_missing(client: Client) -> None:
    assert told(sent(client, "", **{"Idempotency-Key": "k"})) == {"": "empty_body"}
    assert told(sent(client, "")) == {"": "empty_body", "/Idempotency-Key": "required"}


@pytest.mark.parametrize("raw", ["[]", '"order"', "7", "null", '{"lines": {}, "customer": []}'])
def test_a_wrong_type_is_named_as_json_names_it(client: Client, raw: str) -> None:
    """I write no Python."""
    answer = sent(client, raw, **{"Idempotency-Key": "k"})

    assert answer.status_code == 400
    for word in ("dictionary", "dict", "list", "NoneType"):
        assert word not in str([error["detail"] for error in answer.json()["errors"]])


def test_a_body_under_a_used_key_that_is_not_valid_says_what_is_wrong(client: Client, body: dict[str, Any]) -> None:
    """Was the rule changed, or do I send nonsense?"""
    number = client.post(body, "k").json()["number"]

    answer = client.post(body | {"currency": "JPY", "lines": []}, "k")
    unread = sent(client, "{", **{"Idempotency-Key": "k"})

    assert (answer.status_code, answer.json()["order"]) == (422, number)
    assert [(error["pointer"], error["code"]) for error in answer.json()["errors"]] == [
        ("/currency", "foreign_currency"),
        ("/lines", "empty"),
    ]
    assert (unread.status_code, unread.json()["errors"][0]["code"]) == (422, "invalid_json")
    assert "errors" not in client.post(body | {"reference": "other"}, "k").json()


def test_an_answer_stays_small_however_much_is_wrong(client: Client, body: dict[str, Any]) -> None:
    """A hundred errors are enough to begin with, and I am told that there are more."""
    body |= {f"field-{number}-{'x' * 500}": number for number in range(150)}
    body["lines"] = [{"sku": "x" * 2000, "quantity": -1, "price": 1}] * 50

    answer = client.post(body)

    document = answer.json()
    assert (answer.status_code, len(document["errors"]), document["more_errors"]) == (400, 100, True)
    assert len(answer.content) < 64 * 1024


def test_sku_that_no_database_could_look_up_are_told_with_the_rest(client: Client, body: dict[str, Any]) -> None:
    body["unknown"] = 1
    body["lines"] = [
        {"sku": "\x00", "quantity": 1},
        {"sku": ["TENT"], "quantity": 1},
        {"sku": " GONE ", "quantity": 1},
        {"quantity": 1},
        None,
    ]

    assert told(client.post(body)) == {
        "/unknown": "unknown_field",
        "/lines/0/sku": "invisible",
        "/lines/1/sku": "invalid",
        "/lines/2/sku": "unknown_sku",
        "/lines/3/sku": "required",
        "/lines/4": "null",
    }


def test_a_sku_of_spaces_alone_is_blank(client: Client, body: dict[str, Any]) -> None:
    """Spaces around a text do not count, so nothing is left of it."""
    body["lines"][0]["sku"] = " "

    assert told(client.post(body)) == {"/lines/0/sku": "blank"}
