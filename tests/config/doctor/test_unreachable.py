"""Promise: `manage.py doctor` names what does not answer, within seconds, and that hides nothing else."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import httpx
import psycopg
import pytest
from django.db import OperationalError, connection

from config import doctor
from fulfillment.clock import shop_now
from fulfillment.findings import providers
from fulfillment.models import Saga
from orders.findings import database
from sideeffects.models import Circuit
from tests.config.doctor.conftest import of
from tests.config.test_sessions import database_url
from tests.engines import ROOT
from tests.fulfillment.conftest import order as order
from tests.fulfillment.conftest import saga as saga
from tests.fulfillment.conftest import sandbox as sandbox
from tests.sideeffects.conftest import record_fact as record_fact


def test_a_locked_table_is_named_within_seconds(well: None, other_connection: Any) -> None:
    """Whoever holds it does not hold me up too."""
    other_connection.execute("LOCK TABLE orders_incident IN ACCESS EXCLUSIVE MODE")
    begun = time.monotonic()

    (incidents,) = of("incidents")

    assert (incidents.level, incidents.to_do.split(":")[0]) == ("FAIL", "somebody holds its tables")
    assert time.monotonic() - begun < 4


@pytest.fixture
def other_connection(settings: Any) -> Iterator[Any]:
    """A transaction of somebody else, which ends with the test."""
    with psycopg.connect(**connection.get_connection_params() | {"cursor_factory": psycopg.Cursor, "context": None}) as other:
        yield other
        other.rollback()


def test_a_subscriber_that_is_not_answered_is_named(well: None) -> None:
    Circuit.objects.create(subscriber="email", opened_at="2026-11-27T04:00Z", last_error="TimeoutError")

    (deliveries,) = of("deliveries")

    message = "email: no answer since 2026-11-27 04:00:00 UTC (TimeoutError); one asks again and again, 0 wait and spend no try"
    assert (deliveries.level, deliveries.found) == ("warn", f"0 waiting, 0 overdue, 0 dead letters; {message}")


def test_a_provider_that_does_not_answer_is_named(well: None, settings: Any) -> None:
    settings.SANDBOX_URL = "http://127.0.0.1:9"

    (provider,) = of("provider")

    assert provider.level == "FAIL"
    assert provider.found == "sandbox at http://127.0.0.1:9, for carrier and payments, cannot be reached"


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        (httpx.ReadTimeout("timed out"), "has not answered within 0.2 s"),
        (httpx.RemoteProtocolError("hung up"), "hangs up before it has answered"),
        (httpx.InvalidURL("no"), "has an address that cannot be asked"),
        (httpx.Response(503, request=httpx.Request("GET", "http://x")), "answers 503"),
    ],
)
def test_what_is_wrong_with_a_provider_is_said_in_words(well: None, monkeypatch: pytest.MonkeyPatch, broken: Any, words: str) -> None:
    """I need not know the names of somebody's exceptions."""

    def get(*_: object, **__: object) -> httpx.Response:
        if isinstance(broken, Exception):
            raise broken
        return broken  # type: ignore[no-any-return]

    monkeypatch.setattr(httpx, "get", get)

    (provider,) = providers.sandbox(0.2)

    assert provider.found.endswith(f", {words}")


def test_a_database_that_does_not_answer_hides_nothing_else(well: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """I am told what is wrong with the rest all the same."""

    def gone(within_s: float) -> Any:
        raise OperationalError("connection refused\nIs the server running?")

    monkeypatch.setattr(database, "_asked", gone)
    monkeypatch.setattr("orders.findings.database.connection.close", lambda: None)

    found = {finding.what: finding for finding in doctor.examine()}

    assert found["database"].found == "does not answer: connection refused"
    assert set(found) == {"wiring", "database", "broker", "workers", "provider"}


def test_a_broker_that_does_not_answer_is_named_without_its_password(db: None, settings: Any) -> None:
    settings.CELERY_BROKER_URL = "redis://:secret@127.0.0.1:9/0"

    (broker,) = of("broker")

    assert (broker.level, broker.found) == ("FAIL", "redis://:**@127.0.0.1:9/0 does not answer")
    assert of("workers") == []


@pytest.mark.parametrize("line", ["doctor", "why ORD-1", "incidents --json"])
def test_where_nothing_runs_every_command_names_make_up(line: str) -> None:
    """No traceback, exit 1, and how to start the shop."""
    run = subprocess.run(
        [sys.executable, "manage.py", *line.split()], cwd=ROOT, env=_without_a_stack(), capture_output=True, text=True, timeout=60
    )

    assert run.returncode == 1
    assert "make up" in run.stdout + run.stderr
    assert "Traceback" not in run.stderr


def test_a_database_that_is_down_is_a_sentence() -> None:
    environment = _without_a_stack() | {"DATABASE_URL": "postgresql://nobody@127.0.0.1:9/x", "CELERY_BROKER_URL": "redis://127.0.0.1:9"}

    run = subprocess.run(
        [sys.executable, "manage.py", "why", "ORD-1"], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60
    )

    assert run.returncode == 1
    assert "The database does not answer" in run.stderr
    assert "Traceback" not in run.stderr


def _without_a_stack() -> dict[str, str]:
    outer = {name: value for name, value in os.environ.items() if name not in ("DATABASE_URL", "CELERY_BROKER_URL")}
    return outer | {"RUN_DIR": "/tmp/no-such-run"}


def test_a_deploy_that_is_not_finished_is_named_with_whoever_waits_for_its_end(well: None, saga: int) -> None:
    """Two releases side by side, and an order that only the newer one can fulfil."""
    Saga.objects.filter(pk=saga).update(release=7, left_since=shop_now())

    with (
        psycopg.connect(database_url(), application_name="shop-web-r7"),
        psycopg.connect(database_url(), application_name="shop-worker-r6"),
    ):
        (finding,) = of("releases")

    assert finding.level == "warn"
    assert re.fullmatch(
        r"2 releases run side by side since \d\d:\d\d:\d\d UTC \(release 6: worker; release 7: web\);"
        r" 1 order waits for a process of release 7, since \d\d:\d\d:\d\d UTC",
        finding.found,
    )
    assert finding.to_do == "finish the deploy: restart what is of the older release, workers first"


@pytest.mark.parametrize("command", ["doctor", "why ORD-1043"])
def test_without_any_stack_it_says_how_to_start_one_whatever_the_run_directory_is_called(command: str, tmp_path: Any) -> None:
    """I have just cloned it, and ask before I start anything; a folder may be named from where I stand."""
    bare = {name: value for name, value in os.environ.items() if name not in ("DATABASE_URL", "CELERY_BROKER_URL")}
    run = subprocess.run(
        [sys.executable, str(ROOT / "manage.py"), *command.split()],
        cwd=tmp_path, env=bare | {"RUN_DIR": ".run"}, capture_output=True, text=True, timeout=60,
    )  # fmt: skip

    assert run.returncode == 1
    assert "Traceback" not in run.stderr
    assert "There is no database" in run.stdout + run.stderr
    if command == "doctor":
        assert "FAIL  database" in run.stdout
