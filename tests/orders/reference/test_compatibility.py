"""Promise: a client that works keeps working: what takes something away from the reference is found, and what adds something is let pass."""

import copy
from collections.abc import Callable
from typing import Any

import pytest

from orders.api.reference.compatibility import breaks
from tests.orders.reference.operations import reference

Document = dict[str, Any]
Change = Callable[[Document], None]
ORDERS = "/api/v1/orders"


def placing(document: Document) -> Document:
    operation: Document = document["paths"][ORDERS]["post"]
    return operation


def listing(document: Document) -> Document:
    operation: Document = document["paths"][ORDERS]["get"]
    return operation


def schema(document: Document, name: str) -> Document:
    found: Document = document["components"]["schemas"][name]
    return found


def value_of(parameters: list[Document], name: str) -> Document:
    return next(parameter for parameter in parameters if parameter["name"] == name)


BREAKS: dict[str, Change] = {
    "POST /api/v1/orders: the operation is gone": lambda d: d["paths"][ORDERS].pop("post"),
    "GET /api/v1/products: the operation is gone": lambda d: d["paths"].pop("/api/v1/products"),
    "answer 201 is gone": lambda d: placing(d)["responses"].pop("201"),
    "code total_differs is gone": lambda d: placing(d)["responses"]["409"]["x-codes"].remove("total_differs"),
    "header Location is gone": lambda d: placing(d)["responses"]["201"]["headers"].pop("Location"),
    "header Location may be missing now": lambda d: placing(d)["responses"]["201"]["headers"]["Location"].pop("required"),
    "field total_minor is gone": lambda d: schema(d, "OrderSummary")["properties"].pop("total_minor"),
    "field number may be missing now": lambda d: schema(d, "OrderSummary")["required"].remove("number"),
    ".total_minor: may be string now": lambda d: schema(d, "OrderSummary")["properties"]["total_minor"].update(type="string"),
    ".number: may be null now": lambda d: schema(d, "OrderSummary")["properties"]["number"].update(type=["string", "null"]),
    "field email is gone": lambda d: schema(d, "Customer")["properties"].pop("email"),
    "field reference is required now": lambda d: schema(d, "RequestedOrder")["required"].append("reference"),
    ".quantity: maximum was 1000, and is 10": lambda d: schema(d, "RequestedLine")["properties"]["quantity"].update(maximum=10),
    ".quantity: integer is not taken any more": lambda d: schema(d, "RequestedLine")["properties"]["quantity"].update(type="string"),
    "pattern was ^[A-Z]{2}$, and is ^[A-Z]{3}$": lambda d: schema(d, "Address")["properties"]["country"].update(pattern="^[A-Z]{3}$"),
    "query cursor is gone": lambda d: listing(d)["parameters"].remove(value_of(listing(d)["parameters"], "cursor")),
    "query page_size is required now": lambda d: value_of(listing(d)["parameters"], "page_size").update(required=True),
    "query shop is new and required": lambda d: listing(d)["parameters"].append(
        {"in": "query", "name": "shop", "required": True, "schema": {"type": "string"}}
    ),
    "operationId place_order is now create_order": lambda d: placing(d).update(operationId="create_order"),
    "application/json is gone": lambda d: placing(d)["requestBody"].update(content={}),
    "a body is required now": lambda d: d["paths"]["/api/v1/orders/{number}/cancel"]["post"].update(
        requestBody={"required": True, "content": {}}
    ),
}

ADDITIONS: dict[str, Change] = {
    "an operation": lambda d: d["paths"].update({"/api/v1/stock": d["paths"]["/api/v1/products"]}),
    "an answer": lambda d: placing(d)["responses"].update({"410": placing(d)["responses"]["409"]}),
    "a code": lambda d: placing(d)["responses"]["409"]["x-codes"].append("busy"),
    "a field of an answer": lambda d: schema(d, "OrderSummary")["properties"].update(weight_g={"type": "integer"}),
    "a status of an order": lambda d: value_of(listing(d)["parameters"], "status")["schema"]["enum"].append("returned"),
    "an optional field of a request": lambda d: schema(d, "RequestedOrder")["properties"].update(note={"type": "string"}),
    "an optional parameter": lambda d: listing(d)["parameters"].append({"in": "query", "name": "country", "schema": {"type": "string"}}),
    "a greater bound of a request": lambda d: schema(d, "RequestedLine")["properties"]["quantity"].update(maximum=5000),
    "a field that is not needed any more": lambda d: schema(d, "Customer")["required"].remove("name"),
    "other words": lambda d: placing(d).update(summary="Buy"),
}


@pytest.fixture
def changed() -> Document:
    return copy.deepcopy(reference())


def test_what_is_as_it_was_breaks_nothing(changed: Document) -> None:
    assert list(breaks(reference(), changed)) == []


@pytest.mark.parametrize("told", BREAKS)
def test_what_is_taken_away_is_found(changed: Document, told: str) -> None:
    """I update nothing, and my client goes on."""
    BREAKS[told](changed)

    found = list(breaks(reference(), changed))

    assert any(told in one for one in found), found


@pytest.mark.parametrize("what", ADDITIONS)
def test_what_is_added_is_let_pass(changed: Document, what: str) -> None:
    ADDITIONS[what](changed)

    assert list(breaks(reference(), changed)) == []
