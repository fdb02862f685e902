"""Who is answered what: one row for every route of the URLconf, and for every probe. A route without a row fails ``test_access_matrix``.

The rows are what should be, written by hand. What is found is written beside them into ``.run/test/access/``.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from django.urls import URLPattern, URLResolver

from config import health
from orders.client_tokens import Scope
from tests.engines import RUN_DIR

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
Statuses = dict[str, int]  # by method

# For each method the scope that it needs, and the answer to a client that has it, about an object of its own (HEAD is as GET). The rest follows: without a token
# 401 (a session is none), without the scope 403, about an object of another client 404, any other method 405. OPTIONS needs a token and no scope.
API: dict[str, dict[str, tuple[Scope, int]]] = {
    "api/v1/orders": {"GET": (Scope.ORDERS_READ, 200), "POST": (Scope.ORDERS_WRITE, 201)},
    "api/v1/orders/<str:number>": {"GET": (Scope.ORDERS_READ, 200)},
    "api/v1/orders/<str:number>/cancel": {"POST": (Scope.ORDERS_CANCEL, 202)},
    "api/v1/orders/<str:number>/events": {"GET": (Scope.ORDERS_READ, 200)},
    "api/v1/products": {"GET": (Scope.PRODUCTS_READ, 200)},
    "api/v1/products/<str:sku>": {"GET": (Scope.PRODUCTS_READ, 200)},
    "api/v1/products/<str:sku>/recommendations": {"GET": (Scope.PRODUCTS_READ, 200)},
}
OF_A_CLIENT = "<str:number>"  # a route with this in it is about an object of one client

# Answers to a staff user without any permission, and to a superuser: one for all methods, or one for each. A form is sent empty. Anybody else, and whoever has
# given a password and still owes the second factor, is sent to the login.
ADMIN: dict[str, tuple[str, str]] = {
    "admin/search/": ("200", "200"),
    "admin/": ("200", "200"),
    "admin/logout/": ("405 405 200 405 405 405 200", "405 405 200 405 405 405 200"),
    "admin/password_change/": ("200 200 200 200 405 405 200", "200 200 200 200 405 405 200"),
    "admin/password_change/done/": ("200 200 405 405 405 405 200", "200 200 405 405 405 405 200"),
    "admin/autocomplete/": ("403 403 405 405 405 405 200", "200 200 405 405 405 405 200"),
    "admin/jsi18n/": ("200 200 405 405 405 405 200", "200 200 405 405 405 405 200"),
    "admin/r/<path:content_type_id>/<path:object_id>/": ("404", "404"),
    "admin/orders/product/": ("403", "200"),
    "admin/orders/product/add/": ("403", "200"),
    "admin/orders/product/<path:object_id>/history/": ("403", "200"),
    "admin/orders/product/<path:object_id>/delete/": ("403", "403"),
    "admin/orders/product/<path:object_id>/change/": ("403", "200"),
    "admin/orders/product/<path:object_id>/": ("302", "302"),
    "admin/auth/user/<id>/password/": ("403", "200"),
    "admin/auth/user/": ("403", "200"),
    "admin/auth/user/add/": ("403", "200"),
    "admin/auth/user/<path:object_id>/history/": ("403", "200"),
    "admin/auth/user/<path:object_id>/delete/": ("403", "200"),
    "admin/auth/user/<path:object_id>/change/": ("403", "200"),
    "admin/auth/user/<path:object_id>/": ("302", "302"),
    "admin/auth/group/": ("403", "200"),
    "admin/auth/group/add/": ("403", "200"),
    "admin/auth/group/<path:object_id>/history/": ("403", "200"),
    "admin/auth/group/<path:object_id>/delete/": ("403", "200"),
    "admin/auth/group/<path:object_id>/change/": ("403", "200"),
    "admin/auth/group/<path:object_id>/": ("302", "302"),
    "admin/orders/clientsettings/<int:pk>/rotate/": ("403", "200"),
    "admin/orders/clientsettings/<int:pk>/revoke/": ("403", "200"),
    "admin/orders/clientsettings/": ("403", "200"),
    "admin/orders/clientsettings/add/": ("403", "200"),
    "admin/orders/clientsettings/<path:object_id>/history/": ("403", "200"),
    "admin/orders/clientsettings/<path:object_id>/delete/": ("403", "403"),
    "admin/orders/clientsettings/<path:object_id>/change/": ("403", "200 200 302 200 200 200 200"),
    "admin/orders/clientsettings/<path:object_id>/": ("302", "302"),
    "admin/orders/order/<path:object_id>/retry-now/": ("403", "200"),
    "admin/orders/order/<path:object_id>/cancel/": ("403", "200"),
    "admin/orders/order/": ("403", "200"),
    "admin/orders/order/add/": ("403", "403"),
    "admin/orders/order/<path:object_id>/history/": ("403", "200"),
    "admin/orders/order/<path:object_id>/delete/": ("403", "403"),
    "admin/orders/order/<path:object_id>/change/": ("403", "200 200 403 200 200 200 200"),
    "admin/orders/order/<path:object_id>/": ("302", "302"),
    "admin/fulfillment/stocklevel/": ("403", "200"),
    "admin/fulfillment/stocklevel/add/": ("403", "200"),
    "admin/fulfillment/stocklevel/<path:object_id>/history/": ("403", "200"),
    "admin/fulfillment/stocklevel/<path:object_id>/delete/": ("403", "403"),
    "admin/fulfillment/stocklevel/<path:object_id>/change/": ("403", "200"),
    "admin/fulfillment/stocklevel/<path:object_id>/": ("302", "302"),
    "admin/fulfillment/stockmovement/": ("403", "200"),
    "admin/fulfillment/stockmovement/add/": ("403", "403"),
    "admin/fulfillment/stockmovement/<path:object_id>/history/": ("403", "200"),
    "admin/fulfillment/stockmovement/<path:object_id>/delete/": ("403", "403"),
    "admin/fulfillment/stockmovement/<path:object_id>/change/": ("403", "200 200 403 200 200 200 200"),
    "admin/fulfillment/stockmovement/<path:object_id>/": ("302", "302"),
    "admin/^(?P<app_label>orders|auth|fulfillment)/$": ("404", "200"),
    "admin/(?P<url>.*)$": ("404", "404"),
}

# Answers to everybody else, and to whoever is logged in. A document is read with or without a token, and by nothing but GET and HEAD.
READ = "200 200 405 405 405 405 405"
OPEN: dict[str, tuple[str, str]] = {
    "": ("302", "302"),
    "admin/login/": ("200 200 200 200 405 405 200", "302 200 200 200 405 405 200"),
    "docs": (READ, READ),
    "docs/": ("302", "302"),
    "problems": ("302", "302"),
    "problems/": (READ, READ),
    "problems/<slug:slug>": (READ, READ),
    "openapi.json": ("200 200 405 405 405 405 200", "200 200 405 405 405 405 200"),
    "api/v1/openapi.json": ("200 200 405 405 405 405 200", "200 200 405 405 405 405 200"),
    "/healthz": (READ, READ),
    "/readyz": (READ, READ),
    "/status": (READ, READ),
}


def routes(patterns: Iterable[URLPattern | URLResolver], above: str = "") -> Iterator[str]:
    """Every route, as it is written in the URLconf."""
    for pattern in patterns:
        route = f"{above}{pattern.pattern}"
        if isinstance(pattern, URLResolver):
            yield from routes(pattern.url_patterns, route)
        else:
            yield route


def answered(patterns: Iterable[URLPattern | URLResolver]) -> list[str]:
    """Routes, and the probes, which are answered before the URLconf is asked."""
    return [*routes(patterns), *health.ANSWERS]


def without_a_row(patterns: Iterable[URLPattern | URLResolver]) -> list[str]:
    return [route for route in answered(patterns) if not any(route in rows for rows in tables())]


def tables() -> tuple[dict[str, Any], ...]:
    return API, ADMIN, OPEN


# --- what is expected ---------------------------------------------------------------------------------------------------------


def always(status: int) -> Statuses:
    return dict.fromkeys(METHODS, status)


def by_method(answers: str) -> Statuses:
    found = [int(status) for status in answers.split()]
    return dict(zip(METHODS, found * len(METHODS) if len(found) == 1 else found, strict=True))


def of_the_api(route: str, scopes: Sequence[Scope], *, is_own: bool) -> Statuses:
    """What the row says to a token with these scopes."""
    row = dict(API[route])
    row |= {"HEAD": row["GET"]} if "GET" in row else {}
    answers = {"OPTIONS": 200} | {method: 405 for method in METHODS if method not in row and method != "OPTIONS"}
    for method, (scope, status) in row.items():
        allowed = status if is_own else 404
        answers[method] = allowed if scope in scopes else 403
    return {method: answers[method] for method in METHODS}


# --- and found ----------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Cell:
    """What ``who`` should be answered on ``route``, and is. ``leaks``: an answer shows what is not theirs to see."""

    route: str
    who: str
    about: str = ""
    expected: Statuses
    found: Statuses
    leaks: bool = False

    @property
    def is_right(self) -> bool:
        return self.expected == self.found and not self.leaks

    def __str__(self) -> str:
        found = "as expected" if self.expected == self.found else _written(self.found)
        return f"| `{self.route}` | {self.who} | {self.about} | {_written(self.expected)} | {found}{', and LEAKS' if self.leaks else ''} |"


def wrong(name: str, cells: Sequence[Cell]) -> list[str]:
    """Those that are not as expected. All of them are kept as a table."""
    folder = RUN_DIR / "access"
    folder.mkdir(parents=True, exist_ok=True)
    columns = ["route", "who", "about", f"expected: {' '.join(METHODS)}", "found"]
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|", *map(str, cells)]
    (folder / f"{name}.md").write_text("\n".join([*lines, ""]))
    return [str(cell) for cell in cells if not cell.is_right]


def _written(statuses: Statuses) -> str:
    return " ".join(str(statuses[method]) for method in METHODS)
