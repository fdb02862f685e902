"""Promise: where our own database cannot serve a request, everybody is told so within two seconds, and nobody is shown an error of the code."""

import time
from typing import Any

import pytest
from django.conf import settings
from django.db import connection
from django.test import Client as Browser

from orders.models import Order
from tests.holding import held
from tests.orders.conftest import Client

WITHIN_S = 2.0


@pytest.fixture
def client(transactional_db: None, catalogue: None) -> Client:
    """Served with the limits of a web process."""
    with connection.cursor() as cursor:
        for name, seconds in settings.SESSION_LIMITS_S["web"].items():
            cursor.execute("SELECT set_config(%s, %s, false)", [name, f"{seconds * 1000:.0f}"])
    return Client("web-shop")


@pytest.fixture
def number(client: Client, body: dict[str, Any]) -> str:
    return str(client.post(body).json()["number"])


def comes_again(answer: Any, began: float) -> None:
    """A problem document that says when to ask again, in time."""
    assert (answer.status_code, answer.headers["Content-Type"]) == (503, "application/problem+json")
    assert answer.json()["code"] == "database_unavailable"
    assert answer.json()["request_id"] == answer.headers["X-Request-ID"]
    assert int(answer.headers["Retry-After"]) >= 1
    assert time.monotonic() - began < WITHIN_S


def test_a_cancel_of_an_order_that_somebody_holds_is_answered_in_time(client: Client, number: str) -> None:
    """A colleague forgot an open transaction at my order: I am told to ask again, and when it is closed my cancel counts."""
    with held("SELECT 1 FROM fulfillment_saga FOR UPDATE"):
        began = time.monotonic()
        comes_again(client.api.post(f"/api/v1/orders/{number}/cancel"), began)

    assert client.api.post(f"/api/v1/orders/{number}/cancel").status_code == 202


@pytest.mark.parametrize("path", ["/orders", "/orders/{number}", "/products"])
def test_reading_a_table_that_somebody_has_locked_is_answered_in_time(client: Client, number: str, path: str) -> None:
    with held("LOCK TABLE orders_order, orders_product IN ACCESS EXCLUSIVE MODE"):
        began = time.monotonic()
        comes_again(client.get(path.format(number=number)), began)


def test_whoever_cannot_even_be_recognised_now_is_answered_in_time(client: Client) -> None:
    """The table of tokens is locked: I am not told that my token is wrong."""
    with held("LOCK TABLE orders_clienttoken IN ACCESS EXCLUSIVE MODE"):
        began = time.monotonic()
        comes_again(client.get("/orders"), began)


def test_nobody_writes_lines_of_their_own_into_the_log(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    """Whoever asks for a path with a line break in it, while the table of tokens is locked, needs no token for it."""
    with held("LOCK TABLE orders_clienttoken IN ACCESS EXCLUSIVE MODE"):
        client.get("/orders/ORD-1%0A2026-11-27%20ERROR%20incident%20opened%1B[2J")

    (message,) = [record.getMessage() for record in caplog.records if record.name == "orders.api.unavailable"]
    assert message.isprintable(), message
    assert "ORD-1" not in message


def test_an_order_that_cannot_be_placed_now_is_placed_once_by_the_same_key_later(client: Client, body: dict[str, Any]) -> None:
    with held("LOCK TABLE fulfillment_saga IN ACCESS EXCLUSIVE MODE"):
        began = time.monotonic()
        comes_again(client.post(body, "key-1"), began)
    assert not Order.objects.exists()

    assert client.post(body, "key-1").status_code == 201
    assert Order.objects.count() == 1


def test_a_page_of_the_admin_says_so_in_plain_words(operator: Browser, number: str) -> None:
    order = Order.objects.get(number=number)
    for path in (f"/admin/orders/order/{order.pk}/change/", "/admin/orders/order/"):
        with held("LOCK TABLE orders_order IN ACCESS EXCLUSIVE MODE"):
            began = time.monotonic()
            answer = operator.get(path)

        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "2")
        assert "The shop's database cannot serve this page now" in answer.content.decode()
        assert time.monotonic() - began < WITHIN_S


def test_a_button_of_the_admin_says_so_too(operator: Browser, number: str) -> None:
    order = Order.objects.get(number=number)
    with held("SELECT 1 FROM fulfillment_saga FOR UPDATE"):
        answer = operator.post(f"/admin/orders/order/{order.pk}/cancel/", {"_form_submitted": "True"})

    assert answer.status_code == 503
    assert operator.get(f"/admin/orders/order/{order.pk}/change/").status_code == 200


def test_a_database_that_is_away_is_no_error_of_the_code(client: Client, operator: Browser, number: str, tmp_path: Any) -> None:
    """Whoever asks while it is away is told to come again; whoever asks afterwards is served."""
    options = connection.settings_dict["OPTIONS"]
    real = options["host"]
    connection.close()
    options["host"] = str(tmp_path)
    try:
        began = time.monotonic()
        comes_again(client.get(f"/orders/{number}"), began)
        page = operator.get("/admin/orders/order/")
    finally:
        options["host"] = real

    assert page.status_code == 503
    assert client.get(f"/orders/{number}").status_code == 200
