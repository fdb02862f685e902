"""Erasure of a customer from the rows of this package: orders, facts, history, incidents, refused attempts and the admin's log.

What the books need stays: numbers, dates, products, amounts, the currency, the country and state of delivery, and the providers' own references. History and
facts stay append-only for everybody else.
"""

import re
import secrets
from collections import Counter
from dataclasses import fields

from django.contrib.admin.models import LogEntry
from django.db.models import Q, QuerySet

from orders.events import EVENTS
from orders.incidents import Incident, unresolved
from orders.models import Fact, Order
from orders.operators import Actor
from orders.pseudonyms import FORGOTTEN, KEPT_OF_ADDRESS, Changes, address_of, any_of, changed, replace, without
from orders.refusals import RefusedAttempt
from orders.timeline import EntryKind, HistoryRow

GUARDS = ("orders.HistoryRow:append_only", "orders.Fact:frozen", "orders.RefusedAttempt:refused_append_only")
KEYS = "idempotency keys"  # counted by themselves: under such a key the same request would place a new order
PUBLIC = {event.type: {field.name for field in fields(event)} for event in EVENTS}  # what a fact may contain


def orders_of(email: str) -> QuerySet[Order]:
    return Order.objects.filter(customer_email__iexact=email.strip()).order_by("id")


def left_to_do(order: Order) -> str:
    """Why this order still needs to know its customer. Empty: it does not."""
    if unresolved(order=order).exists():
        return "has an open incident"
    if Fact.objects.filter(order=order, relayed_at=None).exists():
        return "has side effects that nobody has begun"
    return ""


def erase_order(order: Order, marks: re.Pattern[str], *, write: bool) -> Counter[str]:
    """How many rows about this order name its customer. They are changed only with ``write``."""
    about = {
        "facts": _facts(order, marks),
        "history entries": changed(HistoryRow.objects.filter(order=order), marks, "detail"),
        "incidents": changed(Incident.objects.filter(Q(order=order) | Q(subject=order.number)), marks, "message", "reason", "proposal"),
        "refused attempts": changed(RefusedAttempt.objects.filter(subject=order.number), marks, "sentence"),
    }
    return replace(about, GUARDS, write=write) + Counter({KEYS: int(names_its_customer(order, marks))})


def names_its_customer(order: Order, marks: re.Pattern[str]) -> bool:
    """By its idempotency key, which ``pseudonymise`` replaces then."""
    return marks.search(order.idempotency_key) is not None


def erase_address(email: str, *, write: bool) -> Counter[str]:
    """How many rows beside orders name this address: what operators did in the admin, and incidents about many orders."""
    marks = any_of([email])
    named = Q(object_repr__icontains=email.strip()) | Q(change_message__icontains=email.strip())
    about = {
        "admin log": changed(LogEntry.objects.filter(named), marks, "object_repr", "change_message"),
        "incidents": changed(Incident.objects.filter(message__icontains=email.strip()), marks, "message", "reason", "subject"),
    }
    return replace(about, GUARDS, write=write)


def pseudonymise(order: Order, marks: re.Pattern[str], actor: Actor, reason: str) -> None:
    """The order itself names its customer no more, and its history says who has erased the name, and why.

    The new address is random: whoever knows the old one does not find the order by it. An idempotency key that names nobody stays, so that it cannot make a
    second order.
    """
    address = address_of(order)
    Order.objects.filter(pk=order.pk).update(
        customer_email=f"{FORGOTTEN}-{secrets.token_hex(8)}@example.invalid",
        customer_name=FORGOTTEN,
        shipping_address={name: address[name] for name in KEPT_OF_ADDRESS if name in address},
        payment_token="",
        request_digest="",  # whoever knows the whole request could prove by the digests that it was placed
        digest="",
        reference=without(marks, order.reference),
        correlation_id=without(marks, order.correlation_id),
        idempotency_key=f"{FORGOTTEN}-{secrets.token_hex(16)}" if names_its_customer(order, marks) else order.idempotency_key,
    )
    detail = {"user": actor.user, "reason": without(marks, reason)}
    HistoryRow.objects.create(order=order, kind=EntryKind.OPERATOR, code=FORGOTTEN, actor=actor.name, detail=detail)


def _facts(order: Order, marks: re.Pattern[str]) -> Changes:
    """A fact carries references. One of an older release may contain more, and a client chooses its correlation id. Of a type that only newer code knows, each
    field stays that does not name the customer.
    """
    for fact in Fact.objects.filter(order=order):
        known = PUBLIC.get(fact.type)
        public = {name: value for name, value in fact.payload.items() if (name in known if known else not marks.search(str(value)))}
        correlation_id = without(marks, fact.correlation_id)
        if (public, correlation_id) != (fact.payload, fact.correlation_id):
            yield Fact.objects.filter(pk=fact.pk), {"payload": public, "correlation_id": correlation_id}
