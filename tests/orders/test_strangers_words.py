"""Promise: what a stranger sends stands in no line of the log, and makes no traceback: one line says which check has refused it."""

import io
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection
from django.test import Client as Browser

from tests.holding import held
from tests.orders.conftest import Client

SECRET = "ann@example.com"
MANY = "&".join(f"ann{n}=1" for n in range(1001))


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """What this process would write."""
    (handler,) = [one for one in logging.getLogger().handlers if type(one) is logging.StreamHandler]
    written = io.StringIO()
    before = handler.setStream(written)
    yield written
    handler.setStream(before or io.StringIO())


@pytest.fixture
def stranger() -> Browser:
    return Browser(enforce_csrf_checks=True, raise_request_exception=False)


def test_a_form_from_another_site_is_one_line_without_its_address(db: None, stranger: Browser, log: io.StringIO) -> None:
    assert stranger.post("/docs", headers={"Origin": f"https://{SECRET}"}).status_code == 403

    (line,) = log.getvalue().splitlines()
    assert "django.security.csrf" in line
    assert "WARNING" not in line
    assert SECRET not in line


@pytest.mark.parametrize(
    ("check", "asked"),
    [
        ("TooManyFieldsSent", lambda _, client: Browser().post("/admin/login/", MANY, "application/x-www-form-urlencoded")),
        ("TooManyFieldsSent", lambda stranger, client: client.get(f"/orders?{MANY}")),
        ("DisallowedHost", lambda stranger, client: stranger.get("/admin/login/", headers={"Host": "ann.example.com"})),
    ],
)
def test_what_is_refused_before_any_view_is_one_line_without_a_traceback(
    client: Client, stranger: Browser, log: io.StringIO, check: str, asked: Any
) -> None:
    assert asked(stranger, client).status_code == 400

    (line,) = log.getvalue().splitlines()
    assert f"django.security.{check}" in line
    assert "ERROR" not in line
    assert "ann" not in line


def test_a_filter_that_no_list_has_is_one_line(operator: Browser, log: io.StringIO) -> None:
    assert operator.get("/admin/orders/order/?saga__epoch__ann=1").status_code == 400

    (line,) = log.getvalue().splitlines()
    assert "django.security.DisallowedModelAdminLookup" in line
    assert "ann" not in line


@pytest.mark.django_db(transaction=True)
def test_an_answer_of_503_is_one_line_with_its_route(client: Client, operator: Browser, log: io.StringIO) -> None:
    """A path may name a person."""
    with connection.cursor() as cursor:
        cursor.execute("SET lock_timeout = '100ms'")
    with held("LOCK TABLE orders_clienttoken, django_session IN ACCESS EXCLUSIVE MODE"):
        assert client.get(f"/orders/{SECRET}").status_code == 503
        assert operator.get(f"/admin/orders/order/{SECRET}/change/").status_code == 503
    with connection.cursor() as cursor:
        cursor.execute("RESET lock_timeout")

    of_the_api, of_the_admin = log.getvalue().splitlines()
    assert "GET /api/v1/orders/<str:number> answered 503" in of_the_api
    assert "GET /admin/orders/order/<path:object_id>/change/ answered 503" in of_the_admin
    assert SECRET not in log.getvalue()


def test_an_error_of_ours_keeps_its_traceback_and_not_the_path(
    operator: Browser, log: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError("ours")

    monkeypatch.setattr("orders.admin.orders.OrderAdmin.get_object", broken)

    assert operator.get(f"/admin/orders/order/{SECRET}/change/").status_code == 500

    assert "ERROR django.request" in log.getvalue()
    assert "RuntimeError: ours" in log.getvalue()
    assert SECRET not in log.getvalue()


# --- what the client is told ------------------------------------------------------------------------------------------------------


def test_too_many_parameters_are_called_that(client: Client) -> None:
    """I look for my mistake where it is."""
    document = client.get(f"/orders?{MANY}").json()

    assert (document["status"], document["code"]) == (400, "bad_request")
    assert document["detail"] == "A request may have 1000 parameters or fields at most."


def test_a_foreign_host_is_called_that(stranger: Browser) -> None:
    document = stranger.get("/api/v1/orders", headers={"Host": "ann.example.com"}).json()

    assert "Host header" in document["detail"]
