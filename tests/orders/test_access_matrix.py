"""Promise: every route of the shop lets in whom it should, whatever method is tried, and a new route fails here until somebody has written who may."""

import re
import uuid
from collections.abc import Callable, Iterator
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

from config import status
from orders import client_tokens, operators
from orders.client_tokens import Scope
from orders.models import ClientSettings
from orders.single_flight import SingleFlight
from tests.orders.access_matrix import (
    ADMIN,
    API,
    METHODS,
    OF_A_CLIENT,
    OPEN,
    Cell,
    Statuses,
    always,
    answered,
    by_method,
    of_the_api,
    tables,
    without_a_row,
    wrong,
)
from tests.orders.conftest import Client, browser_of

OWN, FOREIGN = "ngozi@example.net", "zoe@example.net"  # customers of the two clients; no example of the docs has these
PLACES = {
    "admin/^(?P<app_label>orders|auth|fulfillment)/$": "/admin/orders/",
    "admin/(?P<url>.*)$": "/admin/nothing/here",
    "admin/autocomplete/": "/admin/autocomplete/?app_label=orders&model_name=order&field_name=client",
    "admin/search/": "/admin/search/?s=ord",
    "problems/<slug:slug>": "/problems/not-found",
}
SCOPES = {"all scopes": list(Scope), "no scope": []} | {f"all but {left}": [one for one in Scope if one != left] for left in Scope}

ShowFigure = Callable[[str], None]


@dataclass(frozen=True)
class Shop:
    """``own`` and ``foreign``: numbers of an order of ``client``, and of another client's. ``body``: orders another one."""

    client: Client
    body: dict[str, Any]
    own: str
    foreign: str
    staff: Browser
    superuser: Browser


@pytest.fixture
def shop(client: Client, body: dict[str, Any]) -> Shop:
    of_mine, of_theirs = (body | {"customer": {"email": email, "name": "A customer"}} for email in (OWN, FOREIGN))
    own, foreign = client.post(of_mine).json()["number"], Client("other-shop").post(of_theirs).json()["number"]
    ClientSettings.objects.create(client=client.user)
    Group.objects.create(name="support")
    superuser = Browser(raise_request_exception=False)
    superuser.force_login(User.objects.create_superuser("root"))
    return Shop(client, body, own, foreign, browser_of("amara"), superuser)


def visited(who: Browser, url: str, body: Any = None, hidden: tuple[str, ...] = ()) -> dict[str, Any]:
    """What is found, by method, and whether an answer shows what is ``hidden``. ``body``: what is posted. Nothing of it stays: who logs out is logged in again,
    what was placed is gone.
    """
    answers = {method: _answer(who, method, url, body if method == "POST" else None) for method in METHODS}
    shown = "".join(answer.content.decode() for answer in answers.values())
    return {
        "found": {method: answer.status_code for method, answer in answers.items()},
        "leaks": any(secret in shown for secret in hidden),
    }


def _answer(who: Browser, method: str, url: str, body: Any) -> Any:
    headers = {"Idempotency-Key": uuid.uuid4().hex}
    with transaction.atomic():
        if isinstance(who, APIClient):
            answer = getattr(who, method.lower())(url, body, format="json", headers=headers)
        else:
            browser = Browser(raise_request_exception=False)
            browser.handler = who.handler  # to make another one costs as much as ten requests
            browser.cookies.load({name: cookie.value for name, cookie in who.cookies.items()})
            answer = browser.generic(method, url)
        transaction.set_rollback(True)
    return answer


# --- every route has a row ------------------------------------------------------------------------------------------------------


def test_every_route_has_a_row_and_every_row_a_route() -> None:
    known = set(answered(get_resolver().url_patterns))

    assert without_a_row(get_resolver().url_patterns) == []
    assert [route for rows in tables() for route in rows if route not in known] == []


def test_a_new_route_without_a_row_is_found() -> None:
    def view(request: HttpRequest) -> HttpResponse:
        return HttpResponse()

    assert without_a_row([*get_resolver().url_patterns, path("api/v1/everything", view)]) == ["api/v1/everything"]


# --- the API ----------------------------------------------------------------------------------------------------------------


def test_a_token_opens_what_its_scopes_say_and_only_its_own(shop: Shop, show_figure: ShowFigure) -> None:
    """Whoever has no token of the API sees nothing of it: neither a session of the admin nor an operator's token is one."""
    cells = [*_without_a_token(shop), *_with_scopes(shop)]

    assert wrong("api", cells) == []
    show_figure(f"access matrix, API: {len(cells) * len(METHODS)} answers, each as expected")


def _without_a_token(shop: Shop) -> Iterator[Cell]:
    revoked = client_tokens.issue(shop.client.user)
    client_tokens.revoke(revoked.token.prefix)
    outside = {
        "nobody": APIClient(),
        "staff's session": shop.staff,
        "superuser's session": shop.superuser,
        "superuser's operator token": _with_token(operators.issue(User.objects.get(username="root"))),
        "revoked token": _with_token(revoked.secret),
    }
    for who, browser in outside.items():
        for route in API:
            seen = visited(browser, api_url(route, shop.own), shop.body, hidden=(OWN, FOREIGN))
            yield Cell(route=route, who=who, expected=always(401), **seen)


def _with_token(token: str) -> APIClient:
    return APIClient(headers={"Authorization": f"Bearer {token}"})


def _with_scopes(shop: Shop) -> Iterator[Cell]:
    for who, scopes in SCOPES.items():
        api = shop.client.another_token(scopes)
        for route in API:
            for about, number, is_own in _objects(shop, route):
                seen = visited(api, api_url(route, number), shop.body if route == "api/v1/orders" else None, hidden=(FOREIGN,))
                yield Cell(route=route, who=f"token, {who}", about=about, expected=of_the_api(route, scopes, is_own=is_own), **seen)


def _objects(shop: Shop, route: str) -> list[tuple[str, str, bool]]:
    if OF_A_CLIENT not in route:
        return [("", "", True)]
    return [("own order", shop.own, True), ("another client's order", shop.foreign, False), ("no order", "ORD-0", False)]


def api_url(route: str, number: str) -> str:
    return "/" + route.replace(OF_A_CLIENT, number).replace("<str:sku>", "TENT")


# --- the admin ---------------------------------------------------------------------------------------------------------------


def test_a_page_of_the_admin_is_open_to_whom_its_row_says(shop: Shop, settings: Any, show_figure: ShowFigure) -> None:
    """Staff without a permission see nobody's order, whatever page is open to them."""
    cells = [*_at_the_door(shop, settings), *_logged_in(shop)]

    assert wrong("admin", cells) == []
    show_figure(f"access matrix, admin: {len(cells) * len(METHODS)} answers, each as expected")


def _at_the_door(shop: Shop, settings: Any) -> Iterator[Cell]:
    """Who is sent to the login. ``settings``: a second factor is asked for, as long as somebody has given a password alone."""
    for who, browser in {"nobody": Browser(), "API client": shop.client.api}.items():
        yield from (Cell(route=route, who=who, expected=always(302), **visited(browser, admin_url(route))) for route in ADMIN)
    settings.OPERATORS_SECOND_FACTOR = True
    for route, (_, superuser) in ADMIN.items():
        expected = by_method(superuser) if route == "admin/logout/" else always(302)  # half logged in, one may leave
        yield Cell(route=route, who="superuser, without the second factor", expected=expected, **visited(shop.superuser, admin_url(route)))
    settings.OPERATORS_SECOND_FACTOR = False


def _logged_in(shop: Shop) -> Iterator[Cell]:
    for route, (staff, superuser) in ADMIN.items():
        seen = visited(shop.staff, admin_url(route), hidden=(OWN, FOREIGN))
        yield Cell(route=route, who="staff", expected=by_method(staff), **seen)
        yield Cell(route=route, who="superuser", expected=by_method(superuser), **visited(shop.superuser, admin_url(route)))


def admin_url(route: str) -> str:
    """Of an object that there is."""
    model = re.search(r"^admin/(\w+)/(\w+)/.*<", route)
    if route in PLACES or model is None or route.startswith("admin/r/"):
        return PLACES.get(route, "/" + re.sub("<[^>]+>", "1", route))
    first = apps.get_model(model[1], model[2])._default_manager.order_by("pk").first()
    return "/" + re.sub("<[^>]+>", str(first.pk if first else 1), route)


# --- what is open to everybody -----------------------------------------------------------------------------------------------


def test_what_is_open_to_everybody_is_named(shop: Shop, settings: Any, monkeypatch: pytest.MonkeyPatch, show_figure: ShowFigure) -> None:
    """Nothing of an order stands there."""
    monkeypatch.setattr(SingleFlight, "answer", lambda self: "")
    monkeypatch.setattr(status.Examination, "report", lambda self, **_: {"level": "ok"})
    cells = [*_to_everybody(shop), *_at_the_second_step(shop, settings)]

    assert wrong("open", cells) == []
    show_figure(f"access matrix, open to everybody: {len(cells) * len(METHODS)} answers, each as expected")


def _to_everybody(shop: Shop) -> Iterator[Cell]:
    outside = {"nobody": Browser(), "API client": shop.client.api}
    inside = {"staff": shop.staff, "superuser": shop.superuser}
    for route, (to_all, to_those_inside) in OPEN.items():
        for who, browser in (outside | inside).items():
            expected = by_method(to_those_inside if who in inside else to_all)
            yield Cell(route=route, who=who, expected=expected, **visited(browser, open_url(route), hidden=(OWN, FOREIGN)))


def _at_the_second_step(shop: Shop, settings: Any) -> Iterator[Cell]:
    """The login shows its second step to whoever has given the password."""
    settings.OPERATORS_SECOND_FACTOR = True
    expected: Statuses = by_method(OPEN["admin/login/"][0])
    yield Cell(
        route="admin/login/", who="superuser, without the second factor", expected=expected, **visited(shop.superuser, "/admin/login/")
    )


def open_url(route: str) -> str:
    return PLACES.get(route, f"/{route.removeprefix('/')}")
