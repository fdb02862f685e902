"""Our own database cannot serve a request now: every interface answers 503 with Retry-After.

A connection that is of no use was dropped where that was noticed (``orders.postgresql``).

Raised in a view of the API it meets ``problem_handler``; anywhere else (a page of the admin, a middleware, a session that is saved) it meets handler500, which
Django calls while the error is being handled.
"""

import logging

from django.http import HttpRequest, HttpResponse
from django.template import loader
from drf_canon.errors import Problem

from orders.database import sqlstate

log = logging.getLogger(__name__)

UNAVAILABLE = Problem("database-unavailable", "The shop's database cannot serve this request now", 503)
RETRY_AFTER_S = 2
MESSAGE = "Our database could not serve this now. Ask again in a moment, with the same Idempotency-Key: nothing happens twice."


def note(request: HttpRequest, error: BaseException) -> None:
    """One line, without the statement and the path: they may hold what a customer has sent."""
    what = sqlstate(error) or "no connection"
    log.warning("%s %s answered 503: %s (%s)", request.method, route_of(request), type(error).__name__, what)


def route_of(request: HttpRequest) -> str:
    """As it is written in the URLconf; ``-``: it has come to none."""
    return f"/{request.resolver_match.route}" if request.resolver_match else "-"


def page(request: HttpRequest) -> HttpResponse:
    """For people: made without a query."""
    html = loader.render_to_string("orders/unavailable.html", {"path": request.path})
    return retry_later(HttpResponse(html, status=UNAVAILABLE.status))


def retry_later(response: HttpResponse, after_s: int = RETRY_AFTER_S) -> HttpResponse:
    response.headers["Retry-After"] = str(after_s)
    return response
