"""API clients: who they are, what they have chosen, and their tokens, which are made, rotated and revoked here. A token is shown once, on the page that makes it."""

from typing import Any, ClassVar

from django import forms
from django.contrib import admin, messages
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from unfold.admin import ModelAdmin
from unfold.decorators import display
from unfold.widgets import UnfoldAdminCheckboxSelectMultipleWidget, UnfoldAdminRadioSelectWidget

from orders import client_tokens, operators, refusals
from orders.admin.fields import TextField, WholeNumberField
from orders.client_tokens import MOST_DAYS, NEVER, OVERLAP_H, Issued, Scope
from orders.models import ClientSettings
from orders.operators import NAME_LENGTH, Refused

ALL_OF_THEM = "all"


class DaysField(WholeNumberField):
    unit, most = "days", MOST_DAYS


class HoursField(WholeNumberField):
    unit, most = "hours", MOST_DAYS * 24


class OfANewToken(forms.Form):
    """What every new token is asked for."""

    scopes = forms.MultipleChoiceField(
        choices=[(scope.value, f"{scope.value}: {scope.label}") for scope in Scope],
        initial=Scope.values,
        widget=UnfoldAdminCheckboxSelectMultipleWidget,
        help_text="What the token may do. It never changes: a rotation makes a token that may do something else.",
    )
    lifetime_days = DaysField(initial=NEVER, label="Lifetime in days", help_text="0: the token works until it is revoked.")


class RotationForm(OfANewToken):
    overlap_hours = HoursField(initial=OVERLAP_H, help_text="How long the older tokens go on working, unless they end earlier.")


class NewClientForm(OfANewToken, forms.ModelForm):
    name = TextField(max_length=NAME_LENGTH, help_text="It never changes, and stands in the history of the client's orders.")

    class Meta:
        model = ClientSettings
        fields: ClassVar = ["unique_references"]

    def clean_name(self) -> str:
        try:
            return client_tokens.unsaved(self.cleaned_data["name"]).username
        except Refused as refused:
            raise forms.ValidationError(str(refused)) from None


class RevocationForm(forms.Form):
    def __init__(self, tokens: list[Any], *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        choices = [(token.prefix, f"{token.prefix}: {', '.join(token.scopes)}") for token in tokens]
        self.fields["which"] = forms.ChoiceField(
            choices=[*choices, (ALL_OF_THEM, "All tokens of this client")],
            widget=UnfoldAdminRadioSelectWidget,
            help_text="It opens nothing from now on. Orders that were placed with it go on.",
        )


@admin.register(ClientSettings)
class ClientSettingsAdmin(ModelAdmin):
    """What is chosen here is in force with the next order that is placed."""

    list_display: ClassVar = ["client", "shown_tokens", "shown_last_use", "unique_references"]
    search_fields: ClassVar = ["=client__username"]
    list_select_related: ClassVar = ["client"]
    change_form_outer_after_template = "orders/client_tokens.html"

    def get_queryset(self, request: HttpRequest) -> QuerySet[ClientSettings]:
        return super().get_queryset(request).prefetch_related(client_tokens.prefetched("client__client_tokens"))

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **options: Any) -> Any:
        return super().get_form(request, obj, change, **(options if obj else options | {"form": NewClientForm}))

    def get_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        return ["client", "unique_references"] if obj else ["name", "scopes", "lifetime_days", "unique_references"]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        return ["client"] if obj else []

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Orders keep their client for ever. Whoever is to place no more has its tokens revoked."""
        return False

    @display(description="Tokens that work")
    def shown_tokens(self, chosen: ClientSettings) -> str:
        return ", ".join(token.prefix for token in _working(chosen.client)) or "none"

    @display(description="Last used")
    def shown_last_use(self, chosen: ClientSettings) -> Any:
        uses = [token.last_used_at for token in chosen.client.client_tokens.all() if token.last_used_at]
        return max(uses, default="never")

    # --- a new client ---

    def save_model(self, request: HttpRequest, obj: ClientSettings, form: Any, change: bool) -> None:
        if change:
            super().save_model(request, obj, form, change)
            return
        given = {name: form.cleaned_data[name] for name in ("name", "scopes", "lifetime_days", "unique_references")}
        form.issued = client_tokens.add(**given)
        obj.client = form.issued.token.client
        request.issued = form.issued  # type: ignore[attr-defined]  # for response_add, which is not given the form

    def response_add(self, request: Any, obj: ClientSettings, post_url_continue: str | None = None) -> HttpResponse:
        return self._shown_once(request, obj, request.issued)

    # --- its tokens ---

    def get_urls(self) -> list[URLPattern]:
        wrapped = self.admin_site.admin_view
        return [
            path("<int:pk>/rotate/", wrapped(self.rotate), name="orders_clientsettings_rotate"),
            path("<int:pk>/revoke/", wrapped(self.revoke), name="orders_clientsettings_revoke"),
            *super().get_urls(),
        ]

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, obj: Any = None, **options: Any
    ) -> HttpResponse:
        shown: dict[str, Any] = {}
        if obj:
            shown["tokens"] = [(token, client_tokens.why_not(token)) for token in obj.client.client_tokens.all()]
            shown |= {f"may_{verb}": request.user.has_perm(f"orders.{verb}_clienttoken") for verb in ("rotate", "revoke")}
        return super().render_change_form(request, context | shown, *args, obj=obj, **options)

    def rotate(self, request: HttpRequest, pk: int) -> HttpResponse:
        chosen = self._allowed(request, pk, "rotate")
        newest = chosen.client.client_tokens.first()
        as_before = {"scopes": newest.scopes, "lifetime_days": newest.lifetime_days} if newest else {}
        form = RotationForm(request.POST or None, initial=as_before)
        if not form.is_valid():
            return self._asked(request, chosen, form, "Rotate the tokens", "Make a new token")
        given = form.cleaned_data
        issued = client_tokens.rotate(chosen.client.username, given["overlap_hours"], given["scopes"], given["lifetime_days"])
        self.log_change(
            request, chosen, f"Rotated: {issued.token.prefix} is new, older tokens work for {given['overlap_hours']} h at most."
        )
        return self._shown_once(request, chosen, issued)

    def revoke(self, request: HttpRequest, pk: int) -> HttpResponse:
        chosen = self._allowed(request, pk, "revoke")
        form = RevocationForm(_working(chosen.client), request.POST or None)
        if not form.is_valid():
            return self._asked(request, chosen, form, "Revoke tokens", "Revoke")
        which = form.cleaned_data["which"]
        try:
            name = chosen.client.username
            prefixes = client_tokens.revoke_all(name) if which == ALL_OF_THEM else client_tokens.revoke(which)
        except Refused as refused:
            self.message_user(request, str(refused), messages.WARNING)
        else:
            self.log_change(request, chosen, f"Revoked: {', '.join(prefixes)}.")
            self.message_user(request, f"Revoked: {', '.join(prefixes)}. From now on it opens nothing.", messages.SUCCESS)
        return redirect(_page(chosen))

    def _allowed(self, request: HttpRequest, pk: int, verb: str) -> ClientSettings:
        """Raises PermissionDenied; whoever has posted all the same stands in the audit log."""
        chosen = get_object_or_404(self.get_queryset(request), pk=pk)
        permission = f"orders.{verb}_clienttoken"
        if request.user.has_perm(permission):
            return chosen
        if request.method == "POST":
            assert isinstance(request.user, User)
            actor = operators.of_user(request.user)
            try:
                with refusals.recorded(actor, f"{verb}_clienttoken", chosen.client.username):
                    actor.must_have(permission, f"{verb} the tokens of an API client")
            except Refused as refused:
                raise PermissionDenied(str(refused)) from None
        raise PermissionDenied

    def _asked(self, request: HttpRequest, chosen: ClientSettings, form: forms.Form, title: str, button: str) -> HttpResponse:
        context = self._context(request, chosen, f"{title} of {chosen.client}") | {"form": form, "button": button}
        return TemplateResponse(request, "orders/client_action.html", context)

    def _shown_once(self, request: HttpRequest, chosen: ClientSettings, issued: Issued) -> HttpResponse:
        """No redirect: the token would have to be kept for the next page."""
        context = self._context(request, chosen, f"A new token of {chosen.client}") | {"issued": issued}
        return TemplateResponse(request, "orders/new_token.html", context)

    def _context(self, request: HttpRequest, chosen: ClientSettings, title: str) -> dict[str, Any]:
        return self.admin_site.each_context(request) | {
            "opts": self.opts,
            "original": chosen,
            "title": title,
            "page_of_client": _page(chosen),
        }


def _working(client: Any) -> list[Any]:
    return [token for token in client.client_tokens.all() if not client_tokens.why_not(token)]


def _page(chosen: ClientSettings) -> str:
    return reverse("admin:orders_clientsettings_change", args=[chosen.pk])
