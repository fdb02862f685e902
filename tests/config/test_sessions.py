"""Promise: every session of ours has limits, and doctor names whoever keeps what the shop needs of its database."""

import os
import subprocess
import sys
import time
from importlib.util import find_spec
from typing import Any

import pytest
from django.conf import settings
from django.db import connection

from config.stack.commands import CONSUMERS
from fulfillment.checks import wrong_limits
from fulfillment.code_release import RELEASE
from fulfillment.findings import orders
from orders import sessions
from orders.findings import Finding
from orders.findings import sessions as of_sessions
from tests.engines import ROOT
from tests.holding import outside

SETUP = """
import django, os
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
django.setup()
from django.db import connection
"""
SHOWN = (
    SETUP
    + """
with connection.cursor() as cursor:
    cursor.execute("SELECT current_setting('lock_timeout'), current_setting('idle_in_transaction_session_timeout'), current_setting('application_name')")
    print(*cursor.fetchone())
"""
)

WAITING = (
    SETUP
    + """
with connection.cursor() as cursor:
    cursor.execute("SET lock_timeout = 0; SET statement_timeout = 0")
    cursor.execute("SELECT count(*) FROM orders_order")
"""
)


def findings(finding: Any) -> list[Finding]:
    return list(finding())


@pytest.mark.parametrize(
    ("role", "shown"),
    [
        ("web", "750ms 5s shop-web"),
        ("worker", "500ms 1s shop-worker"),
        ("sweep", "500ms 400ms shop-sweep"),
        ("relay", "500ms 400ms shop-relay"),
        ("command", "5s 1min shop-command"),
    ],
)
def test_a_process_connects_with_the_limits_of_its_kind(role: str, shown: str) -> None:
    run = subprocess.run(
        [sys.executable, "-c", SHOWN], cwd=ROOT, env=os.environ | {"SAGA_PROCESS": role}, capture_output=True, text=True, timeout=60
    )

    assert run.stdout.strip() == f"{shown}-r{RELEASE}", run.stderr


@pytest.mark.parametrize(("words", "role"), [("check", "command"), ("sweep", "sweep"), ("reconcile", "command"), ("runserver", "web")])
def test_a_command_knows_which_kind_it_is_whatever_it_was_started_by(words: str, role: str) -> None:
    """A reconciliation that the sweep starts is not cut off as a sweep would be."""
    program = f"import sys, manage; from unittest.mock import patch; sys.argv = ['manage.py', '{words}']\n"
    program += "with patch('django.core.management.execute_from_command_line'): manage.main()\n"
    program += "from django.conf import settings; print(settings.SAGA_PROCESS)"
    run = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env=os.environ | {"SAGA_PROCESS": "sweep"}, capture_output=True, text=True, timeout=60
    )

    assert run.stdout.strip() == role, run.stderr


@pytest.mark.parametrize("command", [*sorted(set(CONSUMERS.values())), "celery -A config worker -Q saga"])
@pytest.mark.parametrize("started_by", [{}, {"SAGA_PROCESS": "web"}], ids=["by hand", "from a web process"])
def test_a_worker_that_is_started_as_doctor_says_knows_that_it_is_one(command: str, started_by: dict[str, str]) -> None:
    program = f"import sys; sys.argv = {_as_python_gives_them(command.split())!r}\n"
    program += "import config.celery; from django.conf import settings; print(settings.SAGA_PROCESS)"
    environment = {name: value for name, value in os.environ.items() if name != "SAGA_PROCESS"} | started_by
    run = subprocess.run([sys.executable, "-c", program], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60)

    assert run.stdout.strip() == "worker", run.stderr


def _as_python_gives_them(words: list[str]) -> list[str]:
    """To the program that these words start."""
    if words[:2] == ["python", "-m"]:
        module = find_spec(words[2])
        assert module is not None
        return [str(module.origin), *words[3:]]
    return [f"/usr/bin/{words[0]}", *words[1:]]


@pytest.mark.parametrize(("lease_s", "wrong"), [(3.0, 0), (0.9, 3), (0.4, 3)])
def test_limits_that_outlast_the_lease_are_refused(lease_s: float, wrong: int) -> None:
    assert len(list(wrong_limits(settings.SESSION_LIMITS_S, lease_s))) == wrong


def test_limits_that_a_proxy_has_dropped_are_a_failure_with_the_statements_that_set_them(
    transactional_db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection.close()
    kept = settings.DATABASES["default"]["OPTIONS"]["options"].replace("-c lock_timeout=5000 ", "")
    monkeypatch.setitem(connection.settings_dict["OPTIONS"], "options", kept)

    (finding,) = findings(of_sessions.limits)

    connection.close()
    assert (finding.level, finding.found) == (
        "FAIL",
        "a command works without lock_timeout: a proxy has dropped what its connection asked for",
    )
    assert finding.to_do == "ALTER ROLE postgres SET lock_timeout = '5000ms';"


def test_limits_that_hold_are_fine(db: None) -> None:
    assert [finding.level for finding in findings(of_sessions.limits)] == ["ok"]


@pytest.mark.parametrize(("web", "level"), [(8, "ok"), (70, "warn"), (100, "FAIL")])
def test_what_may_be_opened_is_compared_with_the_room_there_is(db: None, settings: Any, web: int, level: str) -> None:
    settings.WEB_CONNECTIONS = web

    (finding,) = list(of_sessions.connections(of_workers=8))

    assert finding.level == level
    assert finding.found == f"{web + 8 + 14} of 97 may be opened at once (web {web}, workers 8, sweep 2, relay 2, commands 10)"


def test_whoever_stands_still_in_a_transaction_is_named(transactional_db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "IDLE_FOR_S", 0.2)
    with outside() as holder:
        holder.execute("SET application_name = 'a forgotten psql'")
        holder.execute("LOCK TABLE orders_order IN ACCESS EXCLUSIVE MODE")
        holder.execute("SELECT count(*) FROM orders_order, orders_product")
        holder.execute("SELECT 1 FROM fulfillment_stocklevel FOR UPDATE")
        holder.execute("UPDATE fulfillment_saga SET epoch = epoch")
        time.sleep(0.4)

        (finding,) = findings(orders.locks)

        pid = holder.info.backend_pid
    assert finding.level == "warn"
    assert finding.found.startswith(f"session {pid} (a forgotten psql) has been in a transaction for 0.")
    assert finding.found.endswith("; it holds the table orders_order, rows of fulfillment_stocklevel, rows of fulfillment_saga")
    assert finding.to_do == f"if nobody needs it: SELECT pg_terminate_backend({pid})"
    assert [found.level for found in findings(orders.locks)] == ["ok"]


def test_a_statement_whose_client_has_died_is_ended(transactional_db: None) -> None:
    """A worker that is killed while it waits leaves no session behind."""
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND application_name LIKE 'shop-worker-r%'"
    with outside() as holder, outside() as watcher:
        watcher.autocommit = True
        holder.execute("LOCK TABLE orders_order IN ACCESS EXCLUSIVE MODE")
        environment = os.environ | {"SAGA_PROCESS": "worker", "DATABASE_URL": database_url()}
        process = subprocess.Popen([sys.executable, "-c", WAITING], cwd=ROOT, env=environment, stderr=subprocess.DEVNULL)
        until(lambda: watcher.execute(waiting).fetchone() == (1,))

        process.kill()
        process.wait()

        until(lambda: watcher.execute(waiting).fetchone() == (0,))


def database_url() -> str:
    """Of the tests' own database."""
    found = connection.get_connection_params()
    return f"postgresql://{found['user']}:@/{found['dbname']}?host={found['host']}"


def until(question: Any, within_s: float = 8.0) -> None:
    deadline = time.monotonic() + within_s
    while not question():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_whoever_holds_an_old_snapshot_is_named(transactional_db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing waits for it, and yet it makes the shop slower and slower."""
    monkeypatch.setattr(sessions, "OLD_AFTER_S", 0.2)
    with outside() as holder:
        holder.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        holder.execute("SELECT count(*) FROM orders_order")
        time.sleep(0.4)

        (finding,) = findings(of_sessions.snapshots)

        pid = holder.info.backend_pid
    assert finding.level == "warn"
    assert finding.found.startswith(f"session {pid} (")
    assert finding.found.endswith("what was written since cannot be cleared away")
    assert finding.to_do == f"if nobody needs it: SELECT pg_terminate_backend({pid})"
    assert [found.level for found in findings(of_sessions.snapshots)] == ["ok"]


def test_a_command_that_meets_a_held_table_names_who_to_ask(transactional_db: None) -> None:
    with outside() as holder:
        holder.execute("LOCK TABLE orders_order IN ACCESS EXCLUSIVE MODE")
        environment = os.environ | {"DATABASE_URL": database_url()}
        run = subprocess.run(
            [sys.executable, "manage.py", "why", "ORD-1"], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60
        )

    assert run.returncode == 1
    assert run.stderr.startswith("Another session holds what this needs (canceling statement due to ")
    assert "`manage.py doctor` names who" in run.stderr
