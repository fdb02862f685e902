"""Who is answered what: one row for every route of the URLconf. A route without a row fails ``test_access_matrix``."""

from collections.abc import Iterable, Iterator
from typing import Any

from django.urls import URLPattern, URLResolver

from orders.client_tokens import Scope

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")

# For each method the scope that it needs, and the answer to a client that has it, about an object of its own (HEAD is as GET). The rest follows: without a token
# 401 (a session is none), without the scope 403, about an object of another client 404, any other method 405. OPTIONS needs a token and no scope.
API: dict[str, dict[str, tuple[Scope, int]]] = {
    "api/v1/orders": {"GET": (Scope.ORDERS_READ, 200), "POST": (Scope.ORDERS_WRITE, 201)},
    "api/v1/orders/<str:number>": {"GET": (Scope.ORDERS_READ, 200)},
    "api/v1/orders/<str:number>/cancel": {"POST": (Scope.ORDERS_CANCEL, 202)},
    "api/v1/products": {"GET": (Scope.PRODUCTS_READ, 200)},
    "api/v1/products/<str:sku>/recommendations": {"GET": (Scope.PRODUCTS_READ, 200)},
}
OF_A_CLIENT = "<str:number>"  # a route with this in it is about an object of one client

# Answers to a staff user without any permission, and to a superuser: one for all methods, or one for each. A form is sent empty. Anybody else is sent to the login.
ADMIN: dict[str, tuple[str, str]] = {
    "admin/search/": ("200", "200"),
    "admin/": ("200", "200"),
    "admin/logout/": ("405 405 200 405 405 405 200", "405 405 200 405 405 405 200"),
    "admin/password_change/": ("200 200 200 200 405 405 200", "200 200 200 200 405 405 200"),
    "admin/password_change/done/": ("200 200 405 405 405 405 200", "200 200 405 405 405 405 200"),
    "admin/autocomplete/": ("403 403 405 405 405 405 200", "403 403 405 405 405 405 200"),
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

# Answers to whoever is not logged in.
PUBLIC: dict[str, str] = {"": "302", "admin/login/": "200 200 200 200 405 405 200"}


def routes(patterns: Iterable[URLPattern | URLResolver], above: str = "") -> Iterator[str]:
    """Every route, as it is written in the URLconf."""
    for pattern in patterns:
        route = f"{above}{pattern.pattern}"
        if isinstance(pattern, URLResolver):
            yield from routes(pattern.url_patterns, route)
        else:
            yield route


def without_a_row(patterns: Iterable[URLPattern | URLResolver]) -> list[str]:
    return [route for route in routes(patterns) if not any(route in rows for rows in tables())]


def tables() -> tuple[dict[str, Any], ...]:
    return API, ADMIN, PUBLIC


def by_method(answers: str) -> dict[str, int]:
    found = [int(status) for status in answers.split()]
    return dict(zip(METHODS, found * len(METHODS) if len(found) == 1 else found, strict=False))
