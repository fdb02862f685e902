"""What the page of an order shows: why it is where it is, its steps, its money, its side effects and its history."""

from typing import Any

from django.utils.html import format_html
from django.utils.safestring import SafeString

from fulfillment.explanation import explain
from fulfillment.models import StepRecord, records_of
from orders.admin import flower
from orders.admin.badges import attention_badge, failed_badge, state_badge, status_badge
from orders.models import Order
from orders.money import money
from orders.refusals import RefusedAttempt
from orders.timeline import TimelineEntry, sentence
from sideeffects import lookup
from sideeffects.models import Delivery, DeliveryState


def page_of(order: Order) -> dict[str, Any]:
    """Everything that the order page shows, from rows that are already read."""
    entries = list(order.timeline.all())
    deliveries = lookup.side_effects([order])[order.pk]
    explanation = explain(order)
    lines = [(line, money(line.unit_price_minor, order.currency), money(line.total_minor, order.currency)) for line in order.lines.all()]
    return {
        "order": order,
        "badge": status_badge(order.status),
        "attention": attention_badge() if order.attention else "",
        "total": money(order.total_minor, order.currency),
        "why": explanation,
        "choices": [(choice, choice.command(order.number, explanation.version)) for choice in explanation.choices],
        "ledger": [(entry, money(entry.amount_minor, order.currency)) for entry in order.ledger.all()],
        "address": _address_line(order.shipping_address),
        "lines": lines,
        "steps": [_step(record, entries, order) for record in records_of(order)],
        "side_effects": [(delivery, _delivery_badge(delivery), flower.published(delivery, order)) for delivery in deliveries or []],
        "side_effects_cannot_be_read": deliveries is None,
        "left_to_do": _left_to_do(deliveries),
        "timeline": [(entry, sentence(entry)) for entry in entries],
        "refused": list(RefusedAttempt.objects.filter(subject=order.number).order_by("id")),
        "epoch": getattr(getattr(order, "saga", None), "epoch", 0),
        "in_flower": flower.everything_of(order),
    }


def failed_here(record: StepRecord, order: Order) -> bool:
    return bool(order.saga.failed_at == record.name)


def _left_to_do(deliveries: list[Delivery] | None) -> str:
    """Once the saga is closed."""
    if deliveries is None:
        return "The order is done; its side effects cannot be read now."
    if dead := [delivery.subscriber for delivery in deliveries if delivery.state == DeliveryState.DEAD]:
        return f"The order is done, but dead letters wait for a person: {', '.join(dead)}."
    if any(delivery.state != DeliveryState.DELIVERED for delivery in deliveries):
        return "The order is done; its side effects are on their way."
    return "Nothing is left to do."


def _address_line(address: dict[str, str]) -> str:
    """On one line, of what the country has."""
    town = " ".join(address[name] for name in ("postal_code", "city") if address.get(name))
    return ", ".join(
        part for part in (address.get("line1"), address.get("line2"), town, address.get("state"), address.get("country")) if part
    )


def _step(record: StepRecord, entries: list[TimelineEntry], order: Order) -> dict[str, Any]:
    state = state_badge(record.state, record.get_state_display())
    fields = record.receipt if isinstance(record.receipt, dict) else {"unreadable:": record.receipt} if record.receipt else {}
    receipt = ", ".join(f"{name} {value}" for name, value in fields.items())
    return {
        "record": record,
        "badge": format_html("{} {}", failed_badge(), state) if failed_here(record, order) else state,
        "receipt": receipt,
        "links": flower.runs(entries, order, record.name),
    }


def _delivery_badge(delivery: Delivery) -> SafeString:
    return state_badge(delivery.state, delivery.get_state_display()) if delivery.state else format_html("–")
