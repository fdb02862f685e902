"""Promise: the hot path and the readable code write the same rows, and whatever is unusual is left to the readable code."""

from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection, transaction

from fulfillment import engine, keys
from fulfillment.engine import hot_path
from fulfillment.models import Saga, StepRecord
from fulfillment.named_statements import SQL
from orders.events import order_fulfilled
from orders.models import Order
from tests.shop_clock import ShopClock

TABLES = {
    "orders_order": "number",
    "fulfillment_saga": "order_id",
    "fulfillment_steprecord": "position",
    "fulfillment_ledgerentry": "key",
    "fulfillment_reservation": "sku",
    "fulfillment_stocklevel": "sku",
    "orders_timelineentry": "id",
    "orders_fact": "id",
}
RECEIPTS: dict[str, dict[str, Any]] = {
    "payment": {"charge_id": "ch_1", "amount_minor": 100, "currency": "EUR"},
    "shipping": {"label_id": "l", "tracking": "trk-1"},
}

Twist = Callable[[int, ShopClock], Any]


def rows() -> dict[str, list[dict[str, Any]]]:
    """Every column but the keys that a sequence gives; and the reservations that a receipt names, which are such keys."""
    found = {}
    with connection.cursor() as cursor:
        for table, sort in TABLES.items():
            cursor.execute(
                f"SELECT to_jsonb(t) - 'id' - 'saga_id' - 'claim' #- '{{receipt,reservations}}' FROM {table} AS t ORDER BY t.{sort}"
            )
            found[table] = [row for (row,) in cursor.fetchall()]
    return found


def succeed(saga: int, name: str) -> engine.Recorded:
    if name == "inventory":
        return engine.run_local(saga, 1, name, compensating=False)
    claim = engine.start(saga, 1, name, compensating=False)
    assert claim is not None
    return engine.record_success(claim, RECEIPTS[name])


def written(order: Order, clock: ShopClock, name: str, twist: Twist | None) -> tuple[Any, ...]:
    """The rows, and the facts that were signalled, after ``name`` has succeeded; every step before it has. Everything is taken back."""
    heard: list[Any] = []

    def hear(fact: Any, **_: Any) -> None:
        heard.append(fact)

    began, sequence = clock.now, ("payment", "inventory", "shipping")
    order_fulfilled.connect(hear)
    try:
        with transaction.atomic():
            saga = engine.open_saga(order).saga
            for before in sequence[: sequence.index(name)]:
                clock.passes(0.5)
                succeed(saga, before)
            if name == "inventory":
                _twist(twist, saga, clock)
                recorded = engine.run_local(saga, 1, name, compensating=False)
            else:
                claim = engine.start(saga, 1, name, compensating=False)
                assert claim is not None
                clock.passes(0.5)
                _twist(twist, saga, clock)
                recorded = engine.record_success(claim, RECEIPTS[name])
            found = rows(), heard, recorded.mine, recorded.turned is not None
            transaction.set_rollback(True)
    finally:
        order_fulfilled.disconnect(hear)
        clock.now = began
        clock.passes(0)
    return found


def _twist(twist: Twist | None, saga: int, clock: ShopClock) -> None:
    if twist is not None:
        twist(saga, clock)


def saga_with(**columns: Any) -> Twist:
    return lambda saga, clock: Saga.objects.filter(pk=saga).update(**columns)


def record_with(name: str, **columns: Any) -> Twist:
    return lambda saga, clock: StepRecord.objects.filter(saga=saga, name=name).update(**columns)


UNUSUAL: dict[str, Twist] = {
    "a cancel": saga_with(cancel_requested_at="2027-01-04T09:00Z"),
    "a hold": saga_with(held_by="payments.sandbox.do", held_at="2027-01-04T09:00Z"),
    "a newer release": saga_with(release=9_999),
    "another epoch": saga_with(epoch=2),
    "a person decides": saga_with(state="needs_attention"),
    "past its lease": lambda saga, clock: clock.passes(600),
}
NEXT: dict[str, Twist] = {"the next step is not pending": record_with("shipping", state="not_needed")}


@pytest.fixture(autouse=True)
def one_nonce(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys, "new_nonce", lambda: "abcdefghij")


@pytest.fixture
def used(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The statements of transitions that have changed something."""
    names: list[str] = []
    row = SQL.row

    def noted(name: str, values: Any) -> Any:
        found = row(name, values)
        if found is not None and name != "reserve":  # the work of a step
            names.append(name)
        return found

    monkeypatch.setattr(SQL, "row", noted)
    return names


def test_a_row_is_found_by_its_key_and_never_among_all_that_are_open(order: Order) -> None:
    """In a backlog those are many, and the planner does not know when it plans."""
    plans = []

    def explain(execute: Callable[..., Any], sql: str, params: Any, many: bool, context: dict[str, Any]) -> Any:
        if sql.startswith("WITH"):
            execute(f"EXPLAIN {sql}", params, many, context)
            plans.append("\n".join(line for (line,) in context["cursor"].fetchall()))
        return execute(sql, params, many, context)

    with connection.execute_wrapper(explain):
        saga = engine.open_saga(order).saga
        for name in ("payment", "inventory", "shipping"):
            succeed(saga, name)

    assert len(plans) == 7
    assert not [plan for plan in plans if "saga_open" in plan or "order_status" in plan or "saga_due" in plan]


def by_the_readable_code(monkeypatch: pytest.MonkeyPatch, *args: Any) -> Any:
    with monkeypatch.context() as patched:
        patched.setattr(hot_path, "record_success", lambda claim, receipt: False)
        patched.setattr(hot_path, "begin_local", lambda saga, epoch, name: None)
        return written(*args)


@pytest.mark.parametrize("name", ["payment", "inventory", "shipping"])
def test_a_success_writes_the_same_rows(
    order: Order, clock: ShopClock, monkeypatch: pytest.MonkeyPatch, used: list[str], name: str
) -> None:
    readable = by_the_readable_code(monkeypatch, order, clock, name, None)
    used.clear()

    hot = written(order, clock, name, None)

    assert used[-1] == ("succeed_and_complete" if name == "shipping" else "succeed_and_schedule")
    assert hot == readable


CASES = [(name, unusual) for name in ("payment", "inventory", "shipping") for unusual in UNUSUAL]


@pytest.mark.parametrize(("name", "unusual"), [*CASES, ("inventory", "the next step is not pending")])
def test_what_is_unusual_is_left_to_the_readable_code(
    order: Order, clock: ShopClock, monkeypatch: pytest.MonkeyPatch, used: list[str], name: str, unusual: str
) -> None:
    def twist(saga: int, clock: ShopClock) -> None:
        (UNUSUAL | NEXT)[unusual](saga, clock)
        used.clear()

    readable = by_the_readable_code(monkeypatch, order, clock, name, twist)

    hot = written(order, clock, name, twist)

    assert used in ([], ["begin_local"])
    assert hot == readable
