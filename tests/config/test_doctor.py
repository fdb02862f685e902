"""Promise: `manage.py doctor` names what is missing and what to do about it, and is content when nothing is."""

import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import httpx
import psycopg
import pytest
from django.conf import settings
from django.core.management import call_command
from django.db import OperationalError, connection

from config import doctor
from config.worker import findings as workers
from fulfillment import recovery
from fulfillment.clock import shop_now
from fulfillment.findings import providers
from fulfillment.models import QueueProbe, Saga
from orders import readiness
from orders.attention import IncidentKind, open_incident
from orders.findings import Finding, database
from sideeffects import relay
from sideeffects.models import Circuit, Delivery, RelayBeat, Subscriber
from tests.config.test_sessions import database_url
from tests.engines import ROOT
from tests.fulfillment.conftest import SandboxProcess
from tests.fulfillment.conftest import order as order
from tests.fulfillment.conftest import saga as saga
from tests.fulfillment.conftest import sandbox as sandbox
from tests.sideeffects.conftest import Tell
from tests.sideeffects.conftest import tell as tell

RUNBOOK = re.compile(r'runbook\("([\w-]+)"\)')
ALL = {"undo": ["saga@here"], "saga": ["saga@here"], "sideeffects": ["sideeffects@here"]}


@pytest.fixture
def well(db: None, sandbox: SandboxProcess, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything answers: the broker and the workers by word alone, the rest really."""
    settings.SANDBOX_URL = sandbox.url
    monkeypatch.setattr(readiness, "_is_migrated", threading.Event())
    monkeypatch.setattr(workers, "trouble", str)
    monkeypatch.setattr(workers, "consumers", lambda app, within_s: ALL)
    recovery.beat()
    relay.beat()


def of(what: str) -> list[Finding]:
    return [finding for finding in doctor.examine() if finding.what == what]


def test_a_database_that_takes_no_writes_is_named(well: None) -> None:
    """It answers every question, and no order can be placed."""
    with connection.cursor() as cursor:
        cursor.execute("SET TRANSACTION READ ONLY")

    assert [(finding.level, finding.found) for finding in doctor.examine() if finding.what == "database"][1:] == [
        ("FAIL", "takes no writes: cannot execute SELECT FOR UPDATE in a read-only transaction")
    ]


def test_nothing_is_found_where_all_is_well(well: None, capsys: pytest.CaptureFixture[str]) -> None:
    call_command("doctor")

    told = capsys.readouterr().out
    assert "FAIL" not in told
    assert "warn" not in told
    assert "ok    database      PostgreSQL 18" in told
    assert "0 pending migrations, clock skew 0.0 s" in told
    assert 'queue "undo" is consumed by saga@here' in told


def test_a_queue_without_a_worker_is_named_with_what_waits_and_how_to_start_one(
    well: None, tell: Tell, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The receipts stay unsent, and I am told which worker to start."""
    tell("email")
    monkeypatch.setattr(workers, "consumers", lambda app, within_s: {"undo": ["saga@here"], "saga": ["saga@here"]})

    with pytest.raises(SystemExit) as end:
        call_command("doctor")

    told = capsys.readouterr().out
    assert end.value.code == 1
    assert 'FAIL  workers       no worker answers for queue "sideeffects" (1 delivery waits)' in told
    assert "→ celery -A config worker -P prefork -Q sideeffects -n sideeffects@%h        docs/runbooks/no-consumer.md" in told


def _swept_long_ago() -> None:
    with connection.cursor() as cursor:
        cursor.execute("UPDATE fulfillment_sweepbeat SET at = at - interval '9 minutes'")


def _never_relayed() -> None:
    RelayBeat.objects.all().delete()


def _never_swept() -> None:
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM fulfillment_sweepbeat")


def _silent(seconds: float) -> Callable[[], None]:
    def make() -> None:
        QueueProbe.objects.create(queue="undo", awaited_since=shop_now() - timedelta(seconds=seconds))

    return make


def _at_risk() -> None:
    open_incident(IncidentKind.MISMATCH, subject="ORD-7", currency="EUR", amount_minor=8420)


def _both() -> None:
    _at_risk()
    _never_swept()


def _unmigrated() -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "DELETE FROM django_migrations WHERE app = 'fulfillment' AND name = (SELECT max(name) FROM django_migrations WHERE app = 'fulfillment')"
        )


@pytest.mark.parametrize(
    ("make", "what", "level", "found"),
    [
        (_swept_long_ago, "sweep", "FAIL", "its last beat is 9 min old (one is due every 5 s)"),
        (_never_swept, "sweep", "FAIL", "has never run"),
        (
            _never_relayed,
            "relay",
            "FAIL",
            "has never run: side effects that failed, or whose message was lost, are not tried again",
        ),
        (_silent(10), "queues", "warn", '"undo" has let nothing out for 10.0 s'),
        (_silent(60), "queues", "FAIL", '"undo" has let nothing out for 60.0 s'),
        (_at_risk, "incidents", "warn", "1 open, €84.20 at risk"),
        (_unmigrated, "database", "FAIL", "1 pending migrations"),
    ],
    ids=["old sweep", "no sweep", "no relay", "slow queue", "silent queue", "incident", "migrations"],
)
def test_what_is_off_is_named_with_what_to_do(well: None, make: Callable[[], None], what: str, level: str, found: str) -> None:
    make()

    (finding,) = of(what)

    assert finding.level == level
    assert found in finding.found
    assert finding.to_do
    assert not finding.runbook or (ROOT / finding.runbook).exists()


def test_a_loop_at_work_says_how_old_its_last_sign_is_and_not_when_it_last_ran(well: None) -> None:
    """It goes round every second, and beats every five."""
    for loop in ("sweep", "relay"):
        assert re.fullmatch(r"at work; its last beat is \d\.\d s old \(one is due every 5 s\)", of(loop)[0].found)


def test_a_stamp_that_may_well_be_on_its_way_alarms_nobody(well: None) -> None:
    _silent(settings.PROBE_AFTER_S / 2)()

    assert [finding.level for finding in of("queues")] == ["ok"]


def test_every_runbook_that_is_named_exists() -> None:
    packages = ("config", "orders", "fulfillment", "sideeffects")
    named = [name for package in packages for file in (ROOT / package).rglob("*.py") for name in RUNBOOK.findall(file.read_text())]

    assert len(named) >= 4
    assert [name for name in named if not (ROOT / f"docs/runbooks/{name}.md").exists()] == []


@pytest.mark.parametrize(
    ("make", "code", "level"),
    [(lambda: None, 0, "ok"), (_at_risk, 3, "warn"), (_never_swept, 1, "FAIL"), (_both, 1, "FAIL")],
    ids=["well", "warning", "failure", "both"],
)
def test_its_exit_code_tells_a_failure_from_a_warning(
    well: None, make: Callable[[], None], code: int, level: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A job of mine runs it every minute, wakes me up on 1 and sends me a mail on 3."""
    make()

    ended = 0
    try:
        call_command("doctor", json=True)
    except SystemExit as end:
        ended = int(end.code or 0)

    assert (ended, json.loads(capsys.readouterr().out)["level"]) == (code, level)


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


def test_an_order_past_its_deadline_is_shown(well: None, saga: int) -> None:
    assert of("orders")[0].level == "ok"
    Saga.objects.update(opened_at="2020-01-01T00:00Z")
    (orders,) = of("orders")
    assert (orders.level, orders.to_do) == ("warn", "python manage.py why ORD-1")
    assert "1 under way, the oldest (ORD-1) for" in orders.found


def test_dead_letters_and_overdue_deliveries_are_counted(well: None, tell: Tell) -> None:
    told, dead, held = tell("email"), tell("loyalty", "ORD-2"), tell("survey", "ORD-3")
    Subscriber.objects.all().delete()
    Delivery.objects.create(fact=told.fact, subscriber="email", state="retry_wait", wake_at="2020-01-01T00:00Z")
    Delivery.objects.create(fact=dead.fact, subscriber="loyalty", state="dead")
    Delivery.objects.create(fact=held.fact, subscriber="survey", state="held")

    (deliveries,) = of("deliveries")

    found = "1 waiting, 1 overdue, 1 dead letters, 1 held for survey, which no code knows"
    assert (deliveries.level, deliveries.found) == ("warn", found)


def test_a_subscriber_that_is_not_answered_is_named(well: None) -> None:
    Circuit.objects.create(subscriber="email", opened_at="2026-11-27T04:00Z", last_error="TimeoutError")

    (deliveries,) = of("deliveries")

    told = "email: no answer since 2026-11-27 04:00:00 UTC (TimeoutError); one asks again and again, 0 wait and spend no try"
    assert (deliveries.level, deliveries.found) == ("warn", f"0 waiting, 0 overdue, 0 dead letters; {told}")


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
def test_what_is_wrong_with_a_provider_is_told_in_words(well: None, monkeypatch: pytest.MonkeyPatch, broken: Any, words: str) -> None:
    """I need not know the names of somebody's exceptions."""

    def get(*_: object, **__: object) -> httpx.Response:
        if isinstance(broken, Exception):
            raise broken
        return broken  # type: ignore[no-any-return]

    monkeypatch.setattr("fulfillment.findings.providers.httpx.get", get)

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


def test_crash_points_are_shown(well: None, settings: Any, tmp_path: Any) -> None:
    settings.CRASH_POINTS = tmp_path

    assert of("crash points")[0].level == "warn"


def test_the_findings_can_be_had_as_json(well: None, capsys: pytest.CaptureFixture[str]) -> None:
    call_command("doctor", json=True)

    findings = json.loads(capsys.readouterr().out)["findings"]
    assert {finding["level"] for finding in findings} == {"ok"}
    assert [finding["what"] for finding in findings][:3] == ["wiring", "database", "broker"]


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
