"""Simulations side by side: a PostgreSQL of their own, one database and one process each, and one stream of seeds."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from queue import Queue
from typing import Any, TypeAlias

import psycopg
from django.db.backends.signals import connection_created

from config.stack import embedded
from config.stack.database import start_postgres
from config.stack.errors import StackError
from config.stack.run_directory import hold
from config.stack.stop_signals import STOP_SIGNALS, undisturbed
from tests.proofs import prepared

# What a crash may take is simulated: the real disk is not waited for. A statement is planned once, while tables are small; by index, as they will grow.
SERVER = {
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "jit": "off",
    "enable_seqscan": "off",
    "plan_cache_mode": "force_generic_plan",
}
# Else half of the server's work is to plan the same statements again. The tests run the simulation as production binds: in the client.
PREPARED = "server_side_binding=true&prepare_threshold=1"
Child: TypeAlias = "subprocess.Popen[str]"


class NothingSimulated(Exception):
    """The simulation itself did not run; the message says what failed, and what to do."""


@dataclass
class Sum:
    """What all processes have seen so far."""

    histories: int = 0
    moves: int = 0
    endings: Counter[str] = field(default_factory=Counter)
    transitions: Counter[str] = field(default_factory=Counter)
    breaches: list[dict[str, Any]] = field(default_factory=list)

    def add(self, verdict: dict[str, Any]) -> None:
        self.histories += 1
        self.moves += verdict["moves"]
        self.endings[f"{verdict['capabilities']}: {verdict['ending']}"] += 1
        self.transitions.update(verdict["transitions"])
        if verdict["breach"]:
            self.breaches.append(verdict)


@contextlib.contextmanager
def databases(run_dir: Path, jobs: int, folder: Path) -> Iterator[list[str]]:
    """URLs of ``jobs`` fresh databases with our tables, on an embedded server that is ours alone and stops at the end. Raises NothingSimulated."""
    lock = hold(run_dir)
    if lock is None:
        raise NothingSimulated("A simulation is already running in this checkout: wait for it, or stop it with `make stop`.")
    with lock:
        try:
            yield _fresh(_server(run_dir), jobs, folder)
        finally:
            with undisturbed(), contextlib.suppress(*embedded.NO_SERVER):
                embedded.stop_postgres(run_dir)


def _server(run_dir: Path) -> str:
    try:
        return start_postgres(run_dir)
    except StackError as refused:
        raise NothingSimulated(f"{refused} {run_dir} can be deleted safely.") from refused


def _fresh(server: str, jobs: int, folder: Path) -> list[str]:
    try:
        with psycopg.connect(server, autocommit=True) as connection:
            return _made(connection, server, jobs, folder)
    except psycopg.Error as failed:
        raise NothingSimulated(f"PostgreSQL made no databases: {failed}") from failed
    except StackError as failed:
        raise NothingSimulated(str(failed)) from failed


def _made(connection: "psycopg.Connection[Any]", server: str, jobs: int, folder: Path) -> list[str]:
    for name, value in SERVER.items():
        connection.execute(f"ALTER SYSTEM SET {name} = {value}")
    connection.execute("SELECT pg_reload_conf()")
    for name in ["simulated", *(f"simulated_{job}" for job in range(jobs))]:
        connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
    connection.execute("CREATE DATABASE simulated")
    prepared.migrate(server.replace("/postgres?", "/simulated?"), folder)
    for job in range(jobs):
        connection.execute(f"CREATE DATABASE simulated_{job} TEMPLATE simulated")
    return [server.replace("/postgres?", f"/simulated_{job}?{PREPARED}&") for job in range(jobs)]


def run(seen: Sum, urls: list[str], folder: Path, words: list[str], until: Callable[[Sum], bool], progress: Callable[[Sum], None]) -> None:
    """Add to ``seen`` what every process sees, until ``until`` says enough or a history breaches. None of them outlives this. Raises NothingSimulated."""
    output: Queue[str | Child] = Queue()
    children: list[Child] = []
    try:
        for job, url in enumerate(urls):
            command = [sys.executable, "manage.py", "simulate", "--job", f"{job}/{len(urls)}", *words]
            with _in_one_go():
                children.append(_child(command, folder, url, output))
        for line in _lines(output, len(children)):
            seen.add(json.loads(line))
            progress(seen)
            if seen.breaches or until(seen):
                break
    finally:
        with undisturbed():
            for child in children:
                child.kill()
                child.wait()


@contextlib.contextmanager
def _in_one_go() -> Iterator[None]:
    """A signal that asks us to stop is handled at the end of the block: what was begun in it is known by then, and can be ended. Other threads may run."""
    asked: list[int] = []
    previous = {number: signal.signal(number, lambda which, _: asked.append(which)) for number in STOP_SIGNALS}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
    if asked:
        signal.raise_signal(asked[0])


def _child(command: list[str], folder: Path, url: str, output: "Queue[str | Child]") -> "Child":
    """In a session of its own: Ctrl-C reaches us, and we end it."""
    child = subprocess.Popen(command, cwd=folder, env=prepared.environment(url), stdout=subprocess.PIPE, text=True, start_new_session=True)
    threading.Thread(target=_listen, args=(child, output), daemon=True).start()
    return child


def _listen(child: "Child", output: "Queue[str | Child]") -> None:
    assert child.stdout is not None
    for line in child.stdout:
        if line.startswith("{"):
            output.put(line)
    output.put(child)


def _lines(output: "Queue[str | Child]", running: int) -> Iterator[str]:
    """Until every process has ended. Raises NothingSimulated: one has failed."""
    while running:
        line = output.get()
        if isinstance(line, str):
            yield line
            continue
        if code := line.wait():
            raise NothingSimulated(f"A process of the simulation has failed (exit code {code}); what it said stands above.")
        running -= 1


# --- in each of the processes ---


def stay_on_one_core(job: int) -> None:
    """A process and those of the server that serve it take turns: on one core they wake each other at once. Does nothing where the system has no such call."""
    if hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cores[job % len(cores)]})
        connection_created.connect(_come_along)


def _come_along(connection: Any, **_: Any) -> None:
    with contextlib.suppress(PermissionError):  # a server of another user stays where it is
        os.sched_setaffinity(connection.connection.info.backend_pid, os.sched_getaffinity(0))


# --- until when ---


def minutes_pass(minutes: float) -> Callable[[Sum], bool]:
    ends = time.monotonic() + minutes * 60
    return lambda _: time.monotonic() >= ends


def histories_pass(count: int) -> Callable[[Sum], bool]:
    return lambda seen: seen.histories >= count
