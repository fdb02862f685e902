"""Promise: the sweep reads an index that an order's steps do not write, and misses nobody by it."""

import json
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection

from fulfillment import engine, recovery
from fulfillment.models import DUE_FROM_LAG_S, Saga
from fulfillment.recovery import Memory, sweep
from orders.models import Order
from tests.fulfillment.driving import copy_of
from tests.holding import held
from tests.shop_clock import LIMITS_S, ShopClock

PATIENCE_S, LEASE_S = LIMITS_S["PATIENCE_S"], LIMITS_S["LEASE_S"]
CLOSED, OPEN = 100_000, 10_000
A_HANDFUL = 12  # pages of the database, for a hundred sagas

# All are copies of one saga. One is due.
FILL = """
INSERT INTO fulfillment_saga (order_id, plan, state, wake_at, due_from)
SELECT 1000 + n, '[]', CASE WHEN n > %(closed)s THEN 'running' ELSE 'completed' END, due.at, due.at
FROM generate_series(1, %(closed)s + %(open)s) AS n,
    LATERAL (SELECT CASE WHEN n > %(closed)s THEN shop_now() + interval '10 ms' * (n - %(closed)s - 1) END AS at) AS due;
ANALYZE fulfillment_saga
"""


def started(saga: int) -> None:
    assert engine.start(saga, 1, "payment", compensating=False) is not None


def due_from(saga: int, clock: ShopClock) -> float | None:
    return clock.left(Saga.objects.get(pk=saga).due_from)


def launched(memory: Memory) -> list[int]:
    return [launch.saga for found in recovery.due(memory=memory) for launch in found]


@pytest.mark.parametrize("count", [1, 12])
def test_whoever_is_met_too_early_is_met_again_in_time(clock: ShopClock, order: Order, count: int) -> None:
    """A step that takes long moves its end of the lease, and no index. The sweep looks once in vain."""
    memory, sagas = Memory(), [copy_of(order, f"ORD-{10 + number}") for number in range(count)]
    clock.passes(5)
    assert launched(memory) == []
    for saga in sagas:
        started(saga)
        assert due_from(saga, clock) == PATIENCE_S - 5

    clock.passes(PATIENCE_S)
    assert launched(memory) == []
    assert [due_from(saga, clock) for saga in sagas] == [LEASE_S - PATIENCE_S] * count

    clock.passes(LEASE_S)
    assert launched(memory) == sagas


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("count", [1, 12])
def test_whoever_is_held_when_it_is_met_too_early_is_not_forgotten(clock: ShopClock, order: Order, count: int, settings: Any) -> None:
    """By then the sweep has read past it."""
    memory, sagas = Memory(), [copy_of(order, f"ORD-{10 + number}") for number in range(count)]
    settings.BACKOFF_S = 0.0  # inspected again in the next round
    for saga in sagas:
        started(saga)
    clock.passes(PATIENCE_S + 1)
    with held(f"SELECT FROM fulfillment_saga WHERE id = {sagas[0]} FOR UPDATE"):
        assert launched(memory) == []
    assert due_from(sagas[0], clock) == -1
    clock.passes(5)
    assert launched(memory) == []

    clock.passes(LEASE_S)
    assert sorted(launched(memory)) == sagas


@pytest.mark.parametrize(
    ("wake_s", "due_s"),
    [(None, None), (PATIENCE_S - 1, PATIENCE_S - 1), (DUE_FROM_LAG_S, PATIENCE_S), (DUE_FROM_LAG_S + 60, DUE_FROM_LAG_S + 60)],
)
def test_whoever_writes_wake_at_keeps_the_index_right(clock: ShopClock, saga: int, wake_s: float | None, due_s: float | None) -> None:
    """Older code, or a person with SQL, knows nothing of ``due_from``."""
    wake_at = None if wake_s is None else clock.now + timedelta(seconds=wake_s)
    with connection.cursor() as cursor:
        cursor.execute("UPDATE fulfillment_saga SET wake_at = %s, state = 'needs_attention' WHERE id = %s", [wake_at, saga])

    assert due_from(saga, clock) == due_s


@pytest.mark.django_db(transaction=True)
def test_what_is_due_is_read_from_a_handful_of_pages(clock: ShopClock, settings: Any) -> None:
    """Whatever is closed, or waits for later, is not read."""
    with connection.cursor() as cursor:
        cursor.execute("SET session_replication_role = replica")  # every column is given
        cursor.execute(FILL, {"closed": CLOSED, "open": OPEN})
        cursor.execute("SET session_replication_role = origin")
        cursor.execute("VACUUM fulfillment_saga")

    assert pages(lambda: sweep._page(clock.now + timedelta(milliseconds=50), None)) == (6, True)
    assert pages(lambda: list(sweep._too_far_away())) == (0, True)


def pages(read: Any) -> tuple[int, bool]:
    """(rows found, whether a handful of pages was enough)"""
    asked: list[str] = []

    def note(execute: Any, sql: str, params: Any, many: bool, context: dict[str, Any]) -> Any:
        found = execute(sql, params, many, context)
        asked.append(context["cursor"].cursor._query.query.decode())
        return found

    with connection.execute_wrapper(note):
        count = len(read())
    with connection.cursor() as cursor:
        cursor.execute("EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) " + asked[0].replace("%", "%%"))
        found = cursor.fetchone()[0]
    plan = (json.loads(found) if isinstance(found, str) else found)[0]["Plan"]
    return count, plan["Shared Hit Blocks"] + plan["Shared Read Blocks"] <= A_HANDFUL
