"""A client that asks over plain HTTP is refused and not redirected: it has sent its token in the clear, and would do so with each request."""

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.utils.deprecation import MiddlewareMixin

from orders.api import problems


class PlainHttp(MiddlewareMixin):
    """Middleware: below /api/ there is HTTPS only, where the shop has it. Other pages are redirected by Django."""

    def process_request(self, request: HttpRequest) -> HttpResponse | None:
        if not settings.HTTPS or request.is_secure() or not problems.is_api(request):
            return None
        sentence = "This API answers over HTTPS only. If this request had a token, replace the token: it was sent in the clear."
        return problems.problem_document(request, problems.HTTPS_REQUIRED, sentence)
