"""Serves the reference: its document, its page, and a page for each problem. None of them needs a token or the database."""

import hashlib
import re
from functools import cache

from csp.decorators import csp_update
from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.decorators import method_decorator
from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe
from django.views.decorators.http import condition, require_safe
from drf_spectacular.utils import extend_schema
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.views import APIView

from orders.api.parameters import Parameters
from orders.api.reference.problem_pages import FIELD_REFUSALS, PAGES, page_of

CODE = re.compile(r"`([^`]+)`")


@cache
def _document() -> bytes:
    """A test keeps the file as the code has it, so it is not made anew in each process."""
    content: bytes = settings.REFERENCE_FILE.read_bytes()
    return content


def _etag(request: Request) -> str:
    return f'"{hashlib.sha256(_document()).hexdigest()[:32]}"'


class Document(APIView):
    """The OpenAPI document. It does not describe itself."""

    authentication_classes = ()
    permission_classes = (AllowAny,)

    @extend_schema(exclude=True)
    @method_decorator(condition(etag_func=_etag))
    def get(self, request: Request) -> HttpResponse:
        Parameters.of(request)
        return HttpResponse(_document(), content_type="application/json")


@require_safe
@csp_update({"img-src": ["data:"]})  # the arrows of its style sheet
def page(request: HttpRequest) -> HttpResponse:
    """Swagger UI, from the package. Without a script of its own in the page, so that a strict Content-Security-Policy allows it."""
    return render(request, "orders/reference.html")


@require_safe
def problems(request: HttpRequest) -> HttpResponse:
    return render(request, "orders/problems.html", {"pages": PAGES})


@require_safe
def problem(request: HttpRequest, slug: str) -> HttpResponse:
    """What the ``type`` of a problem document leads to."""
    found = page_of(slug)
    if found is None:
        return _of_the_code(slug)
    shown = {name: _html(text) for name, text in (("means", found.means), ("placed", found.placed), ("remedy", found.remedy))}
    refusals = [(codes, _html(refused)) for codes, refused in FIELD_REFUSALS] if found.code == "validation_error" else []
    return render(request, "orders/problem.html", {"problem": found.problem, "code": found.code, "refusals": refusals} | shown)


def _of_the_code(code: str) -> HttpResponse:
    """A person who has read the code of a problem looks for it under its name. Raises Http404."""
    found = next((page for page in PAGES if page.code == code), None)
    if found is None:
        raise Http404
    return redirect("problem", found.problem.slug)


def _html(text: str) -> SafeString:
    """What stands in backquotes is code."""
    return mark_safe(CODE.sub(r"<code>\1</code>", escape(text)))  # noqa: S308  (escaped)
