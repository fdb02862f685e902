"""Promise: an order's answer has everything that its client needs to act, in few queries, and says in one instant whether anything has changed."""

from typing import Any

import pgtrigger
import pytest
from django.db import connection
from django.db.models import F
from django.test.utils import CaptureQueriesContext

from fulfillment import engine
from fulfillment.errors import Rejected
from fulfillment.models import Saga, StepRecord
from orders.models import ClientSettings, Order, Status
from tests.fulfillment.driving import paid
from tests.orders.conftest import Client


@pytest.fixture
def number(client: Client, body: dict[str, Any]) -> str:
    return str(client.post(body).json()["number"])


def shipped(number: str) -> Order:
    order = Order.objects.get(number=number)
    StepRecord.objects.filter(saga__order=order).update(state="succeeded", receipt={})
    StepRecord.objects.filter(saga__order=order, name="shipping").update(receipt={"label_id": "lb_1", "tracking": "TRACK1"})
    Saga.objects.filter(order=order).update(state="completed", wake_at=None)
    order.move(Status.PROCESSING)
    order.move(Status.FULFILLED)
    return order


def test_an_order_shows_for_whom_it_is_where_it_goes_and_what_may_be_done(client: Client, body: dict[str, Any], number: str) -> None:
    """I need no second request to show it to my customer."""
    shown = client.get(f"/orders/{number}").json()

    assert (shown["customer"], shown["shipping_address"]) == (body["customer"], body["shipping_address"])
    assert (shown["tracking_number"], shown["allowed_actions"], shown["failure_code"]) == (None, ["cancel"], "")
    assert not {"steps", "deliveries", "timeline", "why", "payment", "payment_token", "idempotency_key"} & shown.keys()


def test_a_parcel_that_is_on_its_way_is_shown_with_its_number(client: Client, number: str) -> None:
    """I can follow the parcel, and am not offered what is too late."""
    shipped(number)

    shown = client.get(f"/orders/{number}").json()

    assert (shown["status"], shown["tracking_number"], shown["allowed_actions"]) == ("fulfilled", "TRACK1", [])


def test_a_parcel_that_was_cancelled_is_not(client: Client, number: str) -> None:
    shipped(number)
    StepRecord.objects.filter(name="shipping").update(state="compensated")

    assert client.get(f"/orders/{number}").json()["tracking_number"] is None


def test_what_may_be_done_follows_the_order(client: Client, number: str) -> None:
    """A cancel that I have asked for is not offered again; asking twice is no mistake."""
    assert client.api.post(f"/api/v1/orders/{number}/cancel").status_code == 202
    assert client.get(f"/orders/{number}").json()["allowed_actions"] == []


def test_an_order_that_no_process_can_read_is_shown_all_the_same(client: Client, number: str) -> None:
    Saga.objects.update(plan=["poison"])

    answer = client.get(f"/orders/{number}?expand=steps,why")

    assert (answer.status_code, answer.json()["allowed_actions"]) == (200, [])
    refused = client.api.post(f"/api/v1/orders/{number}/cancel")
    assert (refused.status_code, refused.json()["allowed_actions"]) == (409, [])


def test_the_answer_to_placing_is_what_the_list_shows(client: Client, body: dict[str, Any]) -> None:
    """I store what I was answered, and it has the shape of what I read later."""
    placed = client.post(body).json()

    assert placed == client.get("/orders").json()["data"][0]


def test_only_the_fields_that_are_asked_for_are_shown(client: Client, number: str) -> None:
    assert client.get(f"/orders/{number}?fields=status,number&expand=steps").json().keys() == {"status", "number", "steps"}
    refused = client.get(f"/orders/{number}?fields=status,saga").json()["errors"]
    assert [(error["pointer"], error["code"], "'saga'" in error["detail"]) for error in refused] == [("/fields", "unknown_value", True)]


def test_every_expansion_is_shown_on_an_order(client: Client, number: str) -> None:
    assert client.get(f"/orders/{number}?expand=steps,deliveries,why,timeline").json().keys() >= {"steps", "deliveries", "why", "timeline"}


# --- updated_at ---


def test_whatever_changes_an_order_says_when(client: Client, number: str) -> None:
    """The database writes it: code of another release and a person with SQL cannot forget it."""
    with connection.cursor() as cursor:
        cursor.execute("UPDATE orders_order SET placed_at = '2020-01-01Z'; UPDATE orders_order SET status = 'processing'")

    order = Order.objects.get()
    assert order.updated_at > order.placed_at


def test_what_changes_nothing_is_no_change(client: Client, number: str) -> None:
    with pgtrigger.ignore("orders.Order:touched"):
        Order.objects.update(updated_at="2020-01-01T00:00Z")

    Order.objects.update(status=F("status"))

    assert Order.objects.get().updated_at.year == 2020


# --- whether it has changed ---


def test_whoever_has_it_already_is_told_so(client: Client, number: str) -> None:
    """I ask every second, and what has not changed is not sent again."""
    path = f"/api/v1/orders/{number}?expand=steps"
    first = client.api.get(path)

    same = client.api.get(path, headers={"If-None-Match": first["ETag"]})
    weak = client.api.get(path, headers={"If-None-Match": f'"other", W/{first["ETag"]}'})
    StepRecord.objects.filter(name="payment").update(tries=2)
    changed = client.api.get(path, headers={"If-None-Match": first["ETag"]})

    assert [(answer.status_code, answer.content) for answer in (same, weak)] == [(304, b"")] * 2
    assert same["ETag"] == first["ETag"]
    assert (changed.status_code, changed["ETag"] != first["ETag"]) == (200, True)


def test_an_order_that_is_not_there_is_never_unchanged(client: Client) -> None:
    assert client.api.get("/api/v1/orders/ORD-9999", headers={"If-None-Match": "*"}).status_code == 404


# --- statements, with those that find out whose token it is ---


def test_placing_an_order_takes_few_statements(client: Client, body: dict[str, Any], django_assert_max_num_queries: Any) -> None:
    """With BEGIN and COMMIT. That a token was used is written down once in five minutes, so it has been."""
    client.get("/orders")
    with django_assert_max_num_queries(8):
        assert client.post(body).status_code == 201


def test_a_first_use_and_a_client_with_unique_references_take_few_statements_more(client: Client, body: dict[str, Any]) -> None:
    ClientSettings.objects.create(client=client.user, unique_references=True)

    with CaptureQueriesContext(connection) as statements:
        assert client.post(body).status_code == 201

    assert len([one for one in statements if "SAVEPOINT" not in one["sql"]]) <= 8


def test_reading_an_order_takes_few_statements(client: Client, number: str, django_assert_max_num_queries: Any) -> None:
    with django_assert_max_num_queries(5):
        client.get(f"/orders/{number}")
    with django_assert_max_num_queries(5):
        client.get(f"/orders/{number}?expand=steps")


@pytest.mark.parametrize(
    "query", ["", "&status_group=open", "&sku=TENT", "&updated_from=2020-01-01T00:00:00Z", "&fields=number&expand=steps"]
)
def test_a_page_of_orders_takes_few_statements(
    client: Client, body: dict[str, Any], django_assert_max_num_queries: Any, query: str
) -> None:
    """However many there are on it."""
    for _ in range(4):
        client.post(body)

    with django_assert_max_num_queries(4):
        page = client.get(f"/orders?page_size=3{query}").json()
    with django_assert_max_num_queries(4):
        client.get(f"/orders?page_size=3{query}&cursor={page['next_cursor']}")


def test_what_is_expanded_in_a_list_takes_no_statement_for_each_order(
    client: Client, body: dict[str, Any], django_assert_num_queries: Any
) -> None:
    orders = [shipped(client.post(body).json()["number"]) for _ in range(3)]
    path = "/orders?expand=steps,deliveries&fields=tracking_number,allowed_actions"

    with django_assert_num_queries(4):
        shown = client.get(path).json()["data"]

    assert [order["tracking_number"] for order in shown] == ["TRACK1"] * len(orders)


def test_a_failed_order_says_why_in_a_code_whatever_its_compensation_meets(client: Client, number: str) -> None:
    """I tell my customer that it is sold out, and need no person to read a sentence."""
    saga = Saga.objects.get().pk
    paid(saga)
    StepRecord.objects.filter(name="inventory").update(state="rejected", error_code="out_of_stock")
    engine.chain_stopped(saga, 1)
    claim = engine.start(saga, 2, "payment", compensating=True)
    assert claim is not None
    engine.record_failure(claim, Rejected("No", code="account_closed"))

    assert client.get(f"/orders/{number}").json()["failure_code"] == "out_of_stock"
    assert [order["number"] for order in client.get("/orders?failure_code=out_of_stock").json()["data"]] == [number]


def test_a_cancelled_order_has_not_failed(client: Client, number: str) -> None:
    client.api.post(f"/api/v1/orders/{number}/cancel")
    engine.could_not_start(Saga.objects.get().pk, 1)

    assert client.get(f"/orders/{number}").json()["failure_code"] == ""
