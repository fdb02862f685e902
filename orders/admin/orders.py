"""Orders: a list that tells states apart at a glance, and a page that says why an order is where it is."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any, ClassVar

from django.contrib import admin, messages
from django.contrib.auth.models import User
from django.db.models import Exists, OuterRef, QuerySet, prefetch_related_objects
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.urls import reverse
from django.utils.formats import date_format
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from unfold.decorators import action, display

from fulfillment import recovery
from fulfillment.models import Saga, StepRecord, records_of
from orders import operators, refusals
from orders.admin.badges import FAILED, attention_badge, icon_of, status_badge
from orders.admin.order_page import failed_here, page_of
from orders.admin.read_only import ReadOnlyAdmin
from orders.incidents import unresolved
from orders.models import Order, Status
from orders.money import money
from orders.operators import Actor
from orders.overload import say_whether_orders_are_refused
from orders.timeline import history
from sideeffects import lookup
from sideeffects.models import DeliveryState

RETRIED = {
    "due": (messages.SUCCESS, "The next try is due now; the sweep starts it within a second, under the same key."),
    "held": (
        messages.WARNING,
        "Its provider does not answer: it waits, and goes on by itself when the provider is back. Nothing was done.",
    ),
    "nothing_waits": (messages.WARNING, "Nothing is waiting for a retry. Nothing was done."),
}
CANCELLED = {
    "accepted": (messages.SUCCESS, "The cancel is recorded. It is honoured at the next step border; what was done is undone."),
    "pending": (
        messages.SUCCESS,
        "The cancel is recorded. Shipping is under way, or waits for a decision, and decides: if it succeeds, it is too late.",
    ),
    "undoing": (messages.WARNING, "The order has failed and is being undone already. Nothing was done."),
    "unreadable": (messages.ERROR, "No process can work on this order now, so nothing was recorded. See why, below."),
    "too_late": (messages.WARNING, "The parcel has left, or the order has ended: too late to cancel. Nothing was done."),
}


class ByStatus(admin.ChoicesFieldListFilter):
    """On an index, whatever the status (``Status.condition``)."""

    def queryset(self, request: HttpRequest, queryset: QuerySet[Order]) -> QuerySet[Order]:
        found: Any = super().queryset(request, queryset)
        chosen = (self.lookup_val or [""])[0]
        wanted: QuerySet[Order] = found.filter(Status(chosen).condition) if chosen in Status.values else found
        return wanted


class NeedsAttention(admin.SimpleListFilter):
    """Orders about which a person must decide."""

    title = "needs attention"
    parameter_name = "attention"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("yes", "Needs attention"), ("no", "Needs none")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Order]) -> QuerySet[Order]:
        is_open = Exists(unresolved(order=OuterRef("pk")))
        wanted = {"yes": is_open, "no": ~is_open}.get(self.value() or "")
        return queryset if wanted is None else queryset.filter(wanted)


@admin.register(Order)
class OrderAdmin(ReadOnlyAdmin):
    """Read-only for everyone, superusers included: states are moved by the engine alone."""

    list_display: ClassVar = [
        "shown_number",
        "shown_placed_at",
        "customer_name",
        "shown_status",
        "shown_steps",
        "shown_side_effects",
        "shown_total",
    ]
    list_filter: ClassVar = [("status", ByStatus), NeedsAttention]
    search_fields: ClassVar = ["=number", "=customer_email"]
    search_help_text = "Order number (ORD-…) or e-mail address, exactly"
    list_per_page = 25
    show_full_result_count = False
    list_fullwidth = True
    ordering: ClassVar = ["-id"]
    actions_detail: ClassVar = ["retry_now", "cancel"]
    change_form_outer_before_template = "orders/order_page.html"
    fields: ClassVar = ["reference", "client", "correlation_id", "idempotency_key"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Order]:
        orders = super().get_queryset(request).select_related("saga", "client").defer("saga__plan")
        return orders.prefetch_related("saga__records", "facts", "incidents")

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return bool(request.user.has_perm("orders.view_order"))

    def has_retry_now_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        return self._may(request, "retry_now", "fulfillment.decide_retry_now", object_id)

    def has_cancel_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        return self._may(request, "cancel", "orders.cancel_order", object_id)

    def _may(self, request: HttpRequest, verb: str, permission: str, object_id: Any) -> bool:
        """Whoever lacks it sees no button; whoever posts all the same is refused, and that is in the audit log."""
        if request.user.has_perm(permission):
            return True
        if request.method == "POST" and object_id is not None:
            actor, number = _actor(request), Order.objects.filter(pk=object_id).values_list("number", flat=True).first()
            with suppress(operators.Refused), refusals.recorded(actor, verb, number or ""):
                actor.must_have(permission, verb.replace("_", " "))
        return False

    # --- the list ---

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        say_whether_orders_are_refused(request)
        return super().changelist_view(request, extra_context)

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        """With the side effects of all the orders of its page, read apart."""
        changelist = super().get_changelist_instance(request)
        found = lookup.side_effects(changelist.result_list)
        for order in changelist.result_list:
            order.side_effects = found[order.pk]
        return changelist

    @display(description="Number", ordering="number")
    def shown_number(self, order: Order) -> SafeString:
        return format_html('<span style="white-space:nowrap">{}</span>', order.number)

    @display(description="Placed", ordering="id")
    def shown_placed_at(self, order: Order) -> SafeString:
        instant = date_format(order.placed_at, "DATETIME_FORMAT")
        return format_html('<time datetime="{}" style="white-space:nowrap">{}</time>', order.placed_at.isoformat(), instant)

    @display(description="Status", ordering="status")
    def shown_status(self, order: Order) -> SafeString:
        return format_html("{} {}", status_badge(order.status), attention_badge()) if order.attention else status_badge(order.status)

    @display(description="Steps")
    def shown_steps(self, order: Order) -> SafeString:
        parts = [_step_in_the_list(record, order) for record in records_of(order)]
        return format_html_join("  ", '<span title="{}" style="white-space:nowrap">{} {}</span>', parts)

    @display(description="Side effects")
    def shown_side_effects(self, order: Any) -> str:
        deliveries = order.side_effects
        if deliveries is None:
            return "cannot be read"
        if not deliveries:
            return "–"
        done = sum(delivery.state == DeliveryState.DELIVERED for delivery in deliveries)
        dead = [delivery.subscriber for delivery in deliveries if delivery.state == DeliveryState.DEAD]
        return f"{done}/{len(deliveries)}" + (f" ✖ {', '.join(dead)} dead" if dead else "")

    @display(description="Total", ordering="total_minor")
    def shown_total(self, order: Order) -> str:
        return money(order.total_minor, order.currency)

    # --- the page ---

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Order | None:
        order: Order | None = super().get_object(request, object_id, from_field)
        if order is not None:
            prefetch_related_objects([order], "lines", "ledger", history())
        return order

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, obj: Any = None, **options: Any
    ) -> HttpResponse:
        return super().render_change_form(request, context | {"page": page_of(obj), "show_history": False}, *args, obj=obj, **options)

    # --- the two buttons: a dialog asks first, because without one a plain link would act ---

    @action(
        description="Retry now",
        url_path="retry-now",
        icon="replay",
        permissions=["retry_now"],
        dialog={
            "title": "Retry now?",
            "description": "If a step waits for its next try, that try starts at once, under the same key: nothing can happen twice.",
            "form_submit_text": "Retry now",
        },
    )
    def retry_now(self, request: HttpRequest, form: Any, object_id: int) -> HttpResponse:
        return self._act(request, object_id, recovery.retry_now, RETRIED)

    @action(
        description="Cancel order",
        url_path="cancel",
        icon="cancel",
        permissions=["cancel"],
        dialog={
            "title": "Cancel this order?",
            "description": "A running call is finished first. Then what was done is undone in reverse order: stock released, money refunded.",
            "form_submit_text": "Cancel the order",
        },
    )
    def cancel(self, request: HttpRequest, form: Any, object_id: int) -> HttpResponse:
        return self._act(request, object_id, lambda number, actor: recovery.cancel(number, actor.name), CANCELLED)

    def _act(
        self, request: HttpRequest, object_id: int, verb: Callable[[str, Actor], str], replies: dict[str, tuple[int, str]]
    ) -> HttpResponse:
        order = get_object_or_404(Order, pk=object_id)
        try:
            level, text = replies[verb(order.number, _actor(request))]
        except Saga.DoesNotExist:
            level, text = messages.ERROR, "This order has no saga: it was not placed through the shop. Nothing was done."
        messages.add_message(request, level, f"{order.number}: {text}")
        page = reverse("admin:orders_order_change", args=[object_id])
        if "HX-Request" in request.headers:  # the dialog posts by script, which would follow a redirect inside the dialog
            return HttpResponse(headers={"HX-Redirect": page})
        return redirect(page)


def _actor(request: HttpRequest) -> Actor:
    """Whom the session has authenticated: the admin lets nobody else in."""
    assert isinstance(request.user, User)
    return operators.of_user(request.user)


def _step_in_the_list(record: StepRecord, order: Order) -> tuple[str, str, str]:
    """(title, icon, name)"""
    state = record.get_state_display()
    if failed_here(record, order):
        return f"Failed; {state.lower()}", FAILED, record.name
    return state, icon_of(record.state), record.name
