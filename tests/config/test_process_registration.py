"""Promise: a process that ends again and again is reported to a person by its name, and the incident is resolved when it is over."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from django.core.management import call_command

from fulfillment.code_release import RELEASE
from orders import processes
from orders.findings.processes import crash_loops
from orders.incidents import Incident
from orders.process_registration import Registration, lives
from orders.processes import CRASHES, KEPT, ProcessRow
from tests.config.bare import Broker, Worker, running
from tests.engines import ROOT
from tests.proofs.black_box.waiting import wait_for

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[Worker]:
    broker = Broker(tmp_path)
    try:
        with running(Worker(broker, tmp_path)) as one:
            yield one
    finally:
        broker.end()


def incidents() -> list[tuple[str, str, str]]:
    return list(Incident.objects.order_by("id").values_list("subject", "state", "outcome"))


def crash(name: str, times: int = 1) -> None:
    """``times`` lives of processes that have ended without a word; each was found dead by the next."""
    for _ in range(times + 1):
        with subprocess.Popen(["sleep", "60"]) as gone:
            processes.record_start(name, gone.pid, psutil.Process(gone.pid).create_time(), 1, lives)
            gone.kill()


@pytest.mark.timeout(120)
def test_a_worker_that_is_killed_again_and_again_reports_it_itself(worker: Worker) -> None:
    """Nobody has to look at its restarts: the fifth start opens one incident, doctor names the worker, and its stop closes it."""
    for _ in range(CRASHES):
        assert incidents() == []
        worker.end()
        worker.start()
        worker.is_ready()

    ((subject, state, _),) = incidents()
    (finding,) = crash_loops()
    assert subject.startswith("bare@")
    assert state == "open"
    assert (finding.level, finding.runbook) == ("FAIL", "docs/runbooks/crash_loop.md")
    assert finding.found.startswith(f"{subject} has crashed {CRASHES} times in a row, last ")

    worker.process.send_signal(signal.SIGTERM)
    worker.process.wait(20)

    assert incidents() == [(subject, "resolved", "stopped")]


def test_a_process_that_lives_again_takes_the_word_back(settings: Any) -> None:
    settings.LIVED_LONG_S = 0.1
    crash("sweep@here", CRASHES)
    assert incidents() == [("sweep@here", "open", "")]
    presence = Registration("sweep@here", RELEASE)

    presence.begin()
    presence.watch()

    wait_for(lambda: incidents() == [("sweep@here", "resolved", "lived")], 5)


def test_the_list_of_incidents_names_it_as_what_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    """It is no order, and nothing about an order can be retried."""
    crash("sweep@here", CRASHES)

    call_command("incidents")

    first, _, to_do, last = capsys.readouterr().out.splitlines()
    assert first.startswith("crash_loop · 1 process · no money at risk")
    assert to_do.strip() == "python manage.py doctor"
    assert last == "1 process in 1 group, no money at risk."


def test_stopping_and_starting_is_no_crash() -> None:
    """A deploy restarts everything, several times if it must: nobody is notified."""
    for _ in range(3 * CRASHES):
        presence = Registration("relay@here", RELEASE)
        presence.begin()
        presence.end()

    assert incidents() == []


def test_many_that_live_side_by_side_under_one_name_are_no_crash() -> None:
    """A web server has as many processes as it likes."""
    me = psutil.Process()
    for _ in range(3 * CRASHES):
        processes.record_start("web@here", me.pid, me.create_time(), 1, lives)

    assert incidents() == []


def test_a_crash_after_a_long_life_is_no_loop() -> None:
    """It is started again, and that is all: once a day is not again and again."""
    for _ in range(3 * CRASHES):
        crash("saga@here")
        processes.record_life(ProcessRow.objects.latest("id").pk)

    assert incidents() == []


def test_a_pid_that_was_given_to_somebody_else_is_not_its_predecessor() -> None:
    me = psutil.Process()

    assert lives(me.pid, me.create_time())
    assert not lives(me.pid, me.create_time() - 60)
    assert not lives(2**22 - 1, me.create_time())


def test_the_registry_stays_small() -> None:
    me = psutil.Process()
    for _ in range(KEPT + 20):
        processes.record_start("saga@here", me.pid, me.create_time(), 1, lives)

    assert ProcessRow.objects.count() == KEPT


def test_a_database_that_is_away_delays_no_start() -> None:
    """The process starts, and says in its log that it could not be noted."""
    program = "import django; django.setup(); from orders.process_registration import Registration; Registration('saga@here', 1).begin(); print('started')"
    nowhere = {"DATABASE_URL": "postgresql://nobody@127.0.0.1:1/nothing", "DJANGO_SETTINGS_MODULE": "config.settings"}
    begun = time.monotonic()

    run = subprocess.run([sys.executable, "-c", program], cwd=ROOT, env=os.environ | nowhere, capture_output=True, text=True, timeout=30)

    assert run.stdout.strip().endswith("started"), run.stderr
    assert "saga@here could not be noted as a process" in run.stdout + run.stderr
    assert time.monotonic() - begun < 10
