"""Promise: behind PgBouncer in transaction mode, where every transaction may meet another session, orders end as they do without it."""

import os
import re
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from tests.debian import needed
from tests.engines import RUN_DIR
from tests.promises.conftest import Shop
from tests.promises.pooled_stack import PER_LOGIN, POOLER, PROGRAM
from tests.proofs import prepared
from tests.proofs.black_box.stack import RunningStack
from tests.proofs.black_box.waiting import wait_for

STORIES = {  # what differs → how the order ends, and what the provider has done
    "fulfilled": ({}, ["charge", "label"]),
    "payment_failed": ({"token": "tok_declined"}, []),
    "inventory_failed": ({"sku": "OUT-OF-STOCK"}, ["charge", "refund"]),
    "shipping_failed": ({"postal_code": "00422"}, ["charge", "refund"]),
}
SESSIONS = "SELECT usename, count(*) FROM pg_stat_activity WHERE usename LIKE 'shop_%%' GROUP BY 1"
PORT = re.compile(r"listen_port = (\d+)")


@pytest.fixture(scope="module")
def pooled() -> Iterator[Shop]:
    needed(lambda: Path(PROGRAM).exists(), "pgbouncer", "PgBouncer")
    run_dir = RUN_DIR / "pooled"
    shutil.rmtree(run_dir, ignore_errors=True)
    (run_dir / "crash").mkdir(parents=True)
    prepared.lay(run_dir)
    stack = RunningStack(run_dir, ("-m", "tests.promises.pooled_stack"), CRASH_POINTS=str(run_dir / "crash"))
    yield Shop(stack)
    stack.stop()


def pools(shop: Shop) -> dict[str, tuple[int, int]]:
    """Login → (connections of the shop's processes, sessions of the server), as PgBouncer counts them."""
    (port,) = PORT.findall((shop.stack.run_dir / "pgbouncer.ini").read_text())
    url = f"postgresql://shop_web@127.0.0.1:{port}/pgbouncer"
    with psycopg.connect(url, autocommit=True, cursor_factory=psycopg.ClientCursor) as admin, admin.cursor() as cursor:
        cursor.execute("SHOW POOLS")
        names = [column.name for column in cursor.description or ()]
        rows = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
    mode = {row["pool_mode"] for row in rows if row["database"] == "shop"}
    assert mode == {"transaction"}
    clients, sessions = ("cl_active", "cl_waiting"), ("sv_active", "sv_idle", "sv_used", "sv_tested", "sv_login")
    return {
        row["user"]: (sum(row[name] for name in clients), sum(row[name] for name in sessions)) for row in rows if row["database"] == "shop"
    }


def ends(shop: Shop, numbers: list[str], within_s: float = 60) -> None:
    wait_for(lambda: shop.moving() == 0, within_s)
    assert {shop.order(number)["status"] for number in numbers} == {"fulfilled"}
    for number in numbers:
        assert shop.ledger(number) == [("charge", shop.total(number)), ("label", None)]


@pytest.mark.timeout(240)
def test_every_story_ends_as_it_does_without_a_proxy(pooled: Shop, show_figure: Callable[[str], None]) -> None:
    """More processes than sessions, and nobody meets what another one has left there."""
    placed = {story: [pooled.place(**changes) for _ in range(4)] for story, (changes, _) in STORIES.items()}
    many = pooled.place_many(24)
    cancelled = pooled.place()
    pooled.cancel(cancelled)

    ends(pooled, many)
    for story, numbers in placed.items():
        for number in numbers:
            assert pooled.order(number)["status"] == story
            assert [operation for operation, _ in pooled.ledger(number)] == STORIES[story][1]
    assert pooled.order(cancelled)["status"] in ("cancelled", "fulfilled")

    counted = pools(pooled)
    clients, sessions = counted["shop_worker"]
    show_figure(f"pgbouncer, transaction mode: {clients} connections of workers shared {sessions} sessions")
    assert clients > PER_LOGIN >= sessions
    assert all(sessions <= PER_LOGIN for _, sessions in counted.values())
    assert all(count <= PER_LOGIN for _, count in pooled.sql(SESSIONS))


@pytest.mark.timeout(120)
def test_a_worker_that_dies_with_a_charge_is_taken_over(pooled: Shop) -> None:
    """Its session was not its own, and the next one finds no trace of it there."""
    pooled.arm("after_call.do.payment.any", "kill_worker")
    number = pooled.place()

    assert pooled.ends(number, 60) == "fulfilled"
    assert pooled.hit("after_call.do.payment.any") is not None
    assert pooled.ledger(number) == [("charge", pooled.total(number)), ("label", None)]


@pytest.mark.timeout(180)
def test_a_proxy_that_dies_costs_time_only(pooled: Shop) -> None:
    numbers = pooled.place_many(16)
    dead = pooled.stack.pid(POOLER)

    os.kill(dead, signal.SIGKILL)
    pooled.wait_for_respawn(POOLER, dead)

    after = pooled.place_stubbornly()
    ends(pooled, [*numbers, after], 90)


def test_the_limits_of_a_login_hold_and_the_proxy_is_noticed(pooled: Shop) -> None:
    """`/status` says so, as doctor does that connects through it."""
    proxy = pooled.sql(
        "SELECT rolname, setconfig FROM pg_db_role_setting JOIN pg_roles ON pg_roles.oid = setrole WHERE rolname = 'shop_worker'"
    )
    assert "lock_timeout=500ms" in proxy[0][1]
    (port,) = PORT.findall((pooled.stack.run_dir / "pgbouncer.ini").read_text())
    through = {"DATABASE_URL": f"postgresql://shop_web@127.0.0.1:{port}/shop", "SAGA_PROCESS": "web", "PREPARED_STATEMENTS": "0"}

    run = pooled.python("-c", FINDINGS, variables=through)
    prepared_there = pooled.python("-c", FINDINGS, variables=through | {"PREPARED_STATEMENTS": "1"})

    assert run.stdout.splitlines() == [
        "ok the limits of a web session hold: waits for locks and open transactions have an end",
        "ok a pooling proxy stands before the database, and nothing here needs a session of its own",
    ], run.stderr
    assert prepared_there.stdout.splitlines()[1] == (
        "warn a pooling proxy stands before the database, and statements are prepared on the server: they belong to one session"
    ), prepared_there.stderr


FINDINGS = """
import os
import django
os.environ["DJANGO_SETTINGS_MODULE"] = "config.settings"
django.setup()
from django.db import transaction
from orders.findings import sessions
with transaction.atomic():
    for finding in (*sessions.limits(), *sessions.proxy()):
        print(finding.level, finding.found)
"""


def test_what_the_shop_has_done_behind_it_agrees_with_the_provider(pooled: Shop) -> None:
    wait_for(lambda: pooled.moving() == 0, 60)

    code, report = pooled.reconcile()

    assert (code, report["findings"]) == (0, [])
