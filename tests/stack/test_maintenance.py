"""Promise: a stack whose database was restored can be recovered: it has everything that the recovery needs, and nobody who works on orders."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engines import ROOT, RUN_DIR
from tests.proofs import prepared
from tests.proofs.black_box.stack import RunningStack

HERE = RUN_DIR / "maintenance"
UP, DOWN = ["sandbox", "mail", "postgres", "valkey"], ["web", "saga", "sideeffects", "sweep", "relay", "flower"]


@pytest.fixture(scope="module")
def maintained() -> Iterator[RunningStack]:
    prepared.lay(HERE)
    running = RunningStack(HERE, ("manage.py", "up", "--maintenance"))
    yield running
    if running.process.poll() is None:
        running.stop()


def manage(*words: str, run_dir: Path = HERE) -> subprocess.CompletedProcess[str]:
    """As in another terminal."""
    outer = {name: value for name, value in os.environ.items() if name not in ("DATABASE_URL", "CELERY_BROKER_URL")}
    own = {"RUN_DIR": str(run_dir), "TIME_SCALE": "0.1"}
    return subprocess.run([sys.executable, "manage.py", *words], cwd=ROOT, env=outer | own, capture_output=True, text=True, timeout=90)


def test_what_a_recovery_needs_is_up_and_nobody_works_on_orders(maintained: RunningStack) -> None:
    processes = maintained.info["processes"]

    assert {role: len(processes[role]) for role in (*UP, *DOWN)} == dict.fromkeys(UP, 1) | dict.fromkeys(DOWN, 0)
    assert maintained.info["flower"] == ""


def test_one_line_says_what_may_be_done_and_how_the_shop_is_opened(maintained: RunningStack) -> None:
    (line,) = [line for line in (HERE / "up.log").read_text().splitlines() if line.startswith("Maintenance:")]

    assert "web, workers, sweep, relay and Flower are not" in line
    assert "`manage.py recover --restored`" in line
    assert "To open the shop: stop this, then `make up`." in line
    assert "The shop is open" not in (HERE / "up.log").read_text()


def test_the_recovery_runs(maintained: RunningStack) -> None:
    """I follow the runbook, and nothing is at work."""
    shown = manage("recover", "--restored")

    assert (shown.returncode, shown.stderr) == (0, "")
    assert "Nothing was done. To go on: python manage.py recover --restored --yes" in shown.stdout


def test_a_second_stack_is_told_that_this_one_is_in_maintenance(maintained: RunningStack) -> None:
    second = manage("up")

    assert second.returncode == 1
    assert "A stack is already running in this checkout (in maintenance). Stop it with `make stop`." in second.stderr


def test_it_is_stopped_as_every_stack_is(maintained: RunningStack) -> None:
    """Nothing of this file runs after it on this stack."""
    assert manage("up", "--stop").stdout.strip() == "Stopped."
    assert maintained.process.wait(10) == 0
    assert not (HERE / "stack.json").exists()


def test_without_a_database_the_way_into_maintenance_is_named(tmp_path: Path) -> None:
    refused = manage("recover", "--restored", run_dir=tmp_path)

    assert refused.returncode == 1
    assert "`manage.py up --maintenance`" in refused.stderr
