"""Promise: `manage.py doctor` names what is missing and what to do about it, and is content when nothing is."""

import json
import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.conf import settings
from django.core.management import call_command
from django.db import connection

from config import doctor
from config.worker import findings as workers
from fulfillment.clock import shop_now
from fulfillment.models import QueueProbe, Saga
from orders.incidents import IncidentKind, open_incident
from sideeffects.models import Delivery, RelayHeartbeat, Subscriber
from tests.config.doctor.conftest import of
from tests.engines import ROOT
from tests.fulfillment.conftest import order as order
from tests.fulfillment.conftest import saga as saga
from tests.fulfillment.conftest import sandbox as sandbox
from tests.sideeffects.conftest import RecordFact
from tests.sideeffects.conftest import record_fact as record_fact

RUNBOOK = re.compile(r'runbook\("([\w-]+)"\)')


def test_a_database_that_takes_no_writes_is_named(well: None) -> None:
    """It answers every question, and no order can be placed."""
    with connection.cursor() as cursor:
        cursor.execute("SET TRANSACTION READ ONLY")

    assert [(finding.level, finding.found) for finding in doctor.examine() if finding.what == "database"][1:] == [
        ("FAIL", "takes no writes: cannot execute SELECT FOR UPDATE in a read-only transaction")
    ]


def test_nothing_is_found_where_all_is_well(well: None, capsys: pytest.CaptureFixture[str]) -> None:
    call_command("doctor")

    output = capsys.readouterr().out
    assert "FAIL" not in output
    assert "warn" not in output
    assert "ok    database      PostgreSQL 18" in output
    assert "0 pending migrations, clock skew 0.0 s" in output
    assert 'queue "compensation" is consumed by saga@here' in output


def test_a_queue_without_a_worker_is_named_with_what_waits_and_how_to_start_one(
    well: None, record_fact: RecordFact, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The receipts stay unsent, and I am told which worker to start."""
    record_fact("email")
    monkeypatch.setattr(workers, "consumers", lambda app, within_s: {"compensation": ["saga@here"], "saga": ["saga@here"]})

    with pytest.raises(SystemExit) as end:
        call_command("doctor")

    output = capsys.readouterr().out
    assert end.value.code == 1
    assert 'FAIL  workers       no worker answers for queue "sideeffects" (1 delivery waits)' in output
    assert "→ python -m config.celery_worker -P prefork -Q sideeffects -n sideeffects@%h        docs/runbooks/no-consumer.md" in output


def _swept_long_ago() -> None:
    with connection.cursor() as cursor:
        cursor.execute("UPDATE fulfillment_sweepheartbeat SET at = at - interval '9 minutes'")


def _never_relayed() -> None:
    RelayHeartbeat.objects.all().delete()


def _never_swept() -> None:
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM fulfillment_sweepheartbeat")


def _silent(seconds: float) -> Callable[[], None]:
    def make() -> None:
        QueueProbe.objects.create(queue="compensation", awaited_since=shop_now() - timedelta(seconds=seconds))

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
        (_swept_long_ago, "sweep", "FAIL", "its last heartbeat is 9 min old (one is due every 5 s)"),
        (_never_swept, "sweep", "FAIL", "has never run"),
        (
            _never_relayed,
            "relay",
            "FAIL",
            "has never run: side effects that failed, or whose message was lost, are not tried again",
        ),
        (_silent(10), "queues", "warn", '"compensation" has let nothing out for 10.0 s'),
        (_silent(60), "queues", "FAIL", '"compensation" has let nothing out for 60.0 s'),
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
    """It goes round every second, and records a heartbeat every five."""
    for loop in ("sweep", "relay"):
        assert re.fullmatch(r"at work; its last heartbeat is \d\.\d s old \(one is due every 5 s\)", of(loop)[0].found)


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
def test_its_exit_code_distinguishes_a_failure_from_a_warning(
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


def test_an_order_past_its_deadline_is_shown(well: None, saga: int) -> None:
    assert of("orders")[0].level == "ok"
    Saga.objects.update(opened_at="2020-01-01T00:00Z")
    (orders,) = of("orders")
    assert (orders.level, orders.to_do) == ("warn", "python manage.py why ORD-1")
    assert "1 under way, the oldest (ORD-1) for" in orders.found


def test_dead_letters_and_overdue_deliveries_are_counted(well: None, record_fact: RecordFact) -> None:
    owed, dead, held = record_fact("email"), record_fact("loyalty", "ORD-2"), record_fact("survey", "ORD-3")
    Subscriber.objects.all().delete()
    Delivery.objects.create(fact=owed.fact, subscriber="email", state="retry_wait", wake_at="2020-01-01T00:00Z")
    Delivery.objects.create(fact=dead.fact, subscriber="loyalty", state="dead")
    Delivery.objects.create(fact=held.fact, subscriber="survey", state="held")

    (deliveries,) = of("deliveries")

    found = "1 waiting, 1 overdue, 1 dead letters, 1 held for survey, which no code knows"
    assert (deliveries.level, deliveries.found) == ("warn", found)


def test_crash_points_are_shown(well: None, settings: Any, tmp_path: Any) -> None:
    settings.CRASH_POINTS = tmp_path

    assert of("crash points")[0].level == "warn"


def test_the_findings_can_be_had_as_json(well: None, capsys: pytest.CaptureFixture[str]) -> None:
    call_command("doctor", json=True)

    findings = json.loads(capsys.readouterr().out)["findings"]
    assert {finding["level"] for finding in findings} == {"ok"}
    assert [finding["what"] for finding in findings][:3] == ["wiring", "database", "broker"]
