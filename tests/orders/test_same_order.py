"""Promise: a client that asks again, in whatever words, has one order; and it is never told to place a second one."""

import hashlib
import json
import unicodedata
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest

from orders.api import digest
from orders.api.serializers import RequestedOrder
from orders.models import Order, Product
from orders.pseudonyms import FORGOTTEN
from tests.orders.conftest import Client

Change = Callable[[dict[str, Any]], Any]


@pytest.mark.parametrize(
    "change",
    [
        lambda body: body["shipping_address"].update(line2=""),
        lambda body: body["shipping_address"].update(line2="  "),
        lambda body: body["lines"].reverse(),
        lambda body: body["shipping_address"].update(line1=" 12 Harbour Rd "),
        lambda body: body["customer"].update(name=unicodedata.normalize("NFD", body["customer"]["name"])),
        lambda body: body.update(expected_total_minor=21_400),
    ],
    ids=[
        "an empty line2",
        "a blank line2",
        "lines in another order",
        "spaces",
        "letters composed otherwise",
        "a total",
    ],
)
def test_the_same_order_in_other_words_is_that_order(client: Client, body: dict[str, Any], change: Change) -> None:
    """My library leaves out what is empty, and sorts what it likes: that is no second order."""
    body["customer"]["name"] = "Zoë Okafor"
    first = client.post(deepcopy(body), "k-1")
    change(body)

    again = client.post(body, "k-1")

    assert (first.status_code, again.status_code) == (201, 201), again.json()
    assert again.json() == first.json()
    assert again["Idempotent-Replayed"] == "true"
    assert Order.objects.count() == 1


def test_a_reference_that_is_empty_is_none(client: Client, body: dict[str, Any]) -> None:
    first = client.post(body | {"reference": ""}, "k-1")
    del body["reference"]

    assert client.post(body, "k-1").json() == first.json()


@pytest.mark.parametrize(
    "change",
    [
        lambda body: body["shipping_address"].update(line2="Flat 2"),
        lambda body: body["lines"][0].update(quantity=2),
        lambda body: body["lines"].pop(),
        lambda body: body.update(reference="web-2"),
        lambda body: body["payment"].update(token="tok_declined"),
        lambda body: body["customer"].update(name="amara okafor"),
        lambda body: body.update(lines=[{"sku": "TENT", "quantity": 2}, {"sku": "MUG", "quantity": 1}]),
    ],
    ids=["line2", "quantity", "a line less", "reference", "payment", "name", "quantities swapped"],
)
def test_another_order_under_the_same_key_is_told_which_order_there_is(client: Client, body: dict[str, Any], change: Change) -> None:
    """I read the one that I have; nobody tells me to place it again under a new key."""
    number = client.post(deepcopy(body), "k-1").json()["number"]
    change(body)

    answer = client.post(body, "k-1")

    document = answer.json()
    assert (answer.status_code, document["code"], document["order"]) == (422, "idempotency_key_reused", number)
    assert document["detail"] == (
        f"This key has placed {number}, with another body. Nothing was placed now. Read GET /api/v1/orders/{number} first: it may be the order that you want."
    )
    assert "new key" not in answer.content.decode()
    assert Order.objects.count() == 1


def test_the_order_of_a_customer_who_was_forgotten_is_not_placed_again(client: Client, body: dict[str, Any]) -> None:
    """The body is the same, but nobody can say so any more."""
    number = client.post(deepcopy(body), "k-1").json()["number"]
    Order.objects.update(customer_name=FORGOTTEN, digest="", request_digest="")

    answer = client.post(body, "k-1")

    assert (answer.status_code, answer.json()["code"]) == (422, "idempotency_key_reused")
    assert f"This key has placed {number}, and its customer has been forgotten since. Nothing was placed now." in answer.json()["detail"]
    assert Order.objects.count() == 1


def test_what_was_placed_before_is_still_matched_by_its_own_digest(client: Client, body: dict[str, Any]) -> None:
    """An upgrade of the shop makes no order of mine a stranger."""
    number = client.post(body, "k-1").json()["number"]
    old = hashlib.sha256(json.dumps(_checked(body), sort_keys=True).encode()).hexdigest()
    Order.objects.update(request_digest=old, digest="", digest_version=1)

    same, other = client.post(deepcopy(body), "k-1"), client.post(body | {"reference": "web-2"}, "k-1")
    totalled = client.post(body | {"expected_total_minor": 21_400}, "k-1")

    assert (same.status_code, same.json()["number"]) == (201, number)
    assert (totalled.status_code, totalled.json()["number"]) == (201, number)
    assert other.status_code == 422


def test_code_of_before_finds_what_newer_code_has_placed(client: Client, body: dict[str, Any]) -> None:
    """In a rolling deploy my retry may meet an old process: it compares ``request_digest``, as it always has."""
    client.post(body | {"expected_total_minor": 21_400}, "k-1")

    order = Order.objects.get()

    assert order.request_digest == hashlib.sha256(json.dumps(_checked(body), sort_keys=True).encode()).hexdigest()
    assert (order.digest_version, len(order.digest)) == (2, 64)


def test_a_digest_that_only_newer_code_can_make_falls_back_on_the_first_one(client: Client, body: dict[str, Any]) -> None:
    """After a deploy was taken back, my retry still finds my order."""
    number = client.post(body, "k-1").json()["number"]
    Order.objects.update(digest="of a later release", digest_version=99)

    assert client.post(body, "k-1").json()["number"] == number
    assert client.post(body | {"reference": "web-2"}, "k-1").status_code == 422


def test_what_a_digest_is_of_changes_with_a_new_version_only(body: dict[str, Any], db: None) -> None:
    """These stand in databases. Whoever makes them fail adds a version to ``orders.api.digest``; the earlier ones stay as they are."""
    wanted = _checked(body)
    wanted["shipping_address"]["postal_code"] = "T12"  # half a code: orders were placed with it before addresses had rules

    assert digest.VERSION == 2
    assert digest.first(wanted) == "0485de65475f713646372ed786a42e6852db4f764bb2f558f25387eb3e9d8458"
    assert digest.newest(wanted) == "2fc580ffa6f6c3e71c4591b327c5a9b75b9ea0b659b099b055b17bb06d3b93d8"


def _checked(body: dict[str, Any]) -> dict[str, Any]:
    wanted = RequestedOrder(data=body)
    wanted.is_valid(raise_exception=True)
    return wanted.validated_data  # type: ignore[no-any-return]


def test_a_total_that_i_expect_and_that_is_right_places_the_order(client: Client, body: dict[str, Any]) -> None:
    answer = client.post(body | {"expected_total_minor": 21_400})

    assert (answer.status_code, answer.json()["total_minor"]) == (201, 21_400)


@pytest.mark.parametrize("expected", [21_399, 21_401, 1, 999_999_999_999])
def test_a_total_that_i_did_not_expect_charges_nobody(client: Client, body: dict[str, Any], expected: int) -> None:
    """The price has changed since my customer saw it: I am told both, and ask the customer."""
    answer = client.post(body | {"expected_total_minor": expected}, "k-1")

    document = answer.json()
    assert (answer.status_code, document["code"]) == (409, "total_differs")
    assert (document["expected_total_minor"], document["total_minor"], document["currency"]) == (expected, 21_400, "EUR")
    assert "Nothing was placed" in document["detail"]
    assert not Order.objects.exists()
    assert client.post(body | {"expected_total_minor": 21_400}, "k-1").status_code == 201


def test_a_retry_gets_its_order_even_if_the_price_has_changed_since(client: Client, body: dict[str, Any]) -> None:
    """What counts is what my order costs, not what another one would cost now."""
    body["expected_total_minor"] = 21_400
    first = client.post(body, "k-1")
    Product.objects.update(price_minor=1)

    assert client.post(body, "k-1").json() == first.json()


def test_a_retry_that_expects_another_total_is_told_of_its_order(client: Client, body: dict[str, Any]) -> None:
    """The order exists, and costs something else: nobody leaves me to believe otherwise."""
    number = client.post(body, "k-1").json()["number"]

    document = client.post(body | {"expected_total_minor": 5}, "k-1").json()

    assert (document["status"], document["code"], document["order"]) == (409, "total_differs", number)
    assert (document["expected_total_minor"], document["total_minor"]) == (5, 21_400)
    assert document["detail"].startswith(f"{number} has been placed under this key")


@pytest.mark.parametrize(
    ("changed", "value"),
    [("DEMO_VALUES", False), ("SHOP_CURRENCY", "SEK")],
    ids=["test cards are refused now", "the shop sells in another currency"],
)
def test_a_retry_that_is_not_valid_any_more_is_told_which_order_there_is(
    client: Client, body: dict[str, Any], settings: Any, changed: str, value: Any
) -> None:
    """The shop was deployed between my two tries: "no order was placed" would make me place a second one."""
    number = client.post(deepcopy(body), "k-1").json()["number"]
    setattr(settings, changed, value)

    answer, other = client.post(deepcopy(body), "k-1"), client.post(deepcopy(body), "k-2")

    document = answer.json()
    assert (answer.status_code, document["code"], document["order"]) == (422, "idempotency_key_reused", number)
    assert f"This key has placed {number}" in document["detail"]
    assert (other.status_code, other.json()["code"]) == (400, "validation_error"), "a key of its own has placed nothing"


@pytest.mark.parametrize("expected", [0, -1, "many", 1.5, None, 10**12])
def test_what_cannot_be_a_total_is_refused_by_name(client: Client, body: dict[str, Any], expected: Any) -> None:
    answer = client.post(body | {"expected_total_minor": expected})

    assert answer.status_code == 400
    assert [error["pointer"] for error in answer.json()["errors"]] == ["/expected_total_minor"]
