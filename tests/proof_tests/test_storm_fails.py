"""A storm whose promise is broken says so: each kind of breach is made on purpose, on a stack of its own."""

import io
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil
import psycopg
import pytest
from rich.console import Console

from config.stack.errors import StackError
from config.stack.run_directory import hold
from tests.engines import ROOT, RUN_DIR
from tests.proofs.black_box.waiting import wait_for
from tests.proofs.management.commands import storm as command
from tests.proofs.storms.checks import database_sessions
from tests.proofs.storms.client_history import Exchange
from tests.proofs.storms.clients import Clients
from tests.proofs.storms.report import Report
from tests.proofs.storms.scenario import Scenario
from tests.proofs.storms.spec import SMALL
from tests.proofs.storms.storm import Storm

HELD: list[psycopg.Connection] = []
STRAND = "UPDATE fulfillment_saga s SET state = 'needs_attention', wake_at = NULL, closed_at = NULL FROM orders_order o WHERE o.id = s.order_id AND o.number = %s"


def everything_is_broken(storm: Storm) -> None:
    """A second charge, an order at which nobody will look, one that is gone, a lock that is never granted, a wait in vain."""
    twice, stranded, gone = storm.place(3)
    storm.rest(30)
    storm.shop.plant("charge", twice, storm.shop.key(twice, "payment", 2), 1000)
    storm.shop.run(STRAND, stranded)
    storm.numbers[storm.numbers.index(gone)] = "ORD-GONE"
    storm.history.append(Exchange(method="POST", path="/api/v1/orders", status=201, number="ORD-GONE", begun=0, ended=1))
    _a_lock_is_held_and_waited_for(storm)
    storm.until("waiting in vain", lambda: 0, 1, 0.1)


def _a_lock_is_held_and_waited_for(storm: Storm) -> None:
    """Until the database is stopped."""
    HELD.append(psycopg.connect(storm.stack.info["database"]))
    HELD[-1].execute("SELECT pg_advisory_xact_lock(1)")
    threading.Thread(target=suppressed(lambda: storm.shop.sql("SELECT pg_advisory_xact_lock(1)")), daemon=True).start()


def suppressed(call: Callable[[], object]) -> Callable[[], None]:
    def run() -> None:
        with suppress(psycopg.Error):
            call()

    return run


def run(happens: Callable[[Storm], None], name: str) -> Storm:
    scenario = Scenario(name=name, promise="", happens=happens, sizes={SMALL: {}}, minutes={SMALL: 0.2})
    return command._run(scenario, SMALL, 1, lambda what, done, total: None)


def test_every_kind_of_breach_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever loses my order, forgets it or charges me twice in a storm is seen by it."""
    monkeypatch.setattr(database_sessions, "BACK_WITHIN_S", database_sessions.STANDS_AFTER_S + 2)
    storm = run(everything_is_broken, "broken")

    breaches = "\n".join(storm.breaches)
    assert "1 orders were answered 201 and are missing: ORD-GONE" in breaches
    assert "1 orders are open with neither a wake-up nor an incident" in breaches
    assert "1 orders have more than one charge" in breaches
    assert "1 locks are waited for" in breaches
    assert "1 sessions stand still in a transaction" in breaches
    assert "1 statements do not end" in breaches
    assert "clients saw: ORD-GONE: it was there, and was answered 404 later" in breaches
    assert "waiting in vain: 0 of 1 after 0.3 s" in breaches
    assert "the storm does not say when its fault ended" in breaches
    assert "reconcile: " in breaches
    seen = io.StringIO()
    report = Report(Console(file=seen, width=160), SMALL)
    report.scenario(storm, 1)
    report.verdict([storm], time.monotonic())
    assert f"{len(storm.breaches)} BREACHES" in seen.getvalue()
    assert seen.getvalue().endswith(f"1 storms, {len(storm.numbers)} orders, {len(storm.breaches)} breaches\n")


def test_a_storm_that_runs_already_is_left_alone() -> None:
    """My storm of yesterday still rages: today's says so, and takes nothing from it."""
    with (
        hold(RUN_DIR / "unit" / "storm" / "commands" / "raging") or pytest.fail("somebody holds it"),
        pytest.raises(StackError, match="raging runs already"),
    ):
        run(lambda storm: None, "raging")


@pytest.mark.timeout(60)
def test_make_stop_ends_a_storm_and_what_it_has_started(tmp_path: Path) -> None:
    """I forgot one in another window: it says what it has not shown, and nothing of it is left."""
    words = [sys.executable, "manage.py", "storm", "--only", "killed", "--size", "small"]
    raging = subprocess.Popen(words, cwd=ROOT, env=os.environ | {"RUN_DIR": str(tmp_path)}, stderr=subprocess.PIPE, text=True)
    wait_for(lambda: (tmp_path / "storm" / "killed" / "processes.json").exists(), within_s=30)

    stop = ["make", "-s", "-o", ".venv/.runtime", "-o", ".venv/bin/python", "stop"]
    run = subprocess.run(stop, cwd=ROOT, env=os.environ | {"RUN_DIR": str(tmp_path)}, capture_output=True, text=True, timeout=40)

    assert f"{tmp_path}/storm/commands/killed: Stopped." in run.stdout
    assert raging.communicate(timeout=10)[1] == "Interrupted. Not shown: killed.\n"
    assert raging.returncode == command.NOTHING
    assert [process for process in psutil.process_iter(["cmdline"]) if str(tmp_path) in " ".join(process.info["cmdline"] or ())] == []


def test_a_client_that_fails_is_reported_and_none_is_waited_for_when_a_storm_is_left() -> None:
    with (
        Clients([lambda: "ORD-1", lambda: str(1 / 0)]) as clients,
        pytest.raises(AssertionError, match="1 of 2 orders were not placed: ZeroDivisionError"),
    ):
        clients.finish(lambda done: None)

    begun = time.monotonic()
    with pytest.raises(KeyboardInterrupt), Clients([lambda: str(threading.Event().wait(5))] * 100):
        raise KeyboardInterrupt
    assert time.monotonic() - begun < 1
