"""Pytest plugin: a real PostgreSQL under ``.run/test/`` before Django reads its settings, and the whole stack for tests that want it.

A plugin and not a conftest, because pytest-django reads the settings before any conftest is loaded.
"""

import os
import shutil
import sys
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest

from config.stack import embedded
from tests.proofs import forkserver, prepared
from tests.proofs.black_box.stack import NO_RATE_LIMITS, RunningStack

ROOT = Path(__file__).resolve().parent.parent
RUN_DIR = ROOT / ".run" / "test"


@pytest.hookimpl(wrapper=True)
def pytest_load_initial_conftests(early_config: pytest.Config, args: list[str]) -> Generator[None, Any, Any]:
    """Give the settings a database of the tests' own, whatever runs in this checkout. A wrapper, because it must come before pytest-django's hook."""
    _keep_bytecode()
    _fork_processes(early_config, args)
    url = embedded.start_postgres(RUN_DIR / "unit")
    _do_not_wait_for_the_disk(url)
    os.environ |= {
        "DATABASE_URL": url,
        "CELERY_BROKER_URL": f"redis+socket://{RUN_DIR}/no-broker",
        "RUN_DIR": str(RUN_DIR / "unit"),
        "TIME_SCALE": "0.1",
        "DEMO_VALUES": "1",
        "LOG_FORMAT": "line",
    } | NO_RATE_LIMITS
    if "PYTEST_XDIST_WORKER" not in os.environ:  # the workers share one server, and the first to finish must not stop it
        _migrate_once(url)
        early_config.add_cleanup(lambda: embedded.stop_postgres(RUN_DIR / "unit"))
    return (yield)


def _keep_bytecode() -> None:
    """A run starts a thousand processes: what they import is compiled once, whatever the environment says."""
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.dont_write_bytecode = False


def _fork_processes(early_config: pytest.Config, args: list[str]) -> None:
    """All processes of the run use one forkserver; a quick run starts none that it would fork."""
    if "PYTEST_XDIST_WORKER" not in os.environ and "--quick" not in args and forkserver.is_possible():
        server = forkserver.Forkserver()
        os.environ[forkserver.SOCKET] = server.address
        early_config.add_cleanup(server.end)
    forkserver.install()


def _do_not_wait_for_the_disk(url: str) -> None:
    """Every run makes its databases anew. What waits for the disk is asked on stacks, whose servers do. Without full-page images, bytes of the log are counted."""
    with psycopg.connect(url, autocommit=True) as server:
        server.execute("ALTER SYSTEM SET fsync = off")
        server.execute("ALTER SYSTEM SET full_page_writes = off")
        server.execute("SELECT pg_reload_conf()")


def _migrate_once(url: str) -> None:
    """A database that those of all processes, and of the next runs, are copied from: to migrate one takes five seconds of a core."""
    name = migrated()
    with psycopg.connect(url, autocommit=True) as server:
        if server.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone():
            return
        for (old,) in server.execute("SELECT datname FROM pg_database WHERE datname LIKE 'migrated%'").fetchall():
            server.execute(f'DROP DATABASE "{old}" WITH (FORCE)')
        server.execute("CREATE DATABASE migrated_half")
        prepared.migrate(_other_database(url, "migrated_half"), ROOT)
        server.execute(f'ALTER DATABASE migrated_half RENAME TO "{name}"')


def migrated() -> str:
    return f"migrated_{prepared.state()}"


def _other_database(url: str, name: str) -> str:
    """Of the same server."""
    return urlsplit(url)._replace(path=f"/{name}").geturl()


@pytest.fixture
def show_figure(record_property: Callable[[str, object], None]) -> Callable[[str], None]:
    """A figure that the run shows at its end, whether it passed or not."""
    return lambda line: record_property("line", line)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    reports = [report for outcome in ("passed", "failed") for report in terminalreporter.stats.get(outcome, [])]
    lines = [value for report in reports for name, value in report.user_properties if name == "line"]
    if lines:
        terminalreporter.section("figures")
        for line in lines:
            terminalreporter.line(line)


@pytest.fixture(scope="session")
def stack() -> Iterator[RunningStack]:
    """One for each process of the test run. Crash points may be armed in its folder ``crash``. A compensation's budget is smaller than it would be, so that running
    out of it takes seconds.
    """
    run_dir = RUN_DIR / f"stack{os.environ.get('PYTEST_XDIST_WORKER', '')}"
    folder = run_dir / "crash"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    prepared.lay(run_dir)
    running = RunningStack(run_dir, CRASH_POINTS=str(folder), COMPENSATION_TRIES="6")
    yield running
    running.stop()
