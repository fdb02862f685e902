"""How an order is shown to the client that placed it: its fields, what each of them loads, and what can be expanded. Internal flags of the operators are not part
of it.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from typing import Any

from django.db import DataError, InternalError
from django.db.models import Exists, OuterRef, QuerySet

from fulfillment import recovery
from fulfillment.explanation import explain
from fulfillment.models import FINAL, Saga, StepRecord, StepState, records_of
from orders.database import snapshot
from orders.incidents import unresolved
from orders.models import Order, OrderLine, Product, Status
from orders.timeline import EntryKind, TimelineEntry, history, sentence
from sideeffects import lookup
from sideeffects.models import Delivery

Orders = QuerySet[Order]

# --- what has to be loaded, at most one statement each -----------------------------------------------------------------


def _lines(orders: Orders) -> Orders:
    return orders.prefetch_related("lines")


def _attention(orders: Orders) -> Orders:
    return orders.annotate(needs_a_person=Exists(unresolved(order=OuterRef("pk"))))


def _records(orders: Orders) -> Orders:
    """Without the plans: one that cannot be read hides nothing else."""
    return orders.select_related("saga").defer("saga__plan").prefetch_related("saga__records")


def _facts(orders: Orders) -> Orders:
    return orders.prefetch_related("facts")


def _history(orders: Orders) -> Orders:
    return orders.select_related("saga").defer("saga__plan").prefetch_related(history())


# --- fields ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Field:
    """``prepare``: reads for all orders of an answer what ``load`` cannot join, and what never changes: it is read behind the snapshot."""

    show: Callable[[Order], Any]
    load: Callable[[Orders], Orders] | None = None
    prepare: Callable[[Sequence[Order]], None] | None = None


def _shown_lines(lines: Iterable[OrderLine]) -> list[dict[str, Any]]:
    return [{"sku": line.sku, "name": line.name, "quantity": line.quantity, "unit_price_minor": line.unit_price_minor} for line in lines]


def _tracking_number(order: Order) -> str | None:
    """Of the parcel that is on its way. None: there is none, or it was cancelled."""
    done = [record.receipt for record in records_of(order) if record.state in (StepState.SUCCEEDED, StepState.DONE_BY_HAND)]
    return next((receipt["tracking"] for receipt in done if isinstance(receipt, dict) and receipt.get("tracking")), None)


def _read_plans(orders: Sequence[Order]) -> None:
    """In one statement. If one of them cannot be read, each is read when it is needed. Outside of a transaction, which such an error would spoil."""
    sagas = {order.saga.pk: order.saga for order in orders if order.status in Status.groups()["open"] and hasattr(order, "saga")}
    with suppress(InternalError, DataError):
        for pk, plan in Saga.objects.filter(pk__in=sagas).values_list("pk", "plan") if sagas else ():
            sagas[pk].plan = plan


def _was_to_be_cancelled(orders: Orders) -> Orders:
    asked = TimelineEntry.objects.filter(order=OuterRef("pk"), kind=EntryKind.CANCEL)
    return _records(orders).annotate(was_to_be_cancelled=Exists(asked))


def cancel(order: Order) -> str | None:
    """What has become of a cancel, in the words with which one is answered. None: nobody has asked for one, and nothing is undone anyway.

    The engine forgets a cancel that came too late. The history does not.
    """
    if order.status == Status.CANCELLED:
        return "cancelled"
    saga = getattr(order, "saga", None)
    if saga is not None and saga.state not in FINAL and (saga.cancel_requested_at or saga.failure):
        return recovery.cancel_outcome(saga)
    return "too_late" if vars(order)["was_to_be_cancelled"] else None


def allowed_actions(order: Order) -> list[str]:
    """What the client may ask for now, as the last words of the path: ``POST /orders/{number}/cancel``."""
    saga = getattr(order, "saga", None)
    return ["cancel"] if saga is not None and recovery.can_be_cancelled(saga) else []


UNNAMED = {"name": "", "line1": "", "country": ""}  # what is left out of the address of a customer who was forgotten

SUMMARY: Mapping[str, Field] = {
    "number": Field(lambda order: order.number),
    "reference": Field(lambda order: order.reference),
    "status": Field(lambda order: order.status),
    "failure_code": Field(lambda order: order.failure_code),
    "attention": Field(lambda order: vars(order)["needs_a_person"], _attention),
    "currency": Field(lambda order: order.currency),
    "total_minor": Field(lambda order: order.total_minor),
    "placed_at": Field(lambda order: order.placed_at),
    "updated_at": Field(lambda order: order.updated_at),
    "lines": Field(lambda order: _shown_lines(order.lines.all()), _lines),
}
DETAILS: Mapping[str, Field] = {
    "customer": Field(lambda order: {"email": order.customer_email, "name": order.customer_name}),
    "shipping_address": Field(lambda order: UNNAMED | order.shipping_address),
    "tracking_number": Field(_tracking_number, _records),
    "allowed_actions": Field(allowed_actions, _records, _read_plans),
    "cancel": Field(cancel, _was_to_be_cancelled, _read_plans),
}
FIELDS = {**SUMMARY, **DETAILS}

# --- what is shown only if it is asked for -----------------------------------------------------------------------------

Values = Mapping[int, Any]  # by the order's primary key


@dataclass(frozen=True)
class Expansion:
    """``show``: for all orders of an answer at once. ``in_lists``: it costs a list no more statements than one order."""

    show: Callable[[Sequence[Order]], Values]
    load: Callable[[Orders], Orders] | None = None
    in_lists: bool = False


def _of_each(show: Callable[[Order], Any]) -> Callable[[Sequence[Order]], Values]:
    return lambda orders: {order.pk: show(order) for order in orders}


def _steps(order: Order) -> list[dict[str, Any]]:
    return [_step(record) for record in records_of(order)]


def _step(record: StepRecord) -> dict[str, Any]:
    return {
        "name": record.name,
        "state": record.state,
        "tries": record.tries,
        "compensation_tries": record.compensation_tries,
        "error_code": record.error_code,
    }


def _deliveries(orders: Sequence[Order]) -> Values:
    """None: they cannot be read now, and say nothing about the order."""
    found = lookup.side_effects(orders)
    return {pk: None if deliveries is None else [_delivery(delivery) for delivery in deliveries] for pk, deliveries in found.items()}


def _delivery(delivery: Delivery) -> dict[str, Any]:
    return {"subscriber": delivery.subscriber, "state": delivery.state, "tries": delivery.tries}


def why(order: Order) -> dict[str, Any]:
    """Where it stands, since when, and what happens next. What people decide about, and the money at risk, is not a client's."""
    explanation = explain(order)
    return {
        "sentence": explanation.public,
        "since": explanation.since,
        "next_at": explanation.next_at,
        "blocked_on": explanation.public_blocked_on or None,
    }


# What people on our side decide, and what is at risk, is not the client's: it hears only that somebody is at it.
PUBLIC: dict[str, str] = {
    EntryKind.INCIDENT: "A person is looking at this",
    EntryKind.OPERATOR: "A person has decided something about this",
    EntryKind.LEFT: "This waits for a part of the shop that is being updated",
}


PRUNED = "pruned"  # kind of an entry that stands for those that were removed


def _timeline(order: Order) -> list[dict[str, Any]]:
    entries = [_entry(entry) for entry in order.timeline.all()]
    pruned_at = getattr(getattr(order, "saga", None), "history_pruned_at", None)
    if pruned_at is None:
        return entries
    removed = {"at": pruned_at, "kind": PRUNED, "name": "", "from": "", "to": "", "epoch": 0}
    removed["sentence"] = "What had happened until now was removed, except for what people have decided"
    return sorted([*entries, removed], key=lambda entry: entry["at"])


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


EXPANSIONS: Mapping[str, Expansion] = {
    "steps": Expansion(_of_each(_steps), _records, in_lists=True),
    "deliveries": Expansion(_deliveries, _facts, in_lists=True),
    "why": Expansion(_of_each(why)),
    "timeline": Expansion(_of_each(_timeline), _history),
}
EXPANDED_IN_LISTS = tuple(name for name, expansion in EXPANSIONS.items() if expansion.in_lists)

# --- answers -----------------------------------------------------------------------------------------------------------


IN_ONE_STATEMENT = (None, _lines, _attention)  # lines have a statement of their own, and never change


@dataclass(frozen=True)
class View:
    """Which parts of an order an answer has. Usage: ``load`` and ``expand`` within ``one_instant``, ``show`` behind it."""

    fields: Sequence[str]
    expanded: Sequence[str] = ()

    def one_instant(self) -> AbstractContextManager[None]:
        """A snapshot of the database, where an answer is read by several statements: they would else tell of several instants."""
        is_simple = not self.expanded and all(FIELDS[name].load in IN_ONE_STATEMENT for name in self.fields)
        return nullcontext() if is_simple else snapshot()

    def load(self, orders: Orders) -> Orders:
        """In a fixed number of statements, however many orders there are."""
        parts: Iterable[Field | Expansion] = (*(FIELDS[name] for name in self.fields), *(EXPANSIONS[name] for name in self.expanded))
        for load in dict.fromkeys(part.load for part in parts):
            orders = load(orders) if load is not None else orders
        return orders

    def expand(self, orders: Sequence[Order]) -> Mapping[str, Values]:
        return {name: EXPANSIONS[name].show(orders) for name in self.expanded}

    def show(self, orders: Sequence[Order], expanded: Mapping[str, Values]) -> list[dict[str, Any]]:
        for prepare in dict.fromkeys(FIELDS[name].prepare for name in self.fields):
            if prepare is not None:
                prepare(orders)
        return [
            {name: FIELDS[name].show(order) for name in self.fields} | {name: values[order.pk] for name, values in expanded.items()}
            for order in orders
        ]


def placed(order: Order, lines: Iterable[OrderLine]) -> dict[str, Any]:
    """The answer to placing it: from columns that never change, so that a replay is the same to the letter."""
    then = {"status": Status.PLACED, "failure_code": "", "attention": False, "updated_at": order.placed_at, "lines": _shown_lines(lines)}
    return {name: then[name] if name in then else field.show(order) for name, field in SUMMARY.items()}


def product(item: Product) -> dict[str, Any]:
    """``item``: with ``available``, as the catalogue's views read it."""
    shown = {name: getattr(item, name) for name in ("sku", "name", "price_minor", "currency")}
    return shown | {"available": vars(item)["available"]}
