"""Promise: one command starts the whole shop, a second one is told so, and however it ends nothing is left behind and nothing is lost."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import psycopg
import pytest

from config.stack import embedded
from tests.engines import ROOT, RUN_DIR
from tests.proofs.black_box.orders import body
from tests.proofs.black_box.stack import RunningStack
from tests.proofs.black_box.waiting import wait_for

HERE = RUN_DIR / "own"
KEYS = ["web", "api", "flower", "flower_login", "sandbox", "database", "broker", "bus", "token", "admin", "operator_token", "processes"]
ROLES = ["supervisor", "web", "saga", "sideeffects", "sweep", "relay", "flower", "sandbox", "mail", "postgres", "valkey"]


def manage(*words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    outer = {name: value for name, value in os.environ.items() if name not in ("DATABASE_URL", "CELERY_BROKER_URL")}
    own = {"RUN_DIR": str(HERE), "TIME_SCALE": "0.1"}
    return subprocess.run(
        [sys.executable, "manage.py", *words], cwd=ROOT, env=outer | own | variables, capture_output=True, text=True, timeout=90
    )


def everybody(info: dict[str, Any]) -> list[psutil.Process]:
    """Main processes and their pools."""
    mains = [psutil.Process(pid) for pids in info["processes"].values() for pid in pids]
    return mains + [child for main in mains for child in main.children(recursive=True)]


def gone(processes: list[psutil.Process]) -> bool:
    return not any(alive(process) for process in processes)


def alive(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def name_of(process: psutil.Process) -> str:
    try:
        return str(process.name())
    except psutil.NoSuchProcess:
        return ""


@pytest.fixture
def own() -> Iterator[Any]:
    """A stack that these tests may kill; each start is the same run directory again."""
    running: list[RunningStack] = []

    def start() -> RunningStack:
        running.append(RunningStack(HERE))
        return running[-1]

    yield start
    for stack in running:
        if stack.process.poll() is None:
            stack.stop()
    manage("up", "--stop")


def test_the_life_of_a_stack(own: Any) -> None:
    """Started, found, refused a second time, killed, adopted, brought up to date, stopped; the order placed first is there at the end."""
    first = own()
    info = first.info
    assert list(info) == KEYS
    assert list(info["processes"]) == ROLES
    assert info["api"] == info["web"] + "/api/v1"
    number = _place(info)
    second = manage("up")
    assert second.returncode == 1
    assert f"A stack is already running in this checkout: {info['web']}" in second.stderr

    left = [process for process in everybody(info) if process.pid != first.process.pid]
    first.process.kill()
    first.process.wait()
    _forget_a_migration(info["database"])
    next_one = own()

    assert gone([process for process in left if "postgres" not in name_of(process)])
    assert "ended what an earlier run had left" in (HERE / "up.log").read_text()
    assert _recommends(next_one.info), "an older run directory is migrated at start"
    assert _order(next_one.info, number).status_code == 200

    everyone = everybody(next_one.info)
    assert (HERE / "stack.json").stat().st_mode & 0o077 == 0, "what holds secrets is readable by its owner alone"
    os.killpg(next_one.process.pid, signal.SIGINT)  # Ctrl-C
    next_one.process.wait(60)

    assert gone(everyone)
    assert not (HERE / "stack.json").exists()
    assert manage("up", "--stop").stdout.strip() == "No stack is running in this checkout."


def test_a_port_that_was_asked_for_and_is_taken_is_named() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]

        run = manage("up", WEB_PORT=str(port))

    assert run.returncode == 1
    assert f"Port {port} is taken: set WEB_PORT to another one" in run.stderr


def test_servers_of_ones_own_are_used_and_nothing_embedded_starts(tmp_path: Path) -> None:
    """With DATABASE_URL and CELERY_BROKER_URL the shop runs on them; and without Flower, if somebody wants it so."""
    database = embedded.start_postgres(tmp_path)
    valkey = subprocess.Popen(embedded.valkey_command(tmp_path), stdout=subprocess.DEVNULL)
    try:
        wait_for(lambda: embedded.valkey_answers(tmp_path))
        variables = {"DATABASE_URL": database, "CELERY_BROKER_URL": embedded.valkey_url(tmp_path)}
        running = RunningStack(tmp_path / "run", ("manage.py", "up", "--without-flower"), **variables)
        info = running.info
        number = _place(info)
        wait_for(lambda: _order(info, number).json()["status"] == "fulfilled")
        assert manage("up", "--stop", RUN_DIR=str(tmp_path / "run")).stdout.strip() == "Stopped."
        running.process.wait(10)
        assert (info["database"], info["broker"]) == tuple(variables.values())
        assert info["processes"]["postgres"] == info["processes"]["valkey"] == []
        assert (info["flower"], info["processes"]["flower"]) == ("", [])
        assert not (tmp_path / "run" / "postgres").exists()
        assert valkey.poll() is None
    finally:
        valkey.terminate()
        valkey.wait()
        embedded.stop_postgres(tmp_path)


def _headers(info: dict[str, Any]) -> dict[str, str]:
    return {"Authorization": f"Token {info['token']}"}


def _place(info: dict[str, Any]) -> str:
    answer = httpx.post(info["api"] + "/orders", json=body(), headers=_headers(info) | {"Idempotency-Key": "first"})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["number"])


def _order(info: dict[str, Any], number: str) -> httpx.Response:
    return httpx.get(f"{info['api']}/orders/{number}", headers=_headers(info))


def _forget_a_migration(database: str) -> None:
    """As a run directory of an older version would be."""
    with psycopg.connect(database) as connection:
        connection.execute("DROP TABLE sideeffects_recommendations_copurchase")
        connection.execute("DELETE FROM django_migrations WHERE app = 'sideeffects_recommendations'")


def _recommends(info: dict[str, Any]) -> bool:
    return httpx.get(info["api"] + "/products/TENT-2P-GRN/recommendations", headers=_headers(info)).status_code == 200
