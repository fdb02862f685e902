"""What browsers are told about our answers, beyond what Django's SecurityMiddleware says. The values stand in ``config/settings.py``."""

from dataclasses import replace

from csp.middleware import CSPMiddleware, PolicyParts
from django.conf import settings
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.urls import reverse
from django.utils.deprecation import MiddlewareMixin


class ContentSecurityPolicy(CSPMiddleware):
    """Middleware: the strict policy, and below /admin/ what unfold's pages also need."""

    def get_policy_parts(self, request: HttpRequest, response: HttpResponseBase, report_only: bool = False) -> PolicyParts:
        parts = super().get_policy_parts(request, response, report_only)
        if request.path.startswith(reverse("admin:index")):
            parts = replace(parts, update={**settings.ADMIN_ALSO_NEEDS, **(parts.update or {})})
        return parts


class PermissionsPolicy(MiddlewareMixin):
    """Middleware: features of the browser that no page of ours uses."""

    def process_response(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        response.headers.setdefault("Permissions-Policy", settings.PERMISSIONS_POLICY)
        return response
