"""Promise: a client sees its own orders, whole and in few queries; every error is a problem document."""

import base64
from collections.abc import Iterable, Iterator
from typing import Any

import pytest
from django.db import connection
from django.urls import URLPattern, URLResolver
from rest_framework.test import APIClient

from config.urls import urlpatterns
from fulfillment.models import Saga, StockLevel
from orders.incidents import IncidentKind, open_incident
from orders.models import Order
from orders.timeline import TimelineEntry
from tests.fulfillment.driving import compensation_failed
from tests.orders.conftest import Client


def test_an_order_is_shown_with_its_steps_and_history(client: Client, body: dict[str, Any]) -> None:
    """I see where my order stands and how it got there."""
    number = client.post(body).json()["number"]

    shown = client.get(f"/orders/{number}?expand=steps,deliveries,timeline").json()

    assert set(shown) >= {
        "number",
        "reference",
        "status",
        "attention",
        "currency",
        "total_minor",
        "lines",
        "steps",
        "deliveries",
        "timeline",
    }
    assert shown["attention"] is False
    assert [step["name"] for step in shown["steps"]] == ["payment", "inventory", "shipping"]
    assert shown["timeline"][0]["sentence"] == "Order placed"


def test_the_list_is_paged_newest_first(client: Client, body: dict[str, Any]) -> None:
    """A long list comes in pages, none lost and none twice."""
    numbers = [client.post(body).json()["number"] for _ in range(7)]

    first = client.get("/orders?page_size=4").json()
    second = client.get(f"/orders?page_size=4&cursor={first['next_cursor']}").json()

    assert [order["number"] for order in first["data"] + second["data"]] == numbers[::-1]
    assert (first["has_more"], second["has_more"], second["next_cursor"]) == (True, False, None)


def test_an_empty_list_is_an_empty_page(client: Client) -> None:
    assert client.get("/orders").json() == {"data": [], "has_more": False, "next_cursor": None}


def test_the_catalogue_shows_what_is_sold(client: Client) -> None:
    assert [item["sku"] for item in client.get("/products").json()["data"]] == ["MUG", "TENT"]


def test_somebody_else_s_order_does_not_exist(client: Client, body: dict[str, Any]) -> None:
    """Nobody can tell how many orders others have."""
    number = client.post(body).json()["number"]
    other = Client("other-shop")

    mine, theirs = client.get("/orders/ORD-9999"), other.get(f"/orders/{number}")

    assert (mine.status_code, theirs.status_code) == (404, 404)
    assert other.api.post(f"/api/v1/orders/{number}/cancel").status_code == 404
    assert other.get("/orders").json()["data"] == []


@pytest.mark.parametrize("header", [None, "Token wrong", "Bearer x"])
def test_without_a_token_nothing_is_shown(client: Client, header: str | None) -> None:
    answer = APIClient(headers={"Authorization": header} if header else {}).get("/api/v1/orders")

    assert answer.status_code == 401
    assert answer["Content-Type"] == "application/problem+json"
    assert answer["WWW-Authenticate"] == 'Bearer realm="api"' + (', error="invalid_token"' if header else "")


@pytest.mark.parametrize(
    ("method", "path", "content_type", "status"),
    [
        ("get", "/api/v1/nothing", "application/json", 404),
        ("delete", "/api/v1/orders", "application/json", 405),
        ("post", "/api/v1/orders", "text/plain", 415),
        ("get", "/api/v1/orders?nope=1", "application/json", 400),
        ("get", "/api/v1/orders?cursor=zzz", "application/json", 400),
    ],
)
def test_every_error_is_a_problem_document_with_a_request_id(
    client: Client, method: str, path: str, content_type: str, status: int
) -> None:
    headers = {"X-Request-ID": "req-7", "Idempotency-Key": "k"}

    answer = client.api.generic(method.upper(), path, "x", content_type=content_type, headers=headers)

    assert answer.status_code == status
    assert answer["Content-Type"] == "application/problem+json"
    assert answer.json()["request_id"] == answer["X-Request-ID"] == "req-7"
    assert answer.json()["code"]


def test_a_cancel_is_recorded_and_repeats_its_answer(client: Client, body: dict[str, Any]) -> None:
    """I may ask twice."""
    number = client.post(body).json()["number"]

    first, again = (client.api.post(f"/api/v1/orders/{number}/cancel") for _ in range(2))

    assert (first.status_code, first.json()["cancel"]) == (202, "accepted")
    assert (again.status_code, again.json()["cancel"]) == (202, "accepted")


def test_why_is_shown_to_whoever_asks_for_it(client: Client, body: dict[str, Any]) -> None:
    """I see what my order waits for, and when somebody looks at the latest."""
    number = client.post(body).json()["number"]

    plain, expanded = client.get(f"/orders/{number}").json(), client.get(f"/orders/{number}?expand=why").json()

    why = expanded.pop("why")
    assert expanded == plain
    assert set(why) == {"sentence", "since", "next_at", "blocked_on"}
    assert (why["sentence"], why["blocked_on"]) == ("Payment is next.", "a worker")
    assert why["next_at"] > why["since"]


def test_what_a_person_must_decide_is_not_told_to_a_client(client: Client, body: dict[str, Any]) -> None:
    """I learn that somebody looks at it; whose money is at risk, and what may be decided, is the shop's business."""
    number = client.post(body).json()["number"]
    compensation_failed(Saga.objects.get().pk)

    answer = client.get(f"/orders/{number}?expand=why").json()

    assert answer["why"]["sentence"] == "This is being looked at by a person."
    assert (answer["why"]["blocked_on"], answer["why"]["next_at"]) == ("a person", None)
    assert answer["attention"] is True


def test_an_order_that_has_ended_waits_for_nothing(client: Client, body: dict[str, Any]) -> None:
    order = Order.objects.get(number=client.post(body).json()["number"])
    Saga.objects.update(state="compensated", failure="cancelled", wake_at=None)

    why = client.get(f"/orders/{order.number}?expand=why").json()["why"]

    assert (why["blocked_on"], why["next_at"]) == (None, None)


def test_an_open_matter_about_an_order_that_has_ended_is_not_told_either(client: Client, body: dict[str, Any]) -> None:
    order = Order.objects.get(number=client.post(body).json()["number"])
    Saga.objects.update(state="compensated", failure="cancelled", wake_at=None)
    open_incident(IncidentKind.ORPHAN_PAYMENT, subject=order.number, order_id=order.pk, currency="EUR", amount_minor=8420)

    why = client.get(f"/orders/{order.number}?expand=why").json()["why"]

    sentence = "The order ended because it was cancelled. Nothing had to be undone. This is being looked at by a person."
    assert (why["sentence"], why["blocked_on"]) == (sentence, "a person")


@pytest.mark.parametrize("asked", ["everything", "why,ledger", "Why"])
def test_what_cannot_be_expanded_is_refused_by_name(client: Client, body: dict[str, Any], asked: str) -> None:
    number = client.post(body).json()["number"]

    answer = client.get(f"/orders/{number}?expand={asked}")

    assert answer.status_code == 400
    assert answer["Content-Type"] == "application/problem+json"
    (error,) = answer.json()["errors"]
    assert (error["location"], error["pointer"], error["code"]) == ("query", "/expand", "unknown_value")
    assert repr(asked.removeprefix("why,")) in error["detail"]


def test_recommendations_are_served_by_their_own_subscriber(client: Client) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO sideeffects_recommendations_copurchase (sku, other, orders) VALUES ('TENT', 'MUG', 3), ('TENT', 'GONE', 9)"
        )

    assert client.get("/products/TENT/recommendations").json() == {"data": [{"sku": "MUG", "name": "Mug", "orders": 3}]}
    assert client.get("/products/NOPE/recommendations").status_code == 404


def api_paths(patterns: Iterable[Any], prefix: str = "/") -> Iterator[str]:
    for pattern in patterns:
        here = prefix + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            yield from api_paths(pattern.url_patterns, here)
        elif isinstance(pattern, URLPattern) and here.startswith("/api/"):
            yield here.replace("<str:number>", "ORD-1").replace("<str:sku>", "TENT")


@pytest.mark.parametrize("path", list(api_paths(urlpatterns)))
def test_an_unknown_parameter_is_refused_everywhere(client: Client, path: str) -> None:
    """A misspelt parameter is not ignored in silence, whoever serves the path."""
    method = "post" if path.endswith("/cancel") else "get"

    answer = getattr(client.api, method)(f"{path}?nope=1")

    assert answer.status_code == 400, answer.content
    assert answer["Content-Type"] == "application/problem+json"
    assert answer.json()["errors"][0]["pointer"] == "/nope"


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/orders/%00", 404),
        ("/orders/ORD-1%00/cancel", 404),
        ("/products/%00/recommendations", 404),
        (f"/products?cursor={base64.b64encode(b'p=%00').decode()}", 400),
        (f"/orders?cursor={base64.b64encode(b'p=abc').decode()}", 400),
        ("/orders?page_size=%00", 400),
    ],
)
def test_what_the_database_cannot_hold_is_refused_before_it(client: Client, path: str, status: int) -> None:
    answer = client.get(path)

    assert answer.status_code == status
    assert answer["Content-Type"] == "application/problem+json"


def test_a_host_that_is_not_ours_is_a_problem_document_too(client: Client) -> None:
    answer = client.api.get("/api/v1/orders", headers={"Host": "evil.example", "X-Request-ID": "req-7"})

    assert answer.status_code == 400
    assert answer["Content-Type"] == "application/problem+json"
    assert (answer.json()["code"], answer.json()["request_id"]) == ("bad_request", "req-7")


def test_the_history_is_shown_in_the_order_of_time(client: Client, body: dict[str, Any]) -> None:
    """Two workers commit out of turn: I read what happened in the order in which it happened."""
    number = client.post(body).json()["number"]
    order = Order.objects.get(number=number)
    TimelineEntry.objects.create(order=order, kind="delivery", name="late", to_state="delivered", at="2099-01-02T00:00Z")
    TimelineEntry.objects.create(order=order, kind="delivery", name="early", to_state="delivered", at="2099-01-01T00:00Z")

    entries = client.get(f"/orders/{number}?expand=timeline").json()["timeline"]

    assert [entry["name"] for entry in entries][-2:] == ["early", "late"]


def test_a_product_says_whether_a_piece_of_it_can_be_had_now(client: Client, django_assert_num_queries: Any) -> None:
    """I do not offer what is sold out."""
    StockLevel.objects.filter(sku="MUG").update(reserved=10)
    client.get("/products")  # that the token was used is written down

    with django_assert_num_queries(2):
        listed = client.get("/products").json()["data"]

    assert {item["sku"]: item["available"] for item in listed} == {"MUG": False, "TENT": True}
    first = client.get("/products/MUG")
    StockLevel.objects.filter(sku="MUG").update(reserved=9)
    then = client.api.get("/api/v1/products/MUG", headers={"If-None-Match": first["ETag"]})
    assert (first.json()["available"], then.status_code, then.json()["available"]) == (False, 200, True)


@pytest.mark.parametrize("accepted", ["application/problem+json", "application/problem+json, text/html;q=0.1", "application/json", "*/*"])
def test_whoever_reads_problem_documents_reads_json(client: Client, accepted: str) -> None:
    """A client that names the type of our errors alone gets answers, too."""
    good, bad = (client.api.get(f"/api/v1/{path}", headers={"Accept": accepted}) for path in ("products", "products?nope=1"))

    assert (good.status_code, good["Content-Type"]) == (200, "application/json")
    assert (bad.status_code, bad["Content-Type"]) == (400, "application/problem+json")


def test_one_product_is_shown_as_in_the_catalogue(client: Client) -> None:
    """I ask for the price of what is in the basket, and not for the whole catalogue."""
    assert client.get("/products/MUG").json() == client.get("/products").json()["data"][0]


@pytest.mark.parametrize("sku", ["NOPE", "GONE", "UNCOUNTED", "mug", "%00"])
def test_what_is_not_sold_is_no_product(client: Client, sku: str) -> None:
    answer = client.get(f"/products/{sku}")

    assert (answer.status_code, answer["Content-Type"]) == (404, "application/problem+json")


def test_the_catalogue_is_paged(client: Client) -> None:
    first = client.get("/products?page_size=1").json()
    second = client.get(f"/products?page_size=1&cursor={first['next_cursor']}").json()

    assert [item["sku"] for item in first["data"] + second["data"]] == ["MUG", "TENT"]
    assert (first["has_more"], second["has_more"], second["next_cursor"]) == (True, False, None)
