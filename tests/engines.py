"""Pytest plugin: a real PostgreSQL under ``.run/test/`` before Django reads its settings, and the whole stack for tests that want it.

A plugin and not a conftest, because pytest-django reads the settings before any conftest is loaded.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

from config import embedded

ROOT = Path(__file__).resolve().parent.parent
RUN_DIR = ROOT / ".run" / "test"
Found = TypeVar("Found")


@pytest.hookimpl(wrapper=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> Generator[None, Any, Any]:
    """Give the settings a database of the tests' own, whatever runs in this checkout. A wrapper, because it must come before pytest-django's hook."""
    url = embedded.start_postgres(RUN_DIR / "unit")
    os.environ |= {
        "DATABASE_URL": url,
        "CELERY_BROKER_URL": f"redis+socket://{RUN_DIR}/no-broker",
        "RUN_DIR": str(RUN_DIR / "unit"),
        "TIME_SCALE": "0.1",
        "DEMO_VALUES": "1",
    }
    if "PYTEST_XDIST_WORKER" not in os.environ:  # the workers share one server, and the first to finish must not stop it
        early_config.add_cleanup(lambda: embedded.stop_postgres(RUN_DIR / "unit"))
    return (yield)


@pytest.fixture
def tell(record_property: Callable[[str, object], None]) -> Callable[[str], None]:
    """A figure that the run shows at its end, whether it passed or not."""
    return lambda line: record_property("told", line)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    reports = [report for outcome in ("passed", "failed") for report in terminalreporter.stats.get(outcome, [])]
    told = [value for report in reports for name, value in report.user_properties if name == "told"]
    if told:
        terminalreporter.section("figures")
        for line in told:
            terminalreporter.line(line)


def wait_for(question: Callable[[], Found], within_s: float = 20, every_s: float = 0.05) -> Found:
    """The first truthy answer. Fails with the last one after ``within_s`` seconds."""
    deadline = time.monotonic() + within_s
    while not (answer := question()):
        if time.monotonic() > deadline:
            pytest.fail(f"nothing after {within_s} s: {answer!r}", pytrace=True)
        time.sleep(every_s)
    return answer


def as_a_terminal_starts_it() -> None:
    """Ctrl-C is heard, also where the test run itself was started with ``&``."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class RunningStack:
    """``manage.py up`` in a run directory of its own: web, workers, sweep, Flower, sandbox, mail, PostgreSQL and Valkey."""

    def __init__(self, run_dir: Path, **variables: str) -> None:
        self.run_dir = run_dir
        own = {"RUN_DIR": str(run_dir), "TIME_SCALE": "0.1", "DEMO_VALUES": "1"}
        outer = {name: value for name, value in os.environ.items() if name not in ("DATABASE_URL", "CELERY_BROKER_URL")}
        run_dir.mkdir(parents=True, exist_ok=True)
        self.log = (run_dir / "up.log").open("w")
        self.process = subprocess.Popen(
            [sys.executable, "manage.py", "up"],
            cwd=ROOT,
            env=outer | own | variables,
            stdout=self.log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=as_a_terminal_starts_it,
        )
        wait_for(self._is_up, within_s=90)

    def _is_up(self) -> bool:
        if self.process.poll() is not None:
            pytest.fail(f"manage.py up exited with {self.process.returncode}:\n{(self.run_dir / 'up.log').read_text()[-4000:]}")
        return (self.run_dir / "stack.json").exists() and self.pid("supervisor") == self.process.pid

    @property
    def info(self) -> dict[str, Any]:
        """stack.json as it is now: pids change when something is respawned."""
        found: dict[str, Any] = json.loads((self.run_dir / "stack.json").read_text())
        return found

    def pid(self, role: str) -> int:
        """Waits while the role is being started again."""
        return int(wait_for(lambda: self.info["processes"][role])[0])

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)
        self.log.close()


@pytest.fixture(scope="session")
def stack() -> Iterator[RunningStack]:
    """One for each process of the test run. Crash points may be armed in its folder ``crash``. An undo's budget is smaller than it would be, so that running
    out of it takes seconds.
    """
    run_dir = RUN_DIR / f"stack{os.environ.get('PYTEST_XDIST_WORKER', '')}"
    folder = run_dir / "crash"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    running = RunningStack(run_dir, CRASH_POINTS=str(folder), UNDO_TRIES="6")
    yield running
    running.stop()
