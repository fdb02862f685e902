"""Probes of the web process: ``/healthz`` (restart me?), ``/readyz`` (send me customers?), ``/status`` (does anything need a person?): docs/monitoring.md."""

import ipaddress
from collections.abc import Callable
from http import HTTPStatus

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.http.response import HttpResponseBase
from drf_canon.errors import METHOD_NOT_ALLOWED

from config import status
from orders import readiness
from orders.api.problems import problem_document
from orders.findings import FAIL
from orders.single_flight import SingleFlight

FORWARDED = ("Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-IP", "Via")  # a proxy has sent it on
READY_WITHIN_S, STATUS_WITHIN_S = 1.5, 2.0

_why_not_ready = SingleFlight(readiness.why_not, READY_WITHIN_S)
_examination = status.Examination(STATUS_WITHIN_S)


def healthz(_: HttpRequest) -> JsonResponse:
    """The process lives. Asks nobody."""
    return JsonResponse({"status": "ok"})


def readyz(_: HttpRequest) -> JsonResponse:
    """200: this process can take orders. 503: it cannot, and why."""
    try:
        why = _why_not_ready.answer()
    except TimeoutError:
        why = f"the database has not answered within {READY_WITHIN_S:g} s"
    if not why:
        return JsonResponse({"status": "ready"})
    return JsonResponse({"status": "not ready", "why": why}, status=503, headers={"Retry-After": "1"})


def status_page(request: HttpRequest) -> JsonResponse:
    """Everything else. 503 if anything fails, so that a monitor that reads nothing but codes hears it; never for an orchestrator."""
    report = _examination.report(in_detail=_asks_on_this_machine(request))
    code = HTTPStatus.SERVICE_UNAVAILABLE if report["level"] == FAIL else HTTPStatus.OK
    return JsonResponse(report, status=code, json_dumps_params={"ensure_ascii": False})


def _asks_on_this_machine(request: HttpRequest) -> bool:
    """And not through a proxy on it."""
    try:
        address = ipaddress.ip_address(request.META.get("REMOTE_ADDR", ""))
    except ValueError:  # it has none: what is before a Unix socket is a proxy
        return False
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback and not any(header in request.headers for header in FORWARDED)


def _not_allowed(request: HttpRequest) -> HttpResponse:
    problem = problem_document(request, METHOD_NOT_ALLOWED, "A probe is asked by GET or HEAD.")
    problem.headers["Allow"] = "GET, HEAD"
    return problem


ANSWERS: dict[str, Callable[[HttpRequest], JsonResponse]] = {"/healthz": healthz, "/readyz": readyz, "/status": status_page}


class HealthPages:
    """Middleware: probes come by IP address, with a Host header that ALLOWED_HOSTS need not name, and are answered before it is checked."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        answer = ANSWERS.get(request.path_info.rstrip("/"))
        if answer is None:
            return self.get_response(request)
        if request.method not in ("GET", "HEAD"):
            return _not_allowed(request)
        response = answer(request)
        response.headers["Cache-Control"] = "no-store"
        if request.method == "HEAD":
            response.content = b""
        return response
