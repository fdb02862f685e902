"""The admin's site: it opens to an operator who has passed the second factor, where the shop wants one."""

from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.urls import reverse
from django.utils.decorators import method_decorator
from django.views.decorators.cache import never_cache
from unfold.sites import UnfoldAdminSite

from orders.login.mistakes import View, answered
from orders.login.second_step import Enrolment, SecondStep
from orders.overload import say_whether_orders_are_refused
from orders.second_factor import is_enrolled


class OperatorsSite(UnfoldAdminSite):
    login_template = "orders/login.html"

    def has_permission(self, request: HttpRequest) -> bool:
        return self.knows_the_password_of(request) and (_leaves(request) or not self.waits_for_the_second_factor_of(request))

    def knows_the_password_of(self, request: HttpRequest) -> bool:
        return bool(super().has_permission(request))

    def waits_for_the_second_factor_of(self, request: Any) -> bool:
        return settings.OPERATORS_SECOND_FACTOR and not request.user.is_verified()

    def admin_view(self, view: View, cacheable: bool = False) -> View:
        return super().admin_view(answered(view), cacheable)

    def index(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        say_whether_orders_are_refused(request)
        return super().index(request, extra_context)

    @method_decorator(never_cache)
    def login(self, request: Any, extra_context: dict[str, Any] | None = None) -> HttpResponseBase:
        """Two steps: the password, then a code. In between a session stands that opens nothing."""
        if self.knows_the_password_of(request) and self.waits_for_the_second_factor_of(request):
            step = SecondStep if is_enrolled(request.user) else Enrolment
            return step.as_view(site=self)(request)
        return super().login(request, extra_context)


def _leaves(request: HttpRequest) -> bool:
    """Whoever waits for the second factor may log out: without permission Django answers that with the index, and ends no session."""
    return request.path == reverse("admin:logout")
