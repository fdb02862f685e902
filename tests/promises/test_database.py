"""Promise: the database may restart under load and no order breaks; and an order costs no more commits than it must."""

import os
import re
import signal
import time
from collections.abc import Callable
from datetime import datetime

import psycopg
import pytest

from tests.promises.conftest import Shop
from tests.proofs.black_box.waiting import wait_for

WRITES, WAITS = 12, 5
COUNTED = 5
NOTED_AFTER_S = 12.5  # PostgreSQL's backends report their I/O at most every ten seconds


TASK = re.compile(r"^(\S+ \S+) \w+ \S+ Task (\S+\[\S+\]) (received|raised unexpected)", re.MULTILINE)


def failed_tasks(shop: Shop, since: datetime) -> list[datetime]:
    """When those tasks were received, at or after ``since``, that broke."""
    failed = []
    for role in ("saga", "sideeffects"):
        received: dict[str, datetime] = {}
        for at, task, what in TASK.findall((shop.stack.run_dir / "log" / f"{role}.log").read_text(errors="replace")):
            if what == "received":
                received[task] = datetime.strptime(at, "%Y-%m-%d %H:%M:%S,%f")
            elif task in received and received[task] >= since:
                failed.append(received[task])
    return failed


DELIVERED = """
SELECT count(*) FROM sideeffects_delivery d JOIN orders_fact e ON e.id = d.event_id JOIN orders_order o ON o.id = e.order_id
WHERE o.number = ANY(%s) AND d.state = 'delivered'
"""


def all_at_rest(shop: Shop, numbers: list[str]) -> bool:
    return shop.sql(DELIVERED, numbers) == [(4 * len(numbers),)]


def test_a_database_restart_under_load_breaks_no_order(shop: Shop, show_figure: Callable[[str], None]) -> None:
    """The database went down in the middle of forty orders: all of them arrive, and what comes after it notices nothing."""
    began = datetime.now()
    numbers = shop.place_many(40)
    down = shop.stack.pid("postgres")

    os.kill(down, signal.SIGINT)
    wait_for(lambda: shop.stack.pid("postgres") != down)
    wait_for(lambda: _answers(shop), every_s=0.01)
    back = datetime.now()

    wait_for(lambda: _safely(shop, numbers), 60, every_s=0.5)
    after = shop.place_many(10)
    wait_for(lambda: all_at_rest(shop, after), 30)
    failed = failed_tasks(shop, began)
    afterwards = [received for received in failed if received >= back]
    show_figure(
        f"database restart: {len(failed) - len(afterwards)} tasks failed meanwhile, {len(afterwards)} afterwards; 50 of 50 orders at rest"
    )
    assert afterwards == []
    for number in numbers:
        assert shop.ledger(number) == [("charge", shop.total(number)), ("label", None)]


def test_a_killed_database_is_reported_once_when_it_answers(shop: Shop) -> None:
    """The operator reads one line, and what it says is true."""
    log = shop.stack.run_dir / "up.log"
    before = log.read_text().count("postgres died")
    dead = shop.kill_whole("postgres")

    wait_for(lambda: log.read_text().count("postgres died") > before, 30)
    assert shop.sql("SELECT 1") == [(1,)]
    assert shop.stack.pid("postgres") != dead

    number = shop.place_stubbornly()
    shop.ends(number, 60)
    assert log.read_text().count("postgres died") == before + 1


def _answers(shop: Shop) -> bool:
    try:
        return shop.sql("SELECT 1") == [(1,)]
    except psycopg.OperationalError:
        return False


def _safely(shop: Shop, numbers: list[str]) -> bool:
    try:
        return all_at_rest(shop, numbers)
    except psycopg.OperationalError:
        return False


def test_database_connections_are_kept_across_tasks(shop: Shop, show_figure: Callable[[str], None]) -> None:
    """Seventy tasks need no connection of their own."""
    warm = shop.place_many(8)
    wait_for(lambda: all_at_rest(shop, warm), 30)
    sessions = "SELECT sessions FROM pg_stat_database WHERE datname = current_database()"
    with psycopg.connect(shop.stack.info["database"], autocommit=True) as watching:
        ((before,),) = watching.execute(sessions).fetchall()
        numbers = shop.place_many(10)
        wait_for(lambda: watching.execute(DELIVERED, [numbers]).fetchall() == [(40,)])
        ((after,),) = watching.execute(sessions).fetchall()
    show_figure(f"70 tasks, 10 requests: {after - before} new connections")
    assert after - before <= 8


@pytest.mark.timeout(120)
def test_a_fulfilled_order_costs_at_most_twelve_write_transactions_and_five_waits(shop: Shop, show_figure: Callable[[str], None]) -> None:
    """How they are counted: docs/design.md, the write path."""
    with shop.stopped("sweep", "relay"):  # they write by the round, not by the order
        time.sleep(NOTED_AFTER_S)
        writes, waits = _written(shop), _waited(shop)
        for _ in range(COUNTED):
            number = shop.place()
            wait_for(lambda number=number: all_at_rest(shop, [number]))  # type: ignore[misc]
        written = _written(shop) - writes
        time.sleep(NOTED_AFTER_S)
        waited = _waited(shop) - waits

    cost = f"{written / COUNTED:g} write transactions (at most {WRITES}), {waited / COUNTED:g} that wait for the disk (at most {WAITS})"
    show_figure(f"per fulfilled order: {cost}")
    assert 0 < written <= WRITES * COUNTED
    assert 0 < waited <= WAITS * COUNTED


def _written(shop: Shop) -> int:
    """Every transaction that writes takes a number."""
    return int(shop.sql("SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint")[0][0])


def _waited(shop: Shop) -> int:
    """Client backends that flushed the log themselves."""
    found = shop.sql("SELECT sum(fsyncs)::bigint FROM pg_stat_io WHERE object = 'wal' AND backend_type = 'client backend'")
    return int(found[0][0] or 0)
