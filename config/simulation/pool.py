"""Simulations side by side: a PostgreSQL of their own, one database and one process each, and one stream of seeds."""

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from queue import Queue
from typing import Any

import psycopg
from django.db.backends.signals import connection_created

from config import embedded

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


@dataclass
class Sum:
    """What all processes have seen so far."""

    histories: int = 0
    moves: int = 0
    endings: Counter[str] = field(default_factory=Counter)
    transitions: Counter[str] = field(default_factory=Counter)
    breaches: list[dict[str, Any]] = field(default_factory=list)

    def add(self, told: dict[str, Any]) -> None:
        self.histories += 1
        self.moves += told["moves"]
        self.endings[f"{told['card']}: {told['ending']}"] += 1
        self.transitions.update(told["transitions"])
        if told["breach"]:
            self.breaches.append(told)


def databases(run_dir: Path, jobs: int, folder: Path) -> list[str]:
    """URLs of ``jobs`` fresh databases with our tables, on an embedded server of their own."""
    server = embedded.start_postgres(run_dir)
    made = []
    with psycopg.connect(server, autocommit=True) as connection:
        for name, value in SERVER.items():
            connection.execute(f"ALTER SYSTEM SET {name} = {value}")
        connection.execute("SELECT pg_reload_conf()")
        for name in ["simulated", *(f"simulated_{job}" for job in range(jobs))]:
            connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        connection.execute("CREATE DATABASE simulated")
        template = server.replace("/postgres?", "/simulated?")
        migrate = [sys.executable, "manage.py", "migrate", "--noinput", "--verbosity=0"]
        subprocess.run(migrate, cwd=folder, env=_environment(template), check=True)
        for job in range(jobs):
            connection.execute(f"CREATE DATABASE simulated_{job} TEMPLATE simulated")
            made.append(server.replace("/postgres?", f"/simulated_{job}?{PREPARED}&"))
    return made


def _environment(database: str) -> dict[str, str]:
    return os.environ | {"DATABASE_URL": database, "CELERY_BROKER_URL": "redis+socket:///nobody", "DEMO_VALUES": "1", "TIME_SCALE": "1"}


def run(urls: list[str], folder: Path, words: list[str], until: Callable[[Sum], bool], progress: Callable[[Sum], None]) -> Sum:
    """Feed every process until ``until`` says enough or a history breaches; returns what they saw."""
    told: Queue[str] = Queue()
    children = []
    for job, url in enumerate(urls):
        command = [sys.executable, "manage.py", "simulate", "--job", f"{job}/{len(urls)}", *words]
        child = subprocess.Popen(command, cwd=folder, env=_environment(url), stdout=subprocess.PIPE, text=True)
        threading.Thread(target=_listen, args=(child, told), daemon=True).start()
        children.append(child)
    seen = Sum()
    try:
        for line in _lines(told, children):
            seen.add(json.loads(line))
            progress(seen)
            if seen.breaches or until(seen):
                break
    finally:
        for child in children:
            child.terminate()
        for child in children:
            child.wait()
    return seen


def _listen(child: "subprocess.Popen[str]", told: "Queue[str]") -> None:
    assert child.stdout is not None
    for line in child.stdout:
        if line.startswith("{"):
            told.put(line)
    told.put("")


def _lines(told: "Queue[str]", children: list["subprocess.Popen[str]"]) -> Iterator[str]:
    """Until every process has ended."""
    ended = 0
    while ended < len(children):
        line = told.get()
        if line:
            yield line
        else:
            ended += 1


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
