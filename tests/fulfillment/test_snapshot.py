"""A snapshot that somebody holds: the queues' reads stay as cheap as ever, however much was written since."""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from django.db import connection

from fulfillment import recovery
from fulfillment.models import Saga, StockLevel
from orders.models import Order
from sideeffects import discovery, relay

ORDERS, AT_ONCE, PER_S = 20_000, 2_000, 100  # written (docs/proof.md has 100,000); in one statement; of the shop's own time
SKUS = 24
BEGAN_AT = datetime(2026, 11, 26, 12, tzinfo=UTC)
QUEUES = ("fulfillment_saga", "orders_fact", "sideeffects_delivery")
AT_MOST = 0.12  # of what a read from the beginning passes: a slice of what lies behind the mark, and the facts that are numbered now

PLACED = """
INSERT INTO orders_order (SELECT (jsonb_populate_record(o, jsonb_build_object('id', nextval('orders_order_id_seq'), 'number', 'ORD-R' || n,
    'idempotency_key', 'replayed-' || n, 'status', 'fulfilled', 'placed_at', %(at)s + n %% %(count)s * %(each)s))).*
    FROM orders_order o, generate_series(%(first)s, %(first)s + %(count)s - 1) n WHERE o.number = 'ORD-1')
"""
OPENED = """
INSERT INTO fulfillment_saga (SELECT (jsonb_populate_record(s, jsonb_build_object('id', nextval('fulfillment_saga_id_seq'), 'order_id', o.id,
    'wake_at', o.placed_at + interval '10 s'))).*
    FROM orders_order o, fulfillment_saga s JOIN orders_order template ON template.id = s.order_id
    WHERE template.number = 'ORD-1' AND o.placed_at >= %(at)s AND o.number LIKE 'ORD-R%%')
"""
MOVED = """
UPDATE fulfillment_saga s SET wake_at = o.placed_at + %(wait)s FROM orders_order o WHERE o.id = s.order_id AND o.placed_at >= %(at)s AND o.number LIKE 'ORD-R%%'
"""
SOLD = "UPDATE fulfillment_stocklevel SET reserved = reserved + %(pieces)s WHERE sku = 'SKU-' || %(sku)s"
CLOSED = """
UPDATE fulfillment_saga s SET wake_at = NULL, state = 'completed' FROM orders_order o
WHERE o.id = s.order_id AND o.placed_at >= %(at)s AND o.number LIKE 'ORD-R%%'
"""
HISTORY = """
INSERT INTO orders_fact (id, order_id, type, version, correlation_id, payload, at)
SELECT gen_random_uuid(), id, 'order.fulfilled', 1, 'c', '{}', placed_at FROM orders_order WHERE placed_at >= %(at)s AND number LIKE 'ORD-R%%'
"""
HEARD = """
INSERT INTO sideeffects_delivery (event_id, subscriber, state, tries, relaunches, error_code, error_message)
SELECT f.id, s.name, 'delivered', 1, 0, '', '' FROM orders_fact f, sideeffects_subscriber s WHERE f.at >= %(at)s AND f.type = 'order.fulfilled'
"""
WAITS = [timedelta(seconds=seconds) for seconds in (30, 10, 10, 30, 10)]  # lease, patience, …: what the steps of an order write


@pytest.fixture
def held_snapshot(db: None) -> Iterator[None]:
    """Somebody has begun a REPEATABLE READ transaction, and has forgotten it."""
    settings = connection.get_connection_params()
    with psycopg.connect(host=settings["host"], user=settings["user"], dbname=settings["dbname"]) as somebody:
        somebody.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        somebody.execute("SELECT count(*) FROM orders_order")
        yield
        somebody.rollback()


class Replay:
    """The writes of many orders, by SQL, at a pace that the shop's clock shows."""

    def __init__(self) -> None:
        self.at, self.written = BEGAN_AT, 0
        StockLevel.objects.bulk_create(StockLevel(sku=f"SKU-{n}", on_hand=ORDERS) for n in range(SKUS))

    def go_on(self) -> None:
        values: dict[str, Any] = {"at": self.at, "first": self.written, "count": AT_ONCE, "each": timedelta(seconds=1 / PER_S)}
        with connection.cursor() as cursor:
            cursor.execute(PLACED, values)
            cursor.execute(OPENED, values)
            for wait in WAITS:
                cursor.execute(MOVED, values | {"wait": wait})
            for n in range(SKUS):
                cursor.execute(SOLD, {"sku": n, "pieces": AT_ONCE // SKUS})
            cursor.execute(CLOSED, values)
            cursor.execute(HISTORY, values)
            cursor.execute(HEARD, values)
        self.written += AT_ONCE
        self.at += timedelta(seconds=AT_ONCE / PER_S)
        the_time_is(self.at)


def the_time_is(instant: datetime) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config('shop.now', %s, false)", [instant.isoformat()])


class Loops:
    """A sweep and a relay; what they ask of their queues, as the database got it."""

    def __init__(self) -> None:
        self.memory, self.marks = recovery.Memory(), relay.Marks()
        self.asked: list[str] = []

    def round(self) -> None:
        self.asked = []
        with connection.execute_wrapper(self._note):
            assert not any(recovery.due(memory=self.memory))
            relay.run_round(lambda: True, self.marks)

    def _note(self, execute: Callable[..., Any], sql: str, params: Any, many: bool, context: dict[str, Any]) -> Any:
        found = execute(sql, params, many, context)
        if sql.lstrip().startswith("SELECT") and any(f'FROM "{queue}"' in sql for queue in QUEUES):
            self.asked.append(context["cursor"].cursor._query.query.decode())
        return found


def passed(queries: list[str]) -> tuple[int, float]:
    """(pages of the database, milliseconds at most) that these reads take."""
    pages, slowest = 0, 0.0
    for query in queries:
        with connection.cursor() as cursor:
            cursor.execute("EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) " + query.replace("%", "%%"))
            found = cursor.fetchone()[0]
        plan = (json.loads(found) if isinstance(found, str) else found)[0]
        pages += plan["Plan"]["Shared Hit Blocks"] + plan["Plan"]["Shared Read Blocks"]
        slowest = max(slowest, plan["Execution Time"])
    return pages, slowest


@pytest.mark.timeout(400)
@pytest.mark.django_db(transaction=True)
def test_the_queues_are_read_as_fast_while_somebody_holds_a_snapshot(
    order: Order, saga: int, held_snapshot: None, show_figure: Callable[[str], None]
) -> None:
    """A hundred thousand orders are written meanwhile, and nothing of that can be cleared away."""
    relay.register(discovery.types(), 1)
    Saga.objects.filter(pk=saga).update(launched_at=BEGAN_AT)
    loops, replay = Loops(), Replay()
    the_time_is(BEGAN_AT)
    loops.round()
    while replay.written < ORDERS:
        replay.go_on()
        loops.round()
    for _ in range(3):
        replay.at += timedelta(seconds=1)
        the_time_is(replay.at)
        loops.round()
    beginners = Loops()
    beginners.round()

    pages, slowest = passed(loops.asked)
    pages_from_the_beginning, slowest_from_the_beginning = passed(beginners.asked)

    show_figure(
        f"held snapshot, {replay.written:,} orders: {pages} pages, {slowest:.2f} ms at most; from the beginning {pages_from_the_beginning:,}"
    )
    show_figure(f"pages, {slowest_from_the_beginning:.1f} ms")
    assert pages < AT_MOST * pages_from_the_beginning
