"""What an operator's browser asks for wrongly, or twice, is answered by a page that says so. This holds for every view of the admin."""

import functools
from collections.abc import Callable
from typing import Any

from django.contrib import messages
from django.contrib.admin.views.main import ERROR_FLAG
from django.db import DataError, IntegrityError
from django.http import HttpRequest, HttpResponseBadRequest
from django.http.response import HttpResponseBase
from django.shortcuts import redirect

from orders.database import sqlstate
from orders.operators import Refused

View = Callable[..., HttpResponseBase]

READS = ("GET", "HEAD")
NOT_UNIQUE = "23505"
ALL_ROWS = "The address asks for something that no row can be compared with. All rows are shown."
TWICE = "Another request has just saved the same. Nothing was done by this one."


def answered(view: View) -> View:
    """``view``, which tells its reader what Django lets through as an error of ours."""
    about_nonsense = ABOUT_NONSENSE.get(getattr(view, "__name__", ""))

    @functools.wraps(view)
    def answering(request: HttpRequest, *args: Any, **named: Any) -> HttpResponseBase:
        try:
            return view(request, *args, **named)
        except (Refused, IntegrityError) as error:
            sentence = _why_not(error)
            if request.method in READS or not sentence:
                raise
            return _told(request, sentence, request.get_full_path())
        except (ValueError, OverflowError, DataError):  # of what is compared: a NUL, a broken pattern, a year that no calendar has
            if about_nonsense is None or request.method not in READS or not request.GET or ERROR_FLAG in request.GET:
                raise
            return about_nonsense(request)

    return answering


def _why_not(error: Refused | IntegrityError) -> str:
    """Empty: that is for nobody who has filled in a form."""
    if isinstance(error, Refused):
        return str(error)
    return TWICE if sqlstate(error) == NOT_UNIQUE else ""


def _all_rows(request: HttpRequest) -> HttpResponseBase:
    return _told(request, ALL_ROWS, f"{request.path}?{ERROR_FLAG}=1")


def _told(request: HttpRequest, sentence: str, page: str) -> HttpResponseBase:
    messages.warning(request, sentence)
    return redirect(page)


# By the names that Django has for the views of every model: those that compare rows with what stands in the address.
ABOUT_NONSENSE: dict[str, Callable[[HttpRequest], HttpResponseBase]] = {
    "changelist_view": _all_rows,
    "autocomplete_view": lambda _: HttpResponseBadRequest(),
}
