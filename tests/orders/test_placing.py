"""Promise: a good order is placed once and durably; a bad one is refused with a document that names what is wrong, and nothing is stored."""

import json
from copy import deepcopy
from typing import Any

import pytest

from fulfillment.models import Saga, StepRecord, StockLevel
from orders.models import Order, Product
from tests.orders.conftest import Client


def test_a_good_order_is_stored_with_its_saga_and_its_first_step_scheduled(client: Client, body: dict[str, Any]) -> None:
    """My order, its prices and what happens next are one durable fact."""
    answer = client.post(body)

    assert answer.status_code == 201, answer.json()
    number = answer.json()["number"]
    order = Order.objects.get(number=number)
    assert answer["Location"] == f"/api/v1/orders/{number}"
    assert (order.total_minor, order.status) == (18_900 + 2 * 1_250, "placed")
    assert [(line.sku, line.unit_price_minor) for line in order.lines.all()] == [("TENT", 18_900), ("MUG", 1_250)]
    assert Saga.objects.get(order=order).wake_at is not None
    assert list(StepRecord.objects.filter(saga__order=order).values_list("name", "state")) == [
        ("payment", "scheduled"),
        ("inventory", "pending"),
        ("shipping", "pending"),
    ]


def test_the_price_comes_from_the_catalogue_and_stays_when_the_catalogue_changes(client: Client, body: dict[str, Any]) -> None:
    """What I saw is what I pay."""
    number = client.post(body).json()["number"]
    Product.objects.update(price_minor=1)

    assert client.get(f"/orders/{number}").json()["total_minor"] == 21_400


def _set(path: str, value: Any) -> Any:
    def change(body: dict[str, Any]) -> None:
        *parents, last = path.split("/")
        here: Any = body
        for name in parents:
            here = here[int(name) if name.isdigit() else name]
        here[int(last) if last.isdigit() else last] = value

    return change


@pytest.mark.parametrize(
    ("change", "pointer", "code"),
    [
        (_set("lines/0/sku", "NO-SUCH"), "/lines/0/sku", "unknown_sku"),
        (_set("lines/1/sku", "GONE"), "/lines/1/sku", "unknown_sku"),
        (_set("lines/1/sku", "UNCOUNTED"), "/lines/1/sku", "no_stock_level"),
        (_set("lines/1/sku", "TENT"), "/lines/1/sku", "duplicate_sku"),
        (_set("lines/0/quantity", 0), "/lines/0/quantity", "min_value"),
        (_set("lines/0/quantity", -3), "/lines/0/quantity", "min_value"),
        (_set("lines/0/quantity", 10**12), "/lines/0/quantity", "max_value"),
        (_set("lines/0/quantity", "many"), "/lines/0/quantity", "invalid"),
        (_set("lines/0/price", 1), "/lines/0/price", "unknown_field"),
        (_set("lines", []), "/lines", "empty"),
        (_set("lines", [{"sku": "TENT", "quantity": 1}] * 51), "/lines", "max_length"),
        (_set("currency", "USD"), "/currency", "foreign_currency"),
        (_set("customer/email", "nobody"), "/customer/email", "invalid"),
        (_set("customer/phone", "1"), "/customer/phone", "unknown_field"),
        (_set("customer/name", "a\x00b"), "/customer/name", "null_characters_not_allowed"),
        (_set("shipping_address/country", "Ireland"), "/shipping_address/country", "invalid"),
        (_set("discount", 5), "/discount", "unknown_field"),
        (_set("payment", {}), "/payment/token", "required"),
    ],
)
def test_a_bad_body_is_refused_by_name_and_nothing_is_stored(
    client: Client, body: dict[str, Any], change: Any, pointer: str, code: str
) -> None:
    """I am told which field is wrong and why."""
    change(body)

    answer = client.post(body)

    document = answer.json()
    assert answer.status_code == 400, document
    assert answer["Content-Type"] == "application/problem+json"
    assert {"type", "title", "status", "code", "detail", "request_id", "errors"} <= set(document)
    assert (pointer, code) in [(error["pointer"], error["code"]) for error in document["errors"]], document
    assert not Order.objects.exists()


def test_a_product_of_which_there_is_no_stock_level_is_not_sold(client: Client, body: dict[str, Any]) -> None:
    """I am told so before my card is charged. One of which nothing is left may be ordered: it may be back before the order is packed."""
    body["lines"] = [{"sku": "UNCOUNTED", "quantity": 1}]

    answer = client.post(body)

    assert answer.status_code == 400
    [error] = answer.json()["errors"]
    assert (error["pointer"], error["code"]) == ("/lines/0/sku", "no_stock_level")
    assert error["detail"] == "UNCOUNTED is not sold: the shop keeps no stock of it."
    assert "UNCOUNTED" not in client.get("/products").content.decode()
    StockLevel.objects.create(sku="UNCOUNTED", on_hand=0)
    assert client.post(body).status_code == 201


@pytest.mark.parametrize("raw", ["{", "[]", '"order"', "null", "\x00"])
def test_what_is_no_order_at_all_is_a_problem_document(client: Client, raw: str) -> None:
    """Broken JSON is answered, not crashed on."""
    answer = client.api.post("/api/v1/orders", raw, content_type="application/json", headers={"Idempotency-Key": "k"})

    assert answer.status_code == 400
    assert answer["Content-Type"] == "application/problem+json"


@pytest.mark.parametrize("depth", [300, 900, 5000, 100_000])
@pytest.mark.parametrize("whole", [True, False], ids=["body", "field"])
def test_a_body_that_is_nested_without_end_is_a_problem_document(client: Client, body: dict[str, Any], depth: int, whole: bool) -> None:
    """Not even a million brackets break the shop."""
    nested = "[" * depth + "]" * depth
    raw = nested if whole else json.dumps(body).replace('"EUR"', nested)

    answer = client.api.post("/api/v1/orders", raw, content_type="application/json", headers={"Idempotency-Key": "k"})

    assert answer.status_code == 400
    assert answer["Content-Type"] == "application/problem+json"
    assert not Order.objects.exists()


def test_a_body_beyond_the_limit_is_refused_unread(client: Client, body: dict[str, Any]) -> None:
    """256 KiB are enough for any order."""
    answer = client.post(body | {"reference": "x" * 262_144})

    assert answer.status_code == 413
    assert answer["Content-Type"] == "application/problem+json"
    assert answer.json()["code"] == "body_too_large"
    assert not Order.objects.exists()


@pytest.mark.parametrize("key", ["", '""', "x" * 256, "schlüssel"])
def test_a_missing_or_impossible_key_is_refused(client: Client, body: dict[str, Any], key: str) -> None:
    """Without a key a retry could order twice: so there is none."""
    answer = client.post(body, key)

    assert answer.status_code == 400
    assert answer.json()["errors"][0]["location"] == "header"
    assert answer.json()["errors"][0]["pointer"] == "/Idempotency-Key"
    assert not Order.objects.exists()


def test_the_same_key_and_body_answer_the_same_order(client: Client, body: dict[str, Any]) -> None:
    """I asked twice and have one order."""
    first, again = client.post(body, "k-1"), client.post(deepcopy(body), '"k-1"')

    assert (first.status_code, again.status_code) == (201, 201)
    assert again.json() == first.json()
    assert again["Idempotent-Replayed"] == "true"
    assert "Idempotent-Replayed" not in first
    assert Order.objects.count() == 1


def test_the_same_key_with_another_body_is_refused(client: Client, body: dict[str, Any]) -> None:
    """A key names one order for ever."""
    client.post(body, "k-1")
    body["lines"][0]["quantity"] = 2

    answer = client.post(body, "k-1")

    assert answer.status_code == 422
    assert answer.json()["code"] == "idempotency_key_reused"
    assert Order.objects.count() == 1


def test_a_body_that_was_refused_leaves_its_key_free(client: Client, body: dict[str, Any]) -> None:
    """I correct my order, and need no other key."""
    refused = client.post(body | {"currency": "JPY"}, key="k-1")

    placed = client.post(body, key="k-1")

    assert (refused.status_code, placed.status_code) == (400, 201)
    assert "Idempotent-Replayed" not in placed


def test_two_clients_may_use_the_same_key(client: Client, body: dict[str, Any]) -> None:
    """Somebody else's key is none of my business."""
    assert client.post(body, "k-1").status_code == Client("other-shop").post(body, "k-1").status_code == 201
    assert Order.objects.count() == 2


def test_test_cards_are_refused_where_they_are_not_allowed(client: Client, body: dict[str, Any], settings: Any) -> None:
    """Nobody pays with a test card in a real shop."""
    settings.DEMO_VALUES = False

    answer = client.post(body)

    assert answer.status_code == 400
    assert answer.json()["errors"][0]["pointer"] == "/payment/token"
