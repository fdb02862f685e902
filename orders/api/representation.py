"""How an order is shown to the client that placed it. Internal flags of the operators are not part of it."""

from typing import Any

from django.db.models import QuerySet

from fulfillment.explanation import explain
from fulfillment.models import StepRecord, records_of
from orders.models import Order, Product, Status
from orders.timeline import EntryKind, TimelineEntry, history, sentence
from sideeffects import lookup
from sideeffects.models import Delivery


def whole(orders: QuerySet[Order]) -> QuerySet[Order]:
    """With everything that ``full`` shows, in a fixed number of queries. Without the plan, which is not shown: one that cannot be read hides nothing else."""
    return brief(orders).select_related("saga").defer("saga__plan").prefetch_related("saga__records", "facts", history())


def brief(orders: QuerySet[Order]) -> QuerySet[Order]:
    """With everything that ``summary`` shows."""
    return orders.prefetch_related("lines", "incidents")


def placed(order: Order) -> dict[str, Any]:
    """The answer to placing it: from columns that never change, so that a replay is the same to the letter."""
    return summary(order) | {"status": Status.PLACED, "attention": False}


def summary(order: Order) -> dict[str, Any]:
    return {
        "number": order.number,
        "reference": order.reference,
        "status": order.status,
        "attention": order.attention,
        "currency": order.currency,
        "total_minor": order.total_minor,
        "placed_at": order.placed_at,
        "lines": [
            {"sku": line.sku, "name": line.name, "quantity": line.quantity, "unit_price_minor": line.unit_price_minor}
            for line in order.lines.all()
        ],
    }


def full(order: Order) -> dict[str, Any]:
    return summary(order) | {
        "steps": [_step(record) for record in records_of(order)],
        "side_effects": _side_effects(order),
        "timeline": [_entry(entry) for entry in order.timeline.all()],
    }


def why(order: Order) -> dict[str, Any]:
    """Where it stands, since when, and what happens next. What people decide about, and the money at risk, is not a client's."""
    explanation = explain(order)
    return {
        "sentence": explanation.public,
        "since": explanation.since,
        "next_at": explanation.next_at,
        "blocked_on": explanation.public_blocked_on,
    }


def product(item: Product) -> dict[str, Any]:
    return {"sku": item.sku, "name": item.name, "price_minor": item.price_minor, "currency": item.currency}


def _step(record: StepRecord) -> dict[str, Any]:
    return {
        "name": record.name,
        "state": record.state,
        "tries": record.tries,
        "compensation_tries": record.compensation_tries,
        "error_code": record.error_code,
    }


def _side_effects(order: Order) -> list[dict[str, Any]] | None:
    """None: they cannot be read now, and say nothing about the order."""
    deliveries = lookup.side_effects([order])[order.pk]
    return None if deliveries is None else [_delivery(delivery) for delivery in deliveries]


def _delivery(delivery: Delivery) -> dict[str, Any]:
    return {"subscriber": delivery.subscriber, "state": delivery.state, "tries": delivery.tries}


# What people on our side decide, and what is at risk, is not the client's: it hears only that somebody is at it.
PUBLIC: dict[str, str] = {
    EntryKind.INCIDENT: "A person is looking at this",
    EntryKind.OPERATOR: "A person has decided something about this",
    EntryKind.LEFT: "This waits for a part of the shop that is being updated",
}


def _entry(entry: TimelineEntry) -> dict[str, Any]:
    return {
        "at": entry.at,
        "kind": entry.kind,
        "name": entry.name,
        "from": entry.from_state,
        "to": entry.to_state,
        "epoch": entry.epoch,
        "sentence": PUBLIC.get(entry.kind) or sentence(entry, inside=False),
    }
