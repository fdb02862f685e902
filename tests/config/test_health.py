"""Promise: probes are answered at once and truly: alive, ready for customers, and whether anything needs a person are three questions."""

import os
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.management import CommandError, call_command, load_command_class
from django.db import connection
from django.test import Client as Browser

from config import doctor, health, status
from config.management import heartbeat
from config.management.commands.sweep import Sweep
from fulfillment import recovery
from orders import readiness
from orders.incidents import IncidentKind, open_incident
from orders.single_flight import SingleFlight
from tests.config.doctor.conftest import well as well
from tests.fulfillment.conftest import order as order
from tests.fulfillment.conftest import saga as saga
from tests.fulfillment.conftest import sandbox as sandbox

POD = "10.12.0.7:8000"


@pytest.fixture
def probe() -> Browser:
    return Browser(headers={"Host": POD})


def test_alive_asks_nobody(probe: Browser) -> None:
    """No database is allowed here, and none is asked."""
    alive = probe.get("/healthz")

    assert (alive.status_code, alive.json()) == (200, {"status": "ok"})


@pytest.mark.django_db(transaction=True)
def test_ready_is_a_matter_of_this_process_and_its_database(probe: Browser) -> None:
    """No broker, no worker, no sweep: my order is taken all the same."""
    ready = probe.get("/readyz")

    assert (ready.status_code, ready.json()) == (200, {"status": "ready"})


def test_not_ready_while_the_database_takes_no_writes(db: None, probe: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a failover it answers SELECT 1, and no order can be placed."""
    here(monkeypatch)
    with connection.cursor() as cursor:
        cursor.execute("SET TRANSACTION READ ONLY")

    ready = probe.get("/readyz")

    assert (ready.status_code, ready.json()) == (
        503,
        {"status": "not ready", "why": "the database takes no writes (SQLSTATE 25006)"},
    )


def test_not_ready_before_its_migrations_are_applied_and_not_asked_for_them_again(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readiness, "_is_migrated", threading.Event())
    with connection.cursor() as cursor:
        cursor.execute("UPDATE django_migrations SET app = 'later' WHERE app = 'sideeffects'")
        before = readiness.why_not()
        cursor.execute("UPDATE django_migrations SET app = 'sideeffects' WHERE app = 'later'")
    assert before.endswith("migrations are not applied")
    assert readiness.why_not() == ""

    monkeypatch.setattr(readiness, "MigrationExecutor", lambda _: pytest.fail("asked again"))
    assert readiness.why_not() == ""


def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ask in this thread, so that the test's own transaction is seen."""
    monkeypatch.setattr(SingleFlight, "answer", lambda self: self._ask())


@pytest.mark.parametrize("path", ["/readyz", "/status"])
def test_whatever_hangs_an_answer_comes_within_two_seconds(path: str, probe: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    """A frozen database ends no statement, and whoever asks twice starts no second thread."""
    over, asked = threading.Event(), []

    def hang(*_: Any) -> Any:
        asked.append(1)
        over.wait(10)
        return iter([])

    monkeypatch.setattr(health, "_why_not_ready", SingleFlight(lambda: hang() and "", health.READY_WITHIN_S))
    monkeypatch.setattr(doctor, "examine", hang)
    monkeypatch.setattr(health, "_examination", status.Examination(health.STATUS_WITHIN_S))
    begun = time.monotonic()
    answers = [probe.get(path) for _ in range(2)]
    over.set()

    assert [answer.status_code for answer in answers] == [503, 503]
    assert time.monotonic() - begun < 2 * 2.2
    assert len(asked) == 1


def test_the_status_page_is_what_doctor_finds_with_the_numbers(
    well: None, saga: int, probe: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    here(monkeypatch)
    monkeypatch.setattr("config.broker.lengths", lambda queues: {"saga": 3})
    open_incident(IncidentKind.MISMATCH, subject="ORD-7", currency="EUR", amount_minor=8420)

    page = probe.get("/status")

    document = page.json()
    assert (page.status_code, document["level"]) == (200, "warn")
    assert {finding["what"] for finding in document["findings"]} == {finding.what for finding in doctor.examine()}
    assert set(document["findings"][0]) == {"level", "what", "found", "to_do", "runbook"}
    numbers = document["numbers"]
    assert numbers.pop("sweep_age_s") < 60
    assert numbers.pop("relay_age_s") < 60
    assert numbers["orders"].pop("oldest_s") < 60
    assert numbers["reconciliation"].pop("age_s") < 60
    assert numbers == {
        "reconciliation": {"outcome": None, "findings": None, "unexplained_minor": {}},
        "incidents": {"open": 1, "at_risk_minor": {"EUR": 8420}},
        "orders": {"under_way": 1},
        "overload": {"for_s": None, "refused": 0},
        "deliveries": {"waiting": 0, "dead": 0, "held": 0},
        "queues": {
            "compensation": {"waiting": None, "silent_s": 0.0},
            "saga": {"waiting": 3, "silent_s": 0.0},
            "sideeffects": {"waiting": None, "silent_s": 0.0},
        },
    }


def test_the_status_page_names_no_order(well: None, saga: int, probe: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    """It asks for no token."""
    here(monkeypatch)
    assert "ORD-1" in str(list(doctor.examine()))

    assert "ORD-1" not in probe.get("/status").content.decode()


@pytest.mark.parametrize(
    "who",
    [
        {"REMOTE_ADDR": "203.0.113.9"},
        {"REMOTE_ADDR": ""},
        {"REMOTE_ADDR": "::ffff:203.0.113.9"},
        {"REMOTE_ADDR": "127.0.0.1", "HTTP_X_FORWARDED_FOR": "127.0.0.1"},
        {"REMOTE_ADDR": "127.0.0.1", "HTTP_FORWARDED": "for=127.0.0.1"},
    ],
)
def test_a_stranger_learns_how_the_shop_is_and_not_what_it_is_made_of(
    well: None, probe: Browser, monkeypatch: pytest.MonkeyPatch, who: dict[str, Any]
) -> None:
    """Versions, hosts, sockets and addresses of providers are for this machine."""
    here(monkeypatch)

    shown = probe.get("/status", **who).json()
    whole = probe.get("/status").json()

    assert [set(finding) for finding in shown["findings"]] == [{"level", "what", "runbook"}] * len(whole["findings"])
    assert (shown["level"], set(shown["numbers"])) == (whole["level"], set(whole["numbers"]))
    assert "PostgreSQL" in str(whole)
    assert "PostgreSQL" not in str(shown)


@pytest.mark.parametrize("address", ["127.0.0.1", "127.8.9.10", "::1", "::ffff:127.0.0.1"])
def test_who_asks_on_this_machine_is_shown_everything(well: None, probe: Browser, monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    here(monkeypatch)

    assert "found" in probe.get("/status", REMOTE_ADDR=address).json()["findings"][0]


def test_a_failure_is_heard_by_a_monitor_that_reads_only_codes(db: None, probe: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    """The broker is down: the shop is ready for orders, and somebody is notified."""
    here(monkeypatch)

    assert probe.get("/readyz").status_code == 200
    page = probe.get("/status")
    assert (page.status_code, page.json()["level"]) == (503, "FAIL")


def test_without_the_core_s_tables_there_are_no_numbers(well: None, probe: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    here(monkeypatch)
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE fulfillment_saga RENAME TO gone")

    document = probe.get("/status").json()

    assert document["numbers"] == {}
    assert {finding["what"]: finding["level"] for finding in document["findings"]}["deliveries"] == "ok"


def test_what_cannot_be_read_leaves_the_rest(well: None, probe: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    here(monkeypatch)
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE sideeffects_delivery RENAME TO gone")

    document = probe.get("/status").json()

    numbers = document["numbers"]
    assert (numbers["deliveries"], numbers["orders"]["under_way"]) == (None, 0)
    assert {finding["what"]: finding["level"] for finding in document["findings"]}["orders"] == "ok"


@pytest.mark.parametrize("path", ["/healthz", "/healthz/"])
def test_a_probe_comes_by_ip_address_and_any_method_that_reads(path: str, probe: Browser) -> None:
    got, head, post = probe.get(path), probe.head(path), probe.post(path)

    assert (got.status_code, head.status_code, head.content, post.status_code) == (200, 200, b"", 405)
    assert got["Cache-Control"] == "no-store"


def test_only_probes_may_call_us_by_another_name(probe: Browser) -> None:
    assert probe.get("/api/v1/products").status_code == 400


# --- manage.py health ----------------------------------------------------------------------------------------------------


@pytest.fixture
def run_dir(settings: Any, tmp_path: Any) -> Iterator[Any]:
    settings.RUN_DIR = tmp_path
    yield tmp_path


def ask(process: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    with pytest.raises(SystemExit) as end:
        call_command("health", process)
    return int(end.value.code or 0), capsys.readouterr().out


def test_a_sweep_is_healthy_while_it_gets_round(db: None, run_dir: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """Also one that has no turn, and one whose database is away: starting it again would mend nothing."""
    assert ask("sweep", capsys) == (1, f"No sweep of this host has left a sign of life in {run_dir}/alive.\n")
    Sweep(lambda _: None).round()

    code, output = ask("sweep", capsys)
    assert (code, output.split(")")[0]) == (0, f"The sweep (pid {os.getpid()}")

    long_ago = time.time() - heartbeat.DEAD_AFTER_S - 1
    os.utime(run_dir / "alive" / f"sweep.{os.getpid()}", (long_ago, long_ago))
    code, output = ask("sweep", capsys)
    assert (code, output) == (1, f"The sweep (pid {os.getpid()}) got round {heartbeat.DEAD_AFTER_S + 1:.1f} s ago.\n")


def test_a_sweep_that_stands_still_while_the_clock_is_set_back_is_sick_all_the_same(
    db: None, run_dir: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its last sign lies an hour ahead; whoever gets round leaves a new one."""
    Sweep(lambda _: None).round()
    later = time.time() + 3600
    os.utime(run_dir / "alive" / f"sweep.{os.getpid()}", (later, later))

    assert ask("sweep", capsys)[0] == 1

    Sweep(lambda _: None).round()
    assert ask("sweep", capsys)[0] == 0


def test_the_sign_of_a_sweep_that_has_ended_counts_for_nothing(run_dir: Any, capsys: pytest.CaptureFixture[str]) -> None:
    (run_dir / "alive").mkdir()
    (run_dir / "alive" / "sweep.999999999").touch()

    assert ask("sweep", capsys)[0] == 1


@pytest.mark.django_db(transaction=True)
def test_a_sweep_works_where_no_sign_can_be_left(settings: Any, caplog: pytest.LogCaptureFixture) -> None:
    """A disk that is full or read-only stops nothing that matters."""
    settings.RUN_DIR = "/proc/nowhere"
    sweep = Sweep(lambda _: None)

    sweep.round()
    sweep.round()

    assert caplog.text.count("No sign of life of the sweep can be left") == 1
    assert recovery.sweep_age_s() is not None


def test_a_broker_that_is_down_makes_no_worker_sick(capsys: pytest.CaptureFixture[str]) -> None:
    code, output = ask("saga@%h", capsys)

    assert (code, output.startswith("The broker does not answer")) == (0, True)


def test_a_process_that_nobody_knows_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(CommandError, match="process"):
        call_command("health", "worker")


def test_its_help_can_be_pasted(capsys: pytest.CaptureFixture[str]) -> None:
    """What stands there is what I write into a container's health check."""
    with pytest.raises(SystemExit):
        load_command_class("config", "health").run_from_argv(["manage.py", "health", "--help"])

    output = capsys.readouterr().out
    assert "manage.py health saga@%h" in output
    assert "%%" not in output


def test_a_process_that_nobody_starts_is_wrong_usage() -> None:
    with pytest.raises(CommandError, match="'saga' is neither sweep, relay, nor a worker's name with its host, like saga@%h"):
        call_command("health", "saga")
