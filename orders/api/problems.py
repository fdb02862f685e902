"""Every error is a problem document (RFC 9457) that says what is wrong, where, and under which request id."""

import uuid
from collections.abc import Callable
from typing import Any

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.http.response import HttpResponseBase
from django.views import defaults
from drf_canon.errors import INTERNAL_ERROR, NOT_FOUND, Problem, exception_handler, get_violations
from drf_canon.errors.handler import CONTENT_TYPE
from rest_framework.exceptions import APIException, ValidationError
from rest_framework.response import Response

KEY_REUSED = Problem("idempotency-key-reused", "This Idempotency-Key was used for another order", 422)
INVALID_STATE = Problem("invalid-state", "The order's state does not allow this", 409)


def problem_handler(error: Exception, context: dict[str, Any]) -> Response | None:
    """``drf_canon``'s document plus ``code``, ``request_id`` and a code for each field."""
    response = exception_handler(error, context)
    if response is None or not isinstance(response.data, dict):
        return response
    response.data["code"] = _code(error, response.data)
    response.data["request_id"] = request_id(context["request"])
    if isinstance(error, ValidationError):
        codes = get_violations(error.get_codes(), "")
        for violation, code in zip(response.data.get("errors", []), codes, strict=True):
            violation["code"] = code["detail"]
    return response


def _code(error: Exception, document: dict[str, Any]) -> str:
    if isinstance(error, ValidationError):
        return "validation_error"
    slug = str(document["type"]).rsplit("/", 1)[-1].replace("-", "_")
    known = slug if slug != "about:blank" else ""
    return known or (error.default_code if isinstance(error, APIException) else "error")


def request_id(request: Any) -> str:
    """The client's X-Request-ID where it is usable, else one of ours; the same for the whole request."""
    django_request = getattr(request, "_request", request)
    if not hasattr(django_request, "shop_request_id"):
        asked = django_request.headers.get("X-Request-ID", "")
        usable = 0 < len(asked) <= 64 and all(letter.isascii() and (letter.isalnum() or letter in "-_.:") for letter in asked)
        django_request.shop_request_id = asked if usable else str(uuid.uuid4())
    return str(django_request.shop_request_id)


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """handler404: a document below /api/, Django's page elsewhere."""
    if not request.path.startswith("/api/"):
        return defaults.page_not_found(request, exception)
    return _document(request, NOT_FOUND, f"There is nothing at {request.path}.", "not_found")


def server_error(request: HttpRequest) -> HttpResponse:
    """handler500: nothing of the error itself is told."""
    if not request.path.startswith("/api/"):
        return defaults.server_error(request)
    return _document(request, INTERNAL_ERROR, "Something broke on our side. Ask again with the same Idempotency-Key.", "internal_error")


def _document(request: HttpRequest, problem: Problem, detail: str, code: str) -> JsonResponse:
    document = {"type": problem.type, "title": str(problem.title), "status": problem.status, "detail": detail}
    document |= {"code": code, "request_id": request_id(request)}
    return JsonResponse(document, status=problem.status, content_type=CONTENT_TYPE)


class RequestId:
    """Middleware: every answer says which request it answers."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = self.get_response(request)
        response.headers["X-Request-ID"] = request_id(request)
        return response
