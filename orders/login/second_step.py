"""The pages after the password: enrol an app, or give a code of it."""

from typing import Any

import django_otp
from django import forms
from django.contrib.admin import AdminSite
from django.contrib.auth.views import RedirectURLMixin
from django.http import HttpResponse
from django.shortcuts import redirect
from django.views.generic import FormView
from django_otp.models import Device
from unfold.widgets import BASE_INPUT_CLASSES

from orders import second_factor

WRONG = "This code opens nothing, or it was used before. After wrong codes the next one has to wait: a second at first, then twice as long each time."


class CodeForm(forms.Form):
    code = forms.CharField(
        max_length=32,
        widget=forms.TextInput(
            {"autocomplete": "one-time-code", "autocapitalize": "none", "autofocus": "", "class": " ".join(BASE_INPUT_CLASSES)}
        ),
    )


class SecondStep(RedirectURLMixin, FormView):
    template_name = "orders/second_factor.html"
    form_class = CodeForm
    next_page = "admin:index"
    site: AdminSite = None  # type: ignore[assignment]  # given by the site itself

    def get_context_data(self, **more: Any) -> dict[str, Any]:
        context = self.site.each_context(self.request) | {"title": "Second factor", "next": self.get_redirect_url()}
        return super().get_context_data(**context, **more)

    def form_valid(self, form: CodeForm) -> HttpResponse:
        device = second_factor.opened_by(self.request.user, form.cleaned_data["code"])  # type: ignore[arg-type]  # the site has asked
        return self.enter(device) if device else self.refused(form)

    def enter(self, device: Device) -> HttpResponse:
        self.verified(device)
        return redirect(self.get_success_url())

    def verified(self, device: Device) -> None:
        """From now on this session opens the admin. Whoever knew its key before does not know the new one."""
        self.request.session.cycle_key()
        django_otp.login(self.request, device)

    def refused(self, form: CodeForm) -> HttpResponse:
        form.add_error("code", WRONG)
        return self.form_invalid(form)


class Enrolment(SecondStep):
    template_name = "orders/enrol_second_factor.html"

    def get_context_data(self, **more: Any) -> dict[str, Any]:
        app = second_factor.app_to_enrol(self.request.user)  # type: ignore[arg-type]
        return super().get_context_data(secret=second_factor.secret_of(app), address=app.config_url, **more)

    def form_valid(self, form: CodeForm) -> HttpResponse:
        enrolled = second_factor.enrol(self.request.user, form.cleaned_data["code"])  # type: ignore[arg-type]
        if enrolled is None:
            return self.refused(form)
        device, codes = enrolled
        self.verified(device)
        context = super().get_context_data(codes=codes, go_on=self.get_success_url())
        return self.response_class(self.request, "orders/recovery_codes.html", context)
