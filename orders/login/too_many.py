"""429: a login that has to wait. A person gets a page, a program a problem document; both say when to come again."""

import math

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.template import loader
from django.utils.deprecation import MiddlewareMixin
from drf_canon.errors import Problem

from orders.api import problems
from orders.login.hashing import Busy

RETRY_BUSY_S = 1


def locked_out(request: HttpRequest, original: HttpResponse | None, credentials: object) -> HttpResponse:
    """What django-axes answers once an account, an address or both together have failed too often. Whoever waits the whole time comes in, whatever else happens."""
    wait_s = settings.LOGIN_COOLOFF_S
    sentence = f"Wait {_in_words(wait_s)}, then log in again; trying earlier changes nothing."
    return answer(request, problems.TOO_MANY_LOGINS, sentence, wait_s)


def _in_words(seconds: int) -> str:
    minutes = math.ceil(seconds / 60)
    return f"{minutes} minutes" if minutes > 1 else "a minute"


def answer(request: HttpRequest, problem: Problem, sentence: str, retry_after_s: int) -> HttpResponse:
    """Made without a query."""
    if request.accepts("text/html"):
        html = loader.render_to_string("orders/too_many.html", {"title": problem.title, "sentence": sentence, "path": request.path})
        response = HttpResponse(html, status=problem.status)
    else:
        response = problems.problem_document(request, problem, sentence)
    response.headers["Retry-After"] = str(retry_after_s)
    return response


class TooManyLogins(MiddlewareMixin):
    """Middleware: a password that could not be hashed now was neither right nor wrong."""

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        if not isinstance(exception, Busy):
            return None
        sentence = "Somebody else's password is being checked. Wait a second, then try again; nothing was done."
        return answer(request, problems.LOGIN_BUSY, sentence, RETRY_BUSY_S)
