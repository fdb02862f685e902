"""Promise: whoever is killed while pruning leaves each order with its whole history or with none, and the next run goes on. Two at once do each order once."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest
from django.core.management import call_command
from django.db import connection

from fulfillment.models import Saga
from orders.models import Order
from orders.timeline import TimelineEntry
from tests.engines import ROOT
from tests.holding import held, outside
from tests.reconciliation.pruning import cancelled_long_ago, is_pruned, prune
from tests.sides import at_once

pytestmark = pytest.mark.django_db(transaction=True)

ONE_OF_THE_THIRD = "SELECT FROM orders_history t JOIN orders_order o ON o.id = t.order_id WHERE o.number = 'ORD-3' FOR UPDATE OF t"
WAITS = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query ILIKE %s"


@pytest.fixture
def orders() -> list[Order]:
    """Five, the oldest first."""
    return [cancelled_long_ago(f"ORD-{n}") for n in range(1, 6)]


@pytest.fixture
def pruning() -> Iterator[subprocess.Popen[bytes]]:
    """A process that prunes two orders at a time."""
    found = connection.get_connection_params()
    database = {"DATABASE_URL": f"postgresql://{found['user']}:@/{found['dbname']}?host={found['host']}", "DEMO_VALUES": "1"}
    words = [sys.executable, "manage.py", "prune", "--only", "history", "--batch", "2"]
    process = subprocess.Popen(words, cwd=ROOT, env=os.environ | database)
    yield process
    process.kill()
    process.wait()


def whole_or_nothing(order: Order) -> bool:
    """The mark and the history agree."""
    return TimelineEntry.objects.filter(order=order).count() == (0 if is_pruned(order) else 3)


def test_a_run_that_is_killed_half_way_is_followed_by_one_that_goes_on(orders: list[Order], request: pytest.FixtureRequest) -> None:
    """The machine is switched off in the middle of a batch: nothing is half removed, and nothing is forgotten."""
    with held(ONE_OF_THE_THIRD), outside(autocommit=True) as observer:
        process: subprocess.Popen[bytes] = request.getfixturevalue("pruning")
        _until_it_waits(process, observer)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert [is_pruned(order) for order in orders] == [True, True, False, False, False]
        assert all(whole_or_nothing(order) for order in orders)

    assert prune()["history"]["removed"] == 3

    assert all(is_pruned(order) and whole_or_nothing(order) for order in orders)


def _until_it_waits(process: "subprocess.Popen[bytes]", observer: object) -> None:
    deadline = time.monotonic() + 60
    while not observer.execute(WAITS, ['%DELETE FROM "orders_history"%']).fetchone()[0]:  # type: ignore[attr-defined]
        assert process.poll() is None and time.monotonic() < deadline, "it never came to the third order"
        time.sleep(0.02)


def test_two_at_once_remove_each_history_once_and_neither_waits(orders: list[Order]) -> None:
    """Two hosts have the same timetable."""
    first, second = at_once(
        lambda: prune("--only", "history", "--batch", "2")["history"]["removed"],
        'DELETE FROM "orders_history"',
        lambda: prune("--only", "history", "--batch", "2")["history"]["removed"],
        must_wait=False,
    )

    assert (first, second) == (2, 3)
    assert all(is_pruned(order) and whole_or_nothing(order) for order in orders)


def test_an_order_that_somebody_holds_is_passed_over_and_keeps_nobody_waiting(orders: list[Order]) -> None:
    """An operator has its page open, in the middle of a decision."""
    with held(f"SELECT FROM fulfillment_saga WHERE order_id = {orders[1].pk} FOR UPDATE"):
        assert prune("--only", "history", "--batch", "2")["history"]["removed"] == 4

    assert prune("--only", "history")["history"]["removed"] == 1
    assert Saga.objects.filter(history_pruned_at=None).count() == 0


def test_a_database_that_cannot_serve_it_now_is_a_sentence(orders: list[Order]) -> None:
    """I read that nothing is wrong, and what to do."""
    with connection.cursor() as cursor:
        cursor.execute("SET lock_timeout = '50ms'")
    try:
        with held(ONE_OF_THE_THIRD), pytest.raises(SystemExit, match=r"\(55P03\)\. Run it again: it goes on where it was\."):
            call_command("prune", "--batch", "1")
    finally:
        connection.close()

    assert [is_pruned(order) for order in orders] == [True, True, False, False, False]
    assert prune()["history"]["removed"] == 3
