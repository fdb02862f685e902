"""Promise: a storm that asks whether somebody was notified, and whether every process works, is not put off: what stands still is named, what moves is not."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection

from fulfillment.models import Saga
from orders.incidents import Incident
from orders.models import Order, TimelineEntry
from tests.fulfillment.conftest import ADDRESS
from tests.proofs.storms.checks import liveness, pool_processes
from tests.proofs.storms.scenario import Scenario
from tests.proofs.storms.spec import SMALL
from tests.proofs.storms.storm import Storm

NOW = datetime.now(UTC)
ENDED = NOW - timedelta(seconds=100)  # the fault


class Seen:
    """The shop, as far as the questions see it: its database in the test's own transaction, and processes that only their log knows."""

    def __init__(self, log: Path) -> None:
        self.log = log
        self.pool = [11, 12]
        self.working = [11, 12]

    def sql(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        with connection.cursor() as cursor:
            cursor.execute(query, values)
            return list(cursor.fetchall())

    def children_of(self, role: str) -> list[int]:
        return self.pool

    def workers(self) -> list[str]:
        return ["saga"]


class SmallStorm(Storm):
    def place(self, count: int, **changes: Any) -> list[str]:
        with self.shop.log.open("a") as log:  # type: ignore[attr-defined]
            for pid in self.shop.working:  # type: ignore[attr-defined]
                log.write(f"2026-01-01 00:00:00,0 INFO celery.app.trace[{pid}] Task fulfillment.payment[x] succeeded in 1s: ''\n")
        return []

    def rest(self, *_: Any) -> bool:
        return True


@pytest.fixture
def storm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Storm:
    monkeypatch.setattr(liveness, "_now", lambda: NOW)  # however long ago this file was read
    scenario = Scenario(name="calm", promise="", happens=lambda _: None, sizes={SMALL: {}}, minutes={SMALL: 0})
    found = SmallStorm(scenario, SMALL, 1, tmp_path, lambda *_: None)
    (found.run_dir / "log").mkdir(parents=True)
    (found.run_dir / "log" / "saga.log").touch()
    found._shop = Seen(found.run_dir / "log" / "saga.log")  # type: ignore[assignment]
    found.fault_ended_at = ENDED.timestamp()
    return found


def an_order(number: str, *changes: tuple[float, str], closed_s: float | None = None, opened_s: float = -50) -> Order:
    """``changes``: (seconds after the fault had ended, the state of a step)."""
    client, _ = User.objects.get_or_create(username="web-shop")
    order = Order.objects.create(
        number=number, client=client, idempotency_key=number, currency="EUR", total_minor=1, payment_token="tok_ok",
        customer_email="a@example.com", customer_name="A", correlation_id="c", shipping_address=ADDRESS,
    )  # fmt: skip
    closed = {} if closed_s is None else {"closed_at": after(closed_s), "state": "completed", "wake_at": None}
    Saga.objects.create(**{"order": order, "plan": [], "state": "running", "opened_at": after(opened_s), "wake_at": NOW} | closed)
    for seconds, state in changes:
        TimelineEntry.objects.create(order=order, kind="step", name="payment", to_state=state, at=after(seconds))
    return order


def after(seconds: float) -> datetime:
    return ENDED + timedelta(seconds=seconds)


def open_one(order: Order | None = None, kind: str = "provider_down", opened_s: float = 1, **changes: Any) -> None:
    Incident.objects.create(order=order, subject="x", kind=kind, currency="EUR", opened_at=after(opened_s), **changes)


MOVING = [(seconds, "retry_wait") for seconds in range(0, 150, 10)]


@pytest.mark.django_db
def test_what_came_to_rest_in_time_or_was_reported_or_moves_is_no_breach(storm: Storm) -> None:
    """In time; with its own incident; with one for all, resolved since; moving by itself; placed later."""
    an_order("ORD-1", (0, "started"), closed_s=5)
    open_one(an_order("ORD-2", (0, "compensation_failed")), kind="compensation_exhausted")
    an_order("ORD-3", *MOVING, closed_s=95)
    an_order("ORD-4", (1, "started"), opened_s=1)

    liveness.stalled_orders_have_incidents(storm)

    assert storm.breaches == []
    assert storm.counts == {"not at rest 6 s after the fault": 2, "of them known by an incident": 1, "the others moved for (s)": 95}


@pytest.mark.django_db
def test_one_incident_may_stand_for_all(storm: Storm) -> None:
    an_order("ORD-1", (0, "in_doubt"))
    open_one(resolved_at=after(3), state="resolved")

    liveness.stalled_orders_have_incidents(storm)

    assert (storm.breaches, storm.counts["of them known by an incident"]) == ([], 1)


@pytest.mark.django_db
@pytest.mark.parametrize(
    "incident",
    [{"kind": "orphan_payment"}, {"opened_s": 7}, {"resolved_at": ENDED - timedelta(seconds=1), "opened_s": -9}],
    ids=["of another order", "too late", "resolved before"],
)
def test_what_stands_still_and_is_not_reported_is_named(storm: Storm, incident: dict[str, Any]) -> None:
    """My order was forgotten in a retry; nobody knows."""
    an_order("ORD-1", (-10, "retry_wait"), (80, "started"), closed_s=81)
    open_one(**incident)

    liveness.stalled_orders_have_incidents(storm)

    assert storm.breaches == ["1 orders stood still without an incident: ORD-1 for 80 s"]


@pytest.mark.django_db
def test_what_waits_for_a_worker_is_no_breach_while_others_are_served(storm: Storm) -> None:
    """A backlog is not a standstill."""
    an_order("ORD-1", (-10, "scheduled"))
    an_order("ORD-2", *MOVING, closed_s=95)

    liveness.stalled_orders_have_incidents(storm)

    assert storm.breaches == []


@pytest.mark.django_db
def test_what_waits_for_workers_that_serve_nobody_is_named(storm: Storm) -> None:
    an_order("ORD-1", (-10, "scheduled"))
    an_order("ORD-2")

    liveness.stalled_orders_have_incidents(storm)

    (breach,) = storm.breaches
    assert breach.startswith("2 orders waited for a worker while nothing moved, without an incident: ")


def test_a_pool_process_that_finishes_nothing_is_counted(storm: Storm, monkeypatch: pytest.MonkeyPatch) -> None:
    """It lives, takes tasks and refuses them: only its own log can tell."""
    monkeypatch.setattr(pool_processes, "WITHIN_S", 1.0)

    pool_processes.every_pool_process_works(storm)
    assert (storm.breaches, storm.counts["pool processes that work"]) == ([], "2 of 2")

    storm.shop.working = [11]  # type: ignore[attr-defined]
    pool_processes.every_pool_process_works(storm)
    assert storm.breaches == ["pool processes that work: 1 of 2 after 3 s"]
