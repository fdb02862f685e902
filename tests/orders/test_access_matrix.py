"""Promise: every route of the shop lets in whom it should, whatever method is tried, and a new route fails here until somebody has written who may."""

import re
import uuid
from dataclasses import dataclass
from typing import Any

import pytest
from django.apps import apps
from django.contrib.auth.models import Group, User
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.test import Client as Browser
from django.urls import get_resolver, path
from rest_framework.test import APIClient

from orders.client_tokens import Scope
from orders.models import ClientSettings
from tests.orders.access_matrix import ADMIN, API, METHODS, OF_A_CLIENT, PUBLIC, by_method, routes, tables, without_a_row
from tests.orders.conftest import Client, browser_of

PLACES = {"admin/^(?P<app_label>orders|auth|fulfillment)/$": "/admin/orders/", "admin/(?P<url>.*)$": "/admin/nothing/here"}


@dataclass(frozen=True)
class Shop:
    """``own`` and ``foreign``: numbers of an order of ``client``, and of another client's."""

    client: Client
    body: dict[str, Any]
    own: str
    foreign: str
    staff: Browser
    superuser: Browser


@pytest.fixture
def shop(client: Client, body: dict[str, Any]) -> Shop:
    own, foreign = client.post(body).json()["number"], Client("other-shop").post(body).json()["number"]
    ClientSettings.objects.create(client=client.user)
    Group.objects.create(name="support")
    superuser = Browser(raise_request_exception=False)
    superuser.force_login(User.objects.create_superuser("root"))
    return Shop(client, body, own, foreign, browser_of("amara"), superuser)


def statuses(who: Browser, url: str, body: Any = None) -> dict[str, int]:
    """By method; ``body``: what is posted. Nothing of it stays: who logs out is logged in again, what was placed is gone."""
    return {method: _status(who, method, url, body if method == "POST" else None) for method in METHODS}


def _status(who: Browser, method: str, url: str, body: Any) -> int:
    headers = {"Idempotency-Key": uuid.uuid4().hex}
    with transaction.atomic():
        if isinstance(who, APIClient):
            answer = getattr(who, method.lower())(url, body, format="json", headers=headers)
        else:
            browser = Browser(raise_request_exception=False)
            browser.cookies.load({name: cookie.value for name, cookie in who.cookies.items()})
            answer = browser.generic(method, url)
        transaction.set_rollback(True)
    return int(answer.status_code)


# --- every route has a row ------------------------------------------------------------------------------------------------------


def test_every_route_has_a_row_and_every_row_a_route() -> None:
    known = set(routes(get_resolver().url_patterns))

    assert without_a_row(get_resolver().url_patterns) == []
    assert [route for rows in tables() for route in rows if route not in known] == []


def test_a_new_route_without_a_row_is_found() -> None:
    def view(request: HttpRequest) -> HttpResponse:
        return HttpResponse()

    assert without_a_row([*get_resolver().url_patterns, path("api/v1/everything", view)]) == ["api/v1/everything"]


# --- the API ----------------------------------------------------------------------------------------------------------------


def api_url(route: str, number: str) -> str:
    return "/" + route.replace(OF_A_CLIENT, number).replace("<str:sku>", "TENT")


def expected(route: str, scopes: list[Scope], *, is_own: bool) -> dict[str, int]:
    """What the row says to a token with these scopes."""
    row = dict(API[route])
    row |= {"HEAD": row["GET"]} if "GET" in row else {}
    answers = {"OPTIONS": 200} | {method: 405 for method in METHODS if method not in row and method != "OPTIONS"}
    for method, (scope, status) in row.items():
        allowed = status if is_own or OF_A_CLIENT not in route else 404
        answers[method] = allowed if scope in scopes else 403
    return {method: answers[method] for method in METHODS}


@pytest.mark.parametrize("route", API)
def test_without_a_token_nobody_sees_anything_of_the_api(shop: Shop, route: str) -> None:
    """Neither does whoever is logged in to the admin: a session is no token."""
    for number in (shop.own, shop.foreign):
        for who in (APIClient(), shop.staff, shop.superuser):
            assert statuses(who, api_url(route, number)) == dict.fromkeys(METHODS, 401)


@pytest.mark.parametrize("route", API)
def test_a_token_opens_what_its_scopes_say_and_only_its_own(shop: Shop, route: str) -> None:
    """Each scope left out in turn, about an own order and about somebody else's."""
    for left_out in (None, *Scope):
        scopes = [scope for scope in Scope if scope != left_out]
        api = shop.client.another_token(scopes)
        for number in (shop.own, shop.foreign):
            found = statuses(api, api_url(route, number), shop.body if route == "api/v1/orders" else None)

            assert found == expected(route, scopes, is_own=number == shop.own), (left_out, number)


# --- the admin ---------------------------------------------------------------------------------------------------------------


def admin_url(route: str) -> str:
    """Of an object that there is."""
    model = re.search(r"^admin/(\w+)/(\w+)/.*<", route)
    if route in PLACES or model is None or route.startswith("admin/r/"):
        return PLACES.get(route, "/" + re.sub("<[^>]+>", "1", route))
    first = apps.get_model(model[1], model[2])._default_manager.order_by("pk").first()
    return "/" + re.sub("<[^>]+>", str(first.pk if first else 1), route)


@pytest.mark.parametrize("route", ADMIN)
def test_a_page_of_the_admin_is_open_to_whom_its_row_says(shop: Shop, route: str) -> None:
    """Without a login, and with a token of the API, the answer is the way to the login."""
    url, (staff, superuser) = admin_url(route), ADMIN[route]

    assert statuses(Browser(), url) == dict.fromkeys(METHODS, 302)
    assert statuses(shop.client.api, url) == dict.fromkeys(METHODS, 302)
    assert (statuses(shop.staff, url), statuses(shop.superuser, url)) == (by_method(staff), by_method(superuser))


@pytest.mark.parametrize("route", PUBLIC)
def test_what_is_open_to_everybody_is_named(db: None, route: str) -> None:
    assert statuses(Browser(), f"/{route}") == by_method(PUBLIC[route])
