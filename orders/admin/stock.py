"""Stock: what there is, and the movements by which a person changes it. The numbers themselves have no field."""

import uuid
from typing import Any, ClassVar

from django import forms
from django.contrib import admin, messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from unfold.admin import ModelAdmin
from unfold.decorators import display
from unfold.widgets import UnfoldAdminSelectWidget

from fulfillment import movements
from fulfillment.models import StockLevel, StockMovement
from fulfillment.movements import HasMoved, MovementRefused, Reason, Seen
from orders.admin.fields import PiecesField, TextField, send_back
from orders.admin.read_only import ReadOnlyAdmin
from orders.models import Product

SHOWN = 20  # movements on the page of a level; all of them have a list
HOW_MANY = "How many came in or went; of a count, how many there are, with those that orders under way hold."


def _as_shown(seen: Seen) -> str:
    return f"{seen.on_hand} {seen.last}"


def _as_seen(shown: str) -> Seen | None:
    parts = shown.split(" ")
    return Seen(*map(int, parts)) if len(parts) == 2 and all(part.isascii() and part.isdecimal() for part in parts) else None


class MovementForm(forms.ModelForm):
    """One movement of one level. ``since``: what the page has shown, for a count. ``request`` makes a form that is sent twice one movement; ``is_repeated``:
    it was.
    """

    reason = forms.ChoiceField(choices=[("", "---------"), *Reason.choices], widget=UnfoldAdminSelectWidget)
    pieces = PiecesField(help_text=HOW_MANY)
    note = TextField(
        max_length=200, required=False, help_text="A delivery note, an order's number, what has happened. No names of customers."
    )
    since = forms.CharField(widget=forms.HiddenInput, required=False)
    request = forms.UUIDField(widget=forms.HiddenInput, required=False)
    is_repeated = False

    class Meta:
        model = StockLevel
        fields: ClassVar[list[str]] = []

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        self.initial["since"] = _as_shown(movements.seen(self.instance))
        self.initial["request"] = uuid.uuid4()

    def clean(self) -> dict[str, Any]:
        """As it will be recorded: the level is locked from here on, until the request has recorded it."""
        cleaned = super().clean() or self.cleaned_data
        if self.errors:
            return cleaned
        cleaned |= {"reason": Reason(cleaned["reason"]), "since": _as_seen(cleaned["since"])}
        level = movements.lock(self.instance.sku)
        try:
            self.is_repeated = movements.earlier(level, cleaned["reason"], cleaned["pieces"], cleaned["request"]) is not None
            if not self.is_repeated:
                movements.change(level, cleaned["reason"], cleaned["pieces"], cleaned["since"])
        except HasMoved as moved:
            self.add_error("pieces", str(moved))
            self._count_again(level)
        except MovementRefused as refused:
            self.add_error("pieces", str(refused))
        return cleaned

    def _count_again(self, level: StockLevel) -> None:
        """From what is there now. What was counted is not offered again: it would be sent by pressing once more."""
        send_back(self, pieces="", since=_as_shown(movements.seen(level)))


class NewLevelForm(forms.ModelForm):
    class Meta:
        model = StockLevel
        fields: ClassVar = ["sku"]

    def clean_sku(self) -> str:
        sku = str(self.cleaned_data["sku"])
        if not Product.objects.filter(sku=sku).exists():
            raise forms.ValidationError("No product has this SKU.")
        return sku


@admin.register(StockLevel)
class StockLevelAdmin(ModelAdmin):
    """``reserved`` belongs to orders that are under way."""

    change_form_before_template = "orders/movement_form.html"
    change_form_outer_after_template = "orders/movements.html"
    list_display: ClassVar = ["sku", "on_hand", "reserved", "available"]
    search_fields: ClassVar = ["=sku"]

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **options: Any) -> Any:
        return super().get_form(request, obj, change, form=MovementForm if obj else NewLevelForm, **options)

    def get_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        if obj is None:
            return ["sku"]
        movement = ["reason", "pieces", "note"] if self.has_change_permission(request, obj) else []
        return ["sku", "on_hand", "reserved", "available", *movement]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        return ["sku", "on_hand", "reserved", "available"] if obj else []

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, obj: Any = None, **options: Any
    ) -> HttpResponse:
        newest = list(StockMovement.objects.filter(level=obj)[:SHOWN]) if obj else []
        return super().render_change_form(request, context | {"movements": newest}, *args, obj=obj, **options)

    def save_model(self, request: HttpRequest, obj: StockLevel, form: Any, change: bool) -> None:
        """Writes a movement, or an empty level; never a number that the page has read."""
        if not change:
            obj.on_hand = 0
            obj.save()
            return
        given = {name: form.cleaned_data[name] for name in ("note", "since", "request")}
        actor = request.user.get_username()
        form.movement = movements.record(obj.sku, form.cleaned_data["reason"], form.cleaned_data["pieces"], actor=actor, **given)
        message = "This form was recorded already, and is not recorded again" if form.is_repeated else "Recorded"
        self.message_user(request, f"{message}. {form.movement}.", messages.WARNING if form.is_repeated else messages.SUCCESS)

    def construct_change_message(self, request: HttpRequest, form: Any, formsets: Any, add: bool = False) -> Any:
        """The note stands in the movement alone."""
        return str(form.movement) if hasattr(form, "movement") else super().construct_change_message(request, form, formsets, add)

    def response_add(self, request: HttpRequest, obj: StockLevel, post_url_continue: str | None = None) -> HttpResponse:
        self.message_user(request, f"{obj.sku} has a stock level now. What has come in?", messages.SUCCESS)
        return redirect(_page(obj))

    def response_change(self, request: HttpRequest, obj: StockLevel) -> HttpResponse:
        return redirect(_page(obj))

    @display(description="Available")
    def available(self, level: StockLevel) -> int:
        return level.available


def _page(level: StockLevel) -> str:
    return reverse("admin:fulfillment_stocklevel_change", args=[level.pk])


@admin.register(StockMovement)
class StockMovementAdmin(ReadOnlyAdmin):
    """The history of stock: read by everybody who may, edited by nobody."""

    list_display: ClassVar = ["at", "sku", "reason", "pieces", "on_hand", "actor", "note"]
    list_filter: ClassVar = ["reason"]
    list_select_related: ClassVar = ["level"]
    search_fields: ClassVar = ["=level__sku", "note"]
    list_per_page = 25
    show_full_result_count = False
    fields: ClassVar = ["at", "sku", "reason", "pieces", "on_hand", "actor", "note"]

    @display(description="SKU", ordering="level__sku")
    def sku(self, movement: StockMovement) -> str:
        return movement.level.sku
