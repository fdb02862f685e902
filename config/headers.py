"""What browsers are told about our pages, beyond what Django's SecurityMiddleware says of every answer. The values stand in ``config/settings.py``.

A document of the API has neither policy. No browser makes a page of it: its type is said, and ``nosniff`` forbids to guess another.
"""

from dataclasses import replace

from csp.middleware import CSPMiddleware, PolicyParts
from django.conf import settings
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.urls import reverse
from django.utils.deprecation import MiddlewareMixin


class ContentSecurityPolicy(CSPMiddleware):
    """Middleware: the strict policy, and below /admin/ what unfold's pages also need."""

    def process_response(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        return super().process_response(request, response) if _is_page(response) else response

    def get_policy_parts(self, request: HttpRequest, response: HttpResponseBase, report_only: bool = False) -> PolicyParts:
        parts = super().get_policy_parts(request, response, report_only)
        if request.path.startswith(reverse("admin:index")):
            parts = replace(parts, update={**settings.ADMIN_ALSO_NEEDS, **(parts.update or {})})
        return parts


class PermissionsPolicy(MiddlewareMixin):
    """Middleware: features of the browser that no page of ours uses."""

    def process_response(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        if _is_page(response):
            response.headers.setdefault("Permissions-Policy", settings.PERMISSIONS_POLICY)
        return response


def _is_page(response: HttpResponseBase) -> bool:
    return response.headers.get("Content-Type", "").startswith("text/html")
