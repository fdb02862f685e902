"""Every error is a problem document (RFC 9457) that says what is wrong, where, and under which request id."""

import codecs
import sys
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any

from django.conf import settings
from django.core.exceptions import DisallowedHost, RequestDataTooBig, TooManyFieldsSent
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.http.response import HttpResponseBase
from django.views import defaults
from drf_canon.errors import INTERNAL_ERROR, NOT_FOUND, Problem, ProblemError, exception_handler, get_violations
from drf_canon.errors.exceptions import BODY
from drf_canon.errors.handler import ABOUT_BLANK, CONTENT_TYPE
from rest_framework.exceptions import APIException, NotAuthenticated, ValidationError
from rest_framework.response import Response

from orders import tracing
from orders.api import unavailable
from orders.api.access import LacksScope, Reason, TokenRefused, challenge
from orders.database import is_our_trouble

KEY_REUSED = Problem("idempotency-key-reused", "This Idempotency-Key was used for another order", 422)
BAD_REQUEST = Problem("bad-request", "The request cannot be served as it was sent", 400)
TOO_LARGE = Problem("body-too-large", "The body is too large", 413)
TOTAL_DIFFERS = Problem("total-differs", "The order does not cost what was expected", 409)
REFERENCE_TAKEN = Problem("reference-taken", "Another order has this reference", 409)
NOT_TAKEN = Problem("orders-not-taken", "The shop takes no orders now", 503)
OVERLOADED = Problem("overloaded", "Too many orders wait already", 503)
INSUFFICIENT_SCOPE = Problem("insufficient-scope", "The token does not have the scope that this needs", 403)
INVALID_STATE = Problem("invalid-state", "The order's state does not allow this", 409)
HTTPS_REQUIRED = Problem("https-required", "This API answers over HTTPS only", 403)
TOO_MANY_LOGINS = Problem("too-many-logins", "Too many logins have failed", 429)
LOGIN_BUSY = Problem("login-busy", "Another login is being checked", 429)
NOT_ACCEPTABLE = Problem("not-acceptable", "Answers are JSON", 406)
UNSUPPORTED_MEDIA_TYPE = Problem("unsupported-media-type", "A body is JSON", 415)
_OF_DRF = {problem.status: problem for problem in (NOT_ACCEPTABLE, UNSUPPORTED_MEDIA_TYPE)}  # those that ``drf_canon`` does not name

BROKE = "Something broke on our side. Ask again with the same Idempotency-Key."
MOST_ERRORS, MOST_LETTERS = 100, 300  # in one document; in each pointer and sentence of it
PAGES = ("/admin", "/static/", "/docs", "/problems/")  # the beginnings of paths that browsers show
REQUEST_ID, ROUTE, CLIENT = "shop.request_id", "shop.route", "shop.client"  # in a request's environ; the last two for the access log


class OrderProblem(ProblemError):
    """A problem whose document has members of its own (RFC 9457, 3.2), for example ``order``: the number of the order that there is.

    ``faults``: of the request, told beside it. ``retry_after_s``: when to ask again; 0: nothing is said about it.
    """

    auth_header = ""  # DRF makes it WWW-Authenticate

    def __init__(
        self, problem: Problem, detail: str, faults: ValidationError | None = None, retry_after_s: int = 0, **members: Any
    ) -> None:
        super().__init__(problem, detail)
        self.faults = faults
        self.retry_after_s = retry_after_s
        self.members = members


class SeveralFaults(ValidationError):
    """Of several parts of one request: its body, its headers, its parameters."""

    def __init__(self, parts: Sequence[ValidationError]) -> None:
        super().__init__({})
        self.parts = parts


class Faults:
    """Usage: ``with faults: read one part of a request``, for each part; then ``tell``. So a client hears of all at once, and not of one part after the other."""

    def __init__(self) -> None:
        self._found: list[ValidationError] = []

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> bool:
        if isinstance(error, ValidationError):
            self._found.append(error)
        return isinstance(error, ValidationError)

    def tell(self) -> None:
        """Raises SeveralFaults: there are some."""
        if self._found:
            raise SeveralFaults(self._found)


def problem_handler(error: Exception, context: dict[str, Any]) -> Response | HttpResponse | None:
    """``drf_canon``'s document plus ``code``, ``request_id`` and a code for each field; 503 where our own database could not serve it."""
    if is_our_trouble(error):
        return _come_again(context["request"], error)
    if isinstance(error, LacksScope):
        error = _insufficient_scope(error)
    response = exception_handler(error, context)
    if response is None or not isinstance(response.data, dict):
        return response
    if response.data["type"] == ABOUT_BLANK and (named := _OF_DRF.get(response.status_code)):
        response.data |= {"type": named.type, "title": named.title}
    response.data["code"] = _code(error, response.data)
    response.data["request_id"] = request_id(context["request"])
    if isinstance(error, TokenRefused | NotAuthenticated):
        response.data["reason"] = error.reason if isinstance(error, TokenRefused) else Reason.MISSING
        response.headers["WWW-Authenticate"] = challenge(response.data["reason"])
    if isinstance(error, OrderProblem):
        response.data |= error.members
        if error.retry_after_s:
            return unavailable.retry_later(response, error.retry_after_s)
    if isinstance(error, ValidationError):
        violations = _violations(error)
        response.data |= {"detail": _in_short(len(violations))} | _errors(violations)
    elif isinstance(error, OrderProblem) and error.faults is not None:
        response.data |= _errors(_violations(error.faults))
    return response


def _violations(error: ValidationError) -> list[dict[str, Any]]:
    """As ``drf_canon`` makes them, each with its code."""
    if isinstance(error, SeveralFaults):
        return [violation for part in error.parts for violation in _violations(part)]
    told = get_violations(error.detail, getattr(error, "location", BODY))
    codes = get_violations(error.get_codes(), "")
    return [{**violation, "code": code["detail"]} for violation, code in zip(told, codes, strict=True)]


def _in_short(wrong: int) -> str:
    if wrong == 1:
        return "1 thing is wrong: `errors` names it."
    return f"{wrong} things are wrong: `errors` names {'each' if wrong <= MOST_ERRORS else f'the first {MOST_ERRORS}'}."


def _errors(violations: list[dict[str, Any]]) -> dict[str, Any]:
    """What a client can read and a log can hold, however much is wrong."""
    for violation in violations[:MOST_ERRORS]:
        for member in ("pointer", "detail"):
            violation[member] = str(violation[member])[:MOST_LETTERS]
    return {"errors": violations[:MOST_ERRORS]} | ({"more_errors": True} if len(violations) > MOST_ERRORS else {})


def _insufficient_scope(error: LacksScope) -> OrderProblem:
    problem = OrderProblem(INSUFFICIENT_SCOPE, str(error.detail), scope=error.scope)
    problem.auth_header = error.auth_header
    return problem


def code_of(problem: Problem) -> str:
    """As it stands in the document."""
    return problem.slug.replace("-", "_")


def _code(error: Exception, document: dict[str, Any]) -> str:
    if isinstance(error, ValidationError):
        return "validation_error"
    slug = str(document["type"]).rsplit("/", 1)[-1].replace("-", "_")
    known = slug if slug != ABOUT_BLANK else ""
    return known or (error.default_code if isinstance(error, APIException) else "error")


def request_id(request: Any) -> str:
    """The client's X-Request-ID where it is usable, else one of ours; the same for the whole request, also before Django has it (config/edge/handler.py)."""
    environ: dict[str, Any] = request.META
    if REQUEST_ID not in environ:
        environ[REQUEST_ID] = tracing.usable_id(environ.get("HTTP_X_REQUEST_ID", ""))
    return str(environ[REQUEST_ID])


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """handler400: what Django itself refuses, for example a host that is not in ALLOWED_HOSTS."""
    if is_page(request):
        return defaults.bad_request(request, exception)
    if isinstance(exception, RequestDataTooBig):
        return _too_large(request)
    return problem_document(request, BAD_REQUEST, _why(exception))


def _why(refused: Exception) -> str:
    """What Django says itself may quote the request."""
    if isinstance(refused, TooManyFieldsSent):
        return f"A request may have {settings.DATA_UPLOAD_MAX_NUMBER_FIELDS} parameters or fields at most."
    if isinstance(refused, DisallowedHost):
        return "Its Host header names a host that this shop does not serve."
    return "It cannot be served as it was sent."


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """handler404: Django's page where people look, a document elsewhere."""
    if is_page(request):
        return defaults.page_not_found(request, exception)
    return _nothing_there(request)


def server_error(request: HttpRequest) -> HttpResponse:
    """handler500: nothing of the error itself is shown. 503 where our own database could not serve it."""
    error = sys.exc_info()[1]
    if error is not None and is_our_trouble(error):
        return _come_again(request, error)
    if is_page(request):
        return defaults.server_error(request)
    return problem_document(request, INTERNAL_ERROR, BROKE)


def _come_again(request: Any, error: BaseException) -> HttpResponse:
    django_request: HttpRequest = getattr(request, "_request", request)
    unavailable.note(django_request, error)
    if is_page(django_request):
        return unavailable.page(django_request)
    document = problem_document(django_request, unavailable.UNAVAILABLE, unavailable.MESSAGE)
    return unavailable.retry_later(document)


def is_api(request: HttpRequest) -> bool:
    return request.path.startswith("/api/")


def is_page(request: HttpRequest) -> bool:
    """Whether a person looks at the answer. Whoever asks for anything else is a program, also where nothing is."""
    return request.path == "/" or request.path.startswith(PAGES)


def _nothing_there(request: HttpRequest) -> HttpResponse:
    return problem_document(request, NOT_FOUND, f"There is nothing at {request.path}.")


def _too_large(request: HttpRequest) -> HttpResponse:
    limit = settings.DATA_UPLOAD_MAX_MEMORY_SIZE // 1024
    return problem_document(request, TOO_LARGE, f"A body may have {limit} KiB at most.")


def members_of(problem: Problem, detail: str, request_id: str) -> dict[str, Any]:
    document = {"type": problem.type, "title": str(problem.title), "status": problem.status, "detail": detail}
    return document | {"code": code_of(problem), "request_id": request_id}


def problem_document(request: HttpRequest, problem: Problem, detail: str) -> JsonResponse:
    document = members_of(problem, detail, request_id(request))
    return JsonResponse(document, status=problem.status, content_type=CONTENT_TYPE)


class RequestId:
    """Middleware: every answer says which request it answers, and so does every line that is logged meanwhile, here and in the tasks that it publishes."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        identity = request_id(request)
        with tracing.traced(identity):
            response = self.get_response(request)
        response.headers["X-Request-ID"] = identity
        request.META[ROUTE] = unavailable.route_of(request)
        if getattr(request, "auth", None) is not None:  # a token of the API; whoever has logged in to the admin is a person
            request.META[CLIENT] = str(request.user)
        return response


class RequestGuard:
    """Middleware: what no view is to see. A body beyond the limit, one in another encoding than UTF-8, and a path with a NUL, which no text of PostgreSQL can
    hold.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if "\x00" in request.path:
            return _nothing_there(request)
        if _length(request) > settings.DATA_UPLOAD_MAX_MEMORY_SIZE:
            return _too_large(request)
        if not _is_utf_8(request):
            return problem_document(request, BAD_REQUEST, "A body is in UTF-8, as JSON is (RFC 8259); its Content-Type says otherwise.")
        return self.get_response(request)


def _is_utf_8(request: HttpRequest) -> bool:
    """Whatever Python calls a codec may stand in a Content-Type, and read by another one the same bytes may order something else."""
    return request.encoding is None or codecs.lookup(request.encoding).name == "utf-8"


def _length(request: HttpRequest) -> int:
    announced = request.META.get("CONTENT_LENGTH") or ""
    return int(announced) if announced.isdecimal() else 0
