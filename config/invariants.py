"""What must hold once everything is at rest (docs/semantics.md, invariants), checked on the journal, the stock and the provider's own ledger.

Orders whose saga is still open are counted, not judged: their money may be on its way.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx
from django.db.models import Prefetch, Sum

from fulfillment.models import Reservation, Saga, SagaState, StockLevel
from orders.models import Order, Status
from orders.timeline import Kind, TimelineEntry
from sideeffects import registry
from sideeffects.models import Delivery, Event

Ledger = dict[str, list[dict[str, Any]]]


@dataclass(frozen=True)
class Finding:
    """One thing that is off: which order (or SKU), which invariant, what was found."""

    subject: str
    invariant: str
    found: str


@dataclass
class Report:
    """``judged`` orders were at rest, ``open`` ones were not; ``findings`` is empty when all is well."""

    judged: int = 0
    open: int = 0
    findings: list[Finding] = field(default_factory=list)


def read_ledger(sandbox_url: str) -> Ledger:
    """The provider's effects by order number. Raises httpx.HTTPError if the provider does not answer."""
    entries = httpx.get(f"{sandbox_url}/ledger", timeout=30).raise_for_status().json()
    by_order: Ledger = defaultdict(list)
    for entry in entries:
        by_order[entry["order"]].append(entry)
    return by_order


def examine(ledger: Ledger) -> Report:
    """Judge every order at rest, and the stock."""
    report = Report()
    history = Prefetch("timeline", TimelineEntry.objects.order_by("id"))
    orders = Order.objects.select_related("saga").prefetch_related("lines", "saga__records", history).order_by("id")
    for order in orders.iterator(chunk_size=500):
        if not SagaState(order.saga.state).is_final:
            report.open += 1
            continue
        report.judged += 1
        effects = ledger.get(order.number, [])
        report.findings += [
            Finding(order.number, rule.__name__.lstrip("_"), found) for rule in ORDER_RULES for found in rule(order, effects)
        ]
    unknown = set(ledger) - set(Order.objects.filter(number__in=list(ledger)).values_list("number", flat=True))
    report.findings += [
        Finding(number, "ledger_names_an_order", "the provider acted for an order that does not exist") for number in sorted(unknown)
    ]
    report.findings += list(_stock_adds_up())
    return report


def _money_adds_up(order: Order, effects: list[dict[str, Any]]) -> Iterator[str]:
    captured, refunded = _sum(effects, "charge"), _sum(effects, "refund")
    due = order.total_minor if order.status == Status.FULFILLED else 0
    if captured - refunded != due:
        yield f"captured {captured} − refunded {refunded}, due {due}"
    if order.status == Status.FULFILLED and refunded:
        yield f"fulfilled, yet {refunded} refunded"


def _one_effect_per_key(order: Order, effects: list[dict[str, Any]]) -> Iterator[str]:
    for operation in ("charge", "label"):
        keys = [entry["key"] for entry in effects if entry["operation"] == operation]
        for key in sorted({key for key in keys if keys.count(key) > 1}):
            yield f"{keys.count(key)} times {operation} under {key}"


def _one_label_or_none(order: Order, effects: list[dict[str, Any]]) -> Iterator[str]:
    live = _count(effects, "label") - _count(effects, "cancel_label")
    due = int(order.status == Status.FULFILLED)
    if live != due:
        yield f"{live} live labels, due {due}"


def _status_agrees_with_saga(order: Order, effects: list[dict[str, Any]]) -> Iterator[str]:
    due = Status.FULFILLED if order.saga.state == SagaState.COMPLETED else order.saga.failure
    if order.status != due:
        yield f"{order.status}, the saga says {due}"


def _fact_told_once(order: Order, effects: list[dict[str, Any]]) -> Iterator[str]:
    told = Event.objects.filter(order=order).count()
    due = int(order.status == Status.FULFILLED)
    if told != due:
        yield f"{told} events, due {due}"
    deliveries = sorted(Delivery.objects.filter(event__order=order).values_list("subscriber", flat=True))
    if due and deliveries != sorted(registry.names()):
        yield f"deliveries to {deliveries}"


def _reservations_settled(order: Order, effects: list[dict[str, Any]]) -> Iterator[str]:
    states = set(Reservation.objects.filter(order_number=order.number).values_list("state", flat=True))
    due = {Reservation.State.CONSUMED} if order.status == Status.FULFILLED else {Reservation.State.RELEASED}
    if not states <= due or (order.status == Status.FULFILLED and not states):
        yield f"reservations are {sorted(states)}"


def _history_rebuilds_the_journal(order: Order, effects: list[dict[str, Any]]) -> Iterator[str]:
    steps = {entry.name: entry.to_state for entry in order.timeline.all() if entry.kind == Kind.STEP}
    for record in order.saga.records.all():
        if steps.get(record.name, "pending") != record.state:
            yield f"{record.name} is {record.state}, its history ends with {steps.get(record.name)}"


ORDER_RULES: tuple[Callable[[Order, list[dict[str, Any]]], Iterator[str]], ...] = (
    _money_adds_up,
    _one_effect_per_key,
    _one_label_or_none,
    _status_agrees_with_saga,
    _fact_told_once,
    _reservations_settled,
    _history_rebuilds_the_journal,
)


def _stock_adds_up() -> Iterator[Finding]:
    """What is reserved is exactly what open orders hold."""
    held = dict(Reservation.objects.filter(state=Reservation.State.HELD).values_list("sku").annotate(Sum("quantity")))
    for level in StockLevel.objects.all():
        if level.reserved != held.get(level.sku, 0):
            yield Finding(level.sku, "stock_adds_up", f"{level.reserved} reserved, orders hold {held.get(level.sku, 0)}")
    open_numbers = Saga.objects.exclude(state__in=[SagaState.COMPLETED, SagaState.COMPENSATED]).values_list("order__number", flat=True)
    for number in (
        Reservation.objects.filter(state=Reservation.State.HELD)
        .exclude(order_number__in=open_numbers)
        .values_list("order_number", flat=True)
    ):
        yield Finding(number, "stock_adds_up", "holds stock, though its saga is closed")


def _sum(effects: list[dict[str, Any]], operation: str) -> int:
    return sum(entry["amount"] for entry in effects if entry["operation"] == operation)


def _count(effects: list[dict[str, Any]], operation: str) -> int:
    return sum(entry["operation"] == operation for entry in effects)
