"""What must hold of the shop as a whole, at any instant: each rule is one statement, so that orders on their way cannot make it lie."""

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db import connection
from django.db.models import Exists, OuterRef

from fulfillment import engine
from fulfillment.models import OPEN, Reservation, Saga
from fulfillment.reconciliation.finding import Finding, Rule
from fulfillment.reconciliation.listings import Listings
from fulfillment.reconciliation.money import left
from fulfillment.reconciliation.side_effects_audit import SideEffectsAudit
from orders.database import is_our_trouble
from orders.incidents import unresolved
from orders.models import Order, Status

NUMBERS_AT_ONCE = 500
SHOWN = 3  # of a subscriber's complaints, in one finding
FAILURES = Status.legal_moves()[Status.COMPENSATING]
STOCK = """
SELECT sku, {shown}, coalesce(pieces, 0)
FROM fulfillment_stocklevel LEFT JOIN (SELECT sku, sum(quantity) AS pieces FROM fulfillment_reservation WHERE state = %s GROUP BY sku) summed USING (sku)
WHERE {due} <> coalesce(pieces, 0) ORDER BY sku
"""
MOVED = "(SELECT coalesce(sum(m.pieces), 0) FROM fulfillment_stockmovement m WHERE m.level_id = fulfillment_stocklevel.id)"
WITHOUT_A_SAGA = "SELECT id FROM orders_order o WHERE NOT EXISTS (SELECT FROM fulfillment_saga s WHERE s.order_id = o.id) ORDER BY id"


def stock_adds_up() -> Iterator[Finding]:
    """What is reserved is exactly what orders hold."""
    for sku, reserved, held in _stock(Reservation.State.HELD, "reserved", "reserved"):
        message = f"{reserved} reserved, orders hold {held}"
        yield Finding(subject=sku, rule=Rule.STOCK_ADDS_UP, found=message, currency=settings.SHOP_CURRENCY)


def stock_is_conserved() -> Iterator[Finding]:
    """What has come by movements is on hand, or has left with an order."""
    for sku, moved, on_hand, shipped in _stock(Reservation.State.CONSUMED, f"{MOVED} - on_hand", f"{MOVED}, on_hand"):
        message = f"movements come to {moved}, {on_hand} on hand and {shipped} shipped"
        yield Finding(subject=sku, rule=Rule.STOCK_IS_CONSERVED, found=message, currency=settings.SHOP_CURRENCY)


def _stock(state: Reservation.State, due: str, shown: str) -> list[tuple[Any, ...]]:
    """SKUs whose reservations in this state do not add up to what is ``due``. All of them are summed once, not once for each SKU."""
    with connection.cursor() as cursor:
        cursor.execute(STOCK.format(due=due, shown=shown), [state])
        return list(cursor.fetchall())


def each_effect_once(audit: SideEffectsAudit, since: datetime | None) -> Iterator[Finding]:
    """Every subscriber's effect happened once for each fact that it has heard, as its own audit says. One with an open incident is asked about all facts."""
    known = unresolved(code=Rule.EACH_EFFECT_ONCE)
    off: dict[str, list[str]] = {}
    for subscriber, complaint in audit.complaints(since, set(known.values_list("subject", flat=True))):
        off.setdefault(subscriber, []).append(complaint)
    for subscriber, complaints in off.items():
        more = f"; and {len(complaints) - SHOWN} more" if len(complaints) > SHOWN else ""
        found = "; ".join(complaints[:SHOWN]) + more
        yield Finding(subject=subscriber, rule=Rule.EACH_EFFECT_ONCE, found=found, currency=settings.SHOP_CURRENCY)


def due_or_incident() -> Iterator[Finding]:
    """Every saga that is not closed has a time at which the sweep inspects it, or an incident that notifies a person; ours alone does not count."""
    incidents = unresolved(order=OuterRef("order")).exclude(code=Rule.DUE_OR_INCIDENT)
    stranded = Saga.objects.filter(~Exists(incidents), state__in=OPEN, wake_at__isnull=True)
    for saga in stranded.select_related("order").prefetch_related("records"):
        found = f"{saga.get_state_display().lower()}, no time to inspect it and no incident"
        yield _about(saga.order, Rule.DUE_OR_INCIDENT, found, _at_risk_minor(saga))


def _at_risk_minor(saga: Saga) -> int:
    """The whole total where nobody can tell."""
    try:
        return engine.at_risk_minor(saga)
    except Exception as error:
        if is_our_trouble(error):
            raise
        return int(saga.order.total_minor)


def no_failure_is_shown_early() -> Iterator[Finding]:
    """Nobody is notified that an order has failed, or was cancelled, while its compensation is open."""
    for order in Order.objects.filter(status__in=FAILURES, saga__state__in=OPEN):
        yield _about(order, Rule.NO_FAILURE_IS_SHOWN_EARLY, f"shown as {order.status}, and its saga is not closed")


def every_order_has_a_saga() -> Iterator[Finding]:
    """By their ids alone first: those stand in indexes."""
    with connection.cursor() as cursor:
        cursor.execute(WITHOUT_A_SAGA)
        found = [order_id for (order_id,) in cursor.fetchall()]
    for order in Order.objects.filter(pk__in=found).order_by("pk"):
        yield _about(order, Rule.EVERY_ORDER_HAS_A_SAGA, "nobody will ever work on it")


def unknown_order(listings: Listings) -> Iterator[Finding]:
    """Providers act for orders that exist. Asked after the listings were read: an order is there before anything is done for it."""
    numbers = listings.open_numbers()
    for start in range(0, len(numbers), NUMBERS_AT_ONCE):
        some = numbers[start : start + NUMBERS_AT_ONCE]
        ours = set(Order.objects.filter(number__in=some).values_list("number", flat=True))
        yield from (_unknown(number, listings) for number in some if number not in ours)


def _unknown(number: str, listings: Listings) -> Finding:
    charges, labels = listings.of(number)
    held = [charge for charge in charges if charge.is_open]
    currency = held[0].currency if held else settings.SHOP_CURRENCY
    alive = sum(label.is_open for label in labels)
    message = " and ".join(f"{count} {what}" for count, what in ((len(held), "charges"), (alive, "labels")) if count)
    return Finding(
        subject=number[:80],
        rule=Rule.UNKNOWN_ORDER,
        found=f"{message} for an order that does not exist",
        amount_minor=left(charge for charge in held if charge.currency == currency),
        currency=currency,
    )


def _about(order: Order, rule: Rule, found: str, amount_minor: int = 0) -> Finding:
    return Finding(subject=order.number, order_id=order.pk, currency=order.currency, rule=rule, found=found, amount_minor=amount_minor)


RULES: dict[Rule, Callable[[], Iterator[Finding]]] = {
    Rule.STOCK_ADDS_UP: stock_adds_up,
    Rule.STOCK_IS_CONSERVED: stock_is_conserved,
    Rule.DUE_OR_INCIDENT: due_or_incident,
    Rule.NO_FAILURE_IS_SHOWN_EARLY: no_failure_is_shown_early,
    Rule.EVERY_ORDER_HAS_A_SAGA: every_order_has_a_saga,
}
