"""Erasure (pseudonymisation) of one customer, wherever the shop's database names them. The history and the facts stay append-only for everybody else.

What the books need stays: numbers, dates, products, amounts, the currency, the country and state of delivery, and the providers' own references.
"""

import re
import secrets
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any

import pgtrigger
from django.contrib.admin.models import LogEntry
from django.db import transaction
from django.db.models import Model, Q, QuerySet

from fulfillment.batch import RetryBatch, RetryItem
from fulfillment.circuit import Circuit, CircuitEntry
from fulfillment.models import PastAttempt, Saga, SagaState, StepRecord, StockMovement
from orders import refusals
from orders.attention import Incident, unresolved
from orders.events import OrderFulfilled
from orders.models import Fact, Order
from orders.operators import Actor, Refused
from orders.refusals import RefusedAttempt
from orders.timeline import Kind, TimelineEntry
from sideeffects import erasure as of_side_effects
from sideeffects.models import Delivery, DeliveryState

FORGOTTEN = "forgotten"
KEPT_OF_ADDRESS = ("country", "state")  # taxes depend on them
AT_REST = (DeliveryState.DELIVERED, DeliveryState.DISCARDED)
SHORTEST_WORD = 3  # of a name: less is an initial, or a word of any sentence
GUARDS = (
    "orders.TimelineEntry:append_only",
    "orders.Fact:frozen",
    "fulfillment.StockMovement:append_only",
    "orders.RefusedAttempt:refused_append_only",
    "fulfillment.CircuitEntry:circuit_append_only",
)  # lifted for the statements of this module alone
PUBLIC = set(OrderFulfilled.__dataclass_fields__)  # what a fact may tell


class UnderWay(Refused):
    """Orders that still need to know for whom they are: {number: what is left to do}."""

    def __init__(self, orders: dict[str, str]) -> None:
        super().__init__(", ".join(f"{number} {why}" for number, why in orders.items()))
        self.orders = orders


@dataclass(frozen=True)
class Forgotten:
    """``touched``: how many rows of each kind named the customer."""

    orders: list[str]
    touched: Counter[str]


def preview(email: str) -> Forgotten:
    """What ``forget`` would do; writes nothing. Raises UnderWay."""
    return _walk(email, None)


def forget(email: str, actor: Actor, reason: str) -> Forgotten:
    """One transaction for each order, so that it may be stopped and started again: what is forgotten is not found any more.

    Raises UnderWay, Refused: nothing was done.
    """
    with refusals.recorded(actor, "forget", ""):
        actor.must_have("orders.forget_customer", "have a customer forgotten")
        return _walk(email, (actor, reason))


def orders_of(email: str) -> QuerySet[Order]:
    return Order.objects.filter(customer_email__iexact=email.strip()).order_by("id")


def _walk(email: str, by: tuple[Actor, str] | None) -> Forgotten:
    _refuse_if_under_way(orders_of(email))
    touched: Counter[str] = Counter()
    numbers = []
    for pk in list(orders_of(email).values_list("pk", flat=True)):
        with transaction.atomic():
            order = orders_of(email).select_for_update(no_key=True).filter(pk=pk).first()
            if order is None:  # somebody else has forgotten it meanwhile
                continue
            _refuse_if_under_way(Order.objects.filter(pk=pk))
            touched += _forget_order(order, by)
        numbers.append(order.number)
    with transaction.atomic():
        touched += _forget_mentions(email, write=by is not None)
        touched += of_side_effects.erase_address(email, write=by is not None)
    return Forgotten(numbers, touched)


# --- who is not to be forgotten yet ---------------------------------------------------------------------------------------


def _refuse_if_under_way(orders: QuerySet[Order]) -> None:
    busy = {order.number: why for order in orders if (why := _left_to_do(order))}
    if busy:
        raise UnderWay(busy)


def _left_to_do(order: Order) -> str:
    saga = Saga.objects.filter(order=order).defer("plan").first()
    if saga is not None and not SagaState(saga.state).is_final:
        return f"is under way ({saga.get_state_display().lower()})"
    if unresolved(order=order).exists():
        return "has an open incident"
    if Fact.objects.filter(order=order, relayed_at=None).exists():
        return "has side effects that nobody has begun"
    waiting = Delivery.objects.filter(fact__order=order).exclude(state__in=AT_REST).values_list("subscriber", "state")
    return "".join(f"waits for {name} ({state})" for name, state in waiting[:1])


# --- what names them ------------------------------------------------------------------------------------------------------


def _marks(order: Order) -> re.Pattern[str]:
    """Whatever identifies the customer of this order, as it may stand in a sentence: a provider's words, a person's reason."""
    address = order.shipping_address if isinstance(order.shipping_address, dict) else {}
    values = [value for name, value in address.items() if name not in KEPT_OF_ADDRESS and isinstance(value, str)]
    names = [order.customer_name, *([address["name"]] if isinstance(address.get("name"), str) else [])]
    words = [word for name in names for word in name.split() if len(word) >= SHORTEST_WORD]
    return _any_of([order.customer_email, order.customer_name, order.payment_token, *values, *words])


def _any_of(values: list[str]) -> re.Pattern[str]:
    known = sorted({value.strip() for value in values if value.strip()}, key=len, reverse=True)
    return re.compile("|".join(map(_alone, known)) or r"(?!)", re.IGNORECASE)


def _alone(value: str) -> str:
    """As a word. A number (a postal code, a house) only where nothing but blanks and a comma are around it: any other is of an amount, a date or a reference."""
    if any(letter.isalpha() for letter in value):
        return rf"(?<!\w){re.escape(value)}(?!\w)"
    return rf"(?<![^\s(]){re.escape(value)}(?![^\s),;:.]|[,;:.]\S)"


def _without(marks: re.Pattern[str], value: Any) -> Any:
    """The same JSON with every mark replaced in its texts."""
    if isinstance(value, str):
        return marks.sub(FORGOTTEN, value)
    if isinstance(value, dict):
        return {name: _without(marks, item) for name, item in value.items()}
    return [_without(marks, item) for item in value] if isinstance(value, list) else value


def _forget_order(order: Order, by: tuple[Actor, str] | None) -> Counter[str]:
    """``by``: who forgets, and why; None: only count."""
    marks, touched = _marks(order), Counter(orders=1)
    about = {
        "facts": _facts(order, marks),
        "history entries": _changed(TimelineEntry.objects.filter(order=order), marks, "detail"),
        "steps": _changed(StepRecord.objects.filter(saga__order=order), marks, "error_message", "evidence", "receipt", "undo_receipt"),
        "past attempts": _changed(PastAttempt.objects.filter(record__saga__order=order), marks, "message"),
        "incidents": _changed(Incident.objects.filter(Q(order=order) | Q(subject=order.number)), marks, "message", "reason", "proposal"),
        "refused attempts": _changed(RefusedAttempt.objects.filter(subject=order.number), marks, "sentence"),
        "deliveries": _changed(Delivery.objects.filter(fact__order=order), marks, "error_message"),
        "stock movements": _changed(StockMovement.objects.filter(note__icontains=order.number), marks, "note"),
        "bulk retries": chain(
            _changed(RetryItem.objects.filter(order=order.number), marks, "sentence"),
            _changed(RetryBatch.objects.filter(items__order=order.number).distinct(), marks, "reason"),
        ),
    }
    with pgtrigger.ignore(*GUARDS):
        for what, rows in about.items():
            touched[what] += _write(rows, write=by is not None)
    if by is not None:
        Order.objects.filter(pk=order.pk).update(**_pseudonym(order, marks))
        actor, reason = by
        detail = {"user": actor.user, "reason": _without(marks, reason)}
        TimelineEntry.objects.create(order=order, kind=Kind.OPERATOR, code=FORGOTTEN, actor=actor.name, detail=detail)
    return +touched


def _pseudonym(order: Order, marks: re.Pattern[str]) -> dict[str, Any]:
    """Random, so that nobody who knows the address finds the order by it. A key that names nobody stays: it makes a second order under it impossible."""
    address = order.shipping_address if isinstance(order.shipping_address, dict) else {}
    key = order.idempotency_key
    return {
        "customer_email": f"{FORGOTTEN}-{secrets.token_hex(8)}@example.invalid",
        "customer_name": FORGOTTEN,
        "shipping_address": {name: address[name] for name in KEPT_OF_ADDRESS if name in address},
        "payment_token": "",
        **dict.fromkeys(("request_digest", "digest"), ""),  # whoever knows the whole request could prove by them that it was placed
        "reference": _without(marks, order.reference),
        "correlation_id": _without(marks, order.correlation_id),
        "idempotency_key": f"{FORGOTTEN}-{secrets.token_hex(16)}" if marks.search(key) else key,
    }


def _forget_mentions(email: str, write: bool) -> Counter[str]:
    """Where an address may stand beside orders: what operators did in the admin, incidents about many orders, notes of stock movements."""
    marks = _any_of([email])
    named = Q(object_repr__icontains=email.strip()) | Q(change_message__icontains=email.strip())
    log = _changed(LogEntry.objects.filter(named), marks, "object_repr", "change_message")
    incidents = _changed(Incident.objects.filter(message__icontains=email.strip()), marks, "message", "reason", "subject")
    movements = _changed(StockMovement.objects.filter(note__icontains=email.strip()), marks, "note")
    circuits = chain(
        *(_changed(model.objects.filter(reason__icontains=email.strip()), marks, "reason") for model in (Circuit, CircuitEntry))
    )
    with pgtrigger.ignore(*GUARDS):
        named_in = {"admin log": log, "incidents": incidents, "stock movements": movements, "circuits": circuits}
        return +Counter({what: _write(rows, write=write) for what, rows in named_in.items()})


def _facts(order: Order, marks: re.Pattern[str]) -> Iterator[tuple[Model, dict[str, Any]]]:
    """Facts carry references; one of an older release may hold more, and a client chooses its correlation id."""
    for fact in Fact.objects.filter(order=order):
        public = {name: value for name, value in fact.payload.items() if name in PUBLIC}
        correlation_id = _without(marks, fact.correlation_id)
        if (public, correlation_id) != (fact.payload, fact.correlation_id):
            yield fact, {"payload": public, "correlation_id": correlation_id}


def _changed(rows: QuerySet[Any], marks: re.Pattern[str], *fields: str) -> Iterator[tuple[Model, dict[str, Any]]]:
    """(row, what would stand in it instead) of each row that names the customer."""
    for row in rows:
        said = {field: getattr(row, field) for field in fields}
        instead = {field: _without(marks, value) for field, value in said.items()}
        if changes := {field: value for field, value in instead.items() if value != said[field]}:
            yield row, changes


def _write(rows: Iterator[tuple[Model, dict[str, Any]]], *, write: bool) -> int:
    count = 0
    for row, changes in rows:
        count += 1
        if write:
            type(row)._default_manager.filter(pk=row.pk).update(**changes)
    return count
