"""Promise: whatever is wrong with a body is told at once, in an answer that stays small."""

from typing import Any

from tests.orders.conftest import Client


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
    answer = client.api.post("/api/v1/orders", raw, content_type="application/json", headers={"Idempotency-Key": "k"})

    found = told(answer)
    assert (found["/currency"], found["/customer/name"], found["/lines"]) == ("duplicate_field", "required", "required")


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
