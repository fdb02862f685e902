"""Promise: a batch costs the same however many orders there are: no statement of it reads a large table from its beginning to its end."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from config.management.commands.prune import HISTORY, KINDS
from fulfillment.circuit import CircuitEntry
from fulfillment.ledger import LedgerEntry
from fulfillment.models import Reservation, RetryBatch, RetryItem, Saga
from orders import facts
from orders.clock import ShopNow, shop_now
from orders.events import OrderFulfilled
from orders.models import Fact, Order
from orders.refusals import RefusedAttempt
from sideeffects.models import Delivery, DeliveryState
from tests.reconciliation.pruning import cancelled_long_ago
from tests.scale.copying import Copies

ORDERS = 8_000
LARGE = 4_000  # rows
SIZES = "SELECT relname FROM pg_class WHERE relkind = 'r' AND reltuples >= %s"


def with_rows_in_every_table(order: Order) -> None:
    """It was charged and refunded, and a subscriber has heard of a fact about it."""
    for operation in ("captured", "refunded"):
        LedgerEntry.objects.create(order=order, step="payment", operation=operation, key=f"{order.number}:{operation}", amount_minor=1)
    Reservation.objects.create(order_number=order.number, sku="MUG", quantity=1, state=Reservation.State.RELEASED)
    fact = OrderFulfilled(number=order.number, currency="EUR", total_minor=1, tracking="", fulfilled_on="2026-01-01", lines=())
    facts.record(fact, order.pk, "c")
    Fact.objects.filter(pk=fact.fact_id).update(number=facts.next_number(), relayed_at=ShopNow())
    Delivery.objects.create(fact_id=fact.fact_id, subscriber="analytics", state=DeliveryState.DELIVERED)


def many_of_everything_else() -> None:
    old = "2020-01-01T00:00Z"
    RefusedAttempt.objects.bulk_create(RefusedAttempt(at=old, verb="close", sentence="no") for _ in range(LARGE))
    CircuitEntry.objects.bulk_create(CircuitEntry(at=old, circuit="payments.sandbox.do", to_state="open") for _ in range(LARGE))
    batches = RetryBatch.objects.bulk_create(RetryBatch(previewed_at=old) for _ in range(40))
    RetryItem.objects.bulk_create(RetryItem(batch=batches[n % 40], order="ORD-1", currency="EUR") for n in range(LARGE))


def plans(statements: CaptureQueriesContext) -> Iterator[tuple[str, Any]]:
    """Of each statement that reads or writes a table, with the statement."""
    with connection.cursor() as cursor:
        for one in statements.captured_queries:
            if one["sql"].startswith(("SELECT", "DELETE", "UPDATE")) and " FROM " in one["sql"]:
                cursor.execute(f"EXPLAIN (FORMAT JSON) {one['sql']}".replace("%", "%%"), [])
                yield one["sql"], _as_read(cursor.fetchone()[0])[0]["Plan"]


def _as_read(document: Any) -> Any:
    return json.loads(document) if isinstance(document, str) else document


def read_whole(plan: Any) -> Iterator[str]:
    if plan["Node Type"] == "Seq Scan":
        yield plan["Relation Name"]
    for part in plan.get("Plans", []):
        yield from read_whole(part)


@pytest.mark.django_db
def test_no_batch_reads_a_large_table_whole() -> None:
    """In my tenth year a night's pruning takes as long as in my first."""
    order = cancelled_long_ago("ORD-1")
    with_rows_in_every_table(order)
    copies = Copies(connection.connection, [(order.number, 100)], ORDERS, 1)
    copies.make(lambda _: None)
    many_of_everything_else()
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
        cursor.execute(SIZES, [LARGE - 1])
        large = {name for (name,) in cursor.fetchall()}
    assert {"orders_history", "fulfillment_saga", "orders_fact", "sideeffects_delivery", "fulfillment_ledgerentry"} <= large
    assert {"fulfillment_circuitentry", "orders_refusedattempt", "fulfillment_retryitem", "fulfillment_reservation"} <= large

    with CaptureQueriesContext(connection) as statements:
        for kind in KINDS.values():
            first = kind.remove(shop_now(), None, 200)
            assert kind is not HISTORY or first.removed == 200
            if first.after is not None:
                assert kind.remove(shop_now(), first.after, 200).removed == 200

    found = [(table, sql) for sql, plan in plans(statements) for table in read_whole(plan) if table in large]
    assert len(statements.captured_queries) > 20
    assert found == []
    assert Saga.objects.filter(history_pruned_at__isnull=False).count() == 400
