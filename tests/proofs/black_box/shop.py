"""The shop from outside: its API, its providers' ledger, its database read with plain SQL, its commands and its processes."""

import json
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil
import psycopg

from tests.proofs.black_box.orders import body
from tests.proofs.black_box.processes import standing_still
from tests.proofs.black_box.stack import FOLDER, RunningStack
from tests.proofs.black_box.waiting import wait_for

WORKER = "config.celery_worker"


class Shop:
    """A client of the running stack; ``order`` reads through the API, ``sql`` through the database."""

    def __init__(self, stack: RunningStack, transport: httpx.BaseTransport | None = None, token: str = "", timeout_s: float = 20) -> None:
        """``transport``: what carries the requests of its clients, if somebody writes them down. ``token``: of an API client other than the stack's own."""
        self.stack = stack
        info = stack.info
        # Plain HTTP: no certificates to load (verify).
        headers = {"Authorization": f"Token {token or info['token']}"}
        self.http = httpx.Client(base_url=info["api"], headers=headers, timeout=timeout_s, transport=transport, verify=False)
        self.provider = httpx.Client(base_url=info["sandbox"], timeout=20, verify=False)

    # --- the API ---

    def post(self, body: dict[str, Any], key: str | None = None) -> httpx.Response:
        return self.http.post("/orders", json=body, headers={"Idempotency-Key": key or uuid.uuid4().hex})

    def place(self, **changes: Any) -> str:
        """Place one order and return its number."""
        answer = self.post(body(**changes))
        assert answer.status_code == 201, answer.text
        return str(answer.json()["number"])

    def place_stubbornly(self, within_s: float = 30, key: str | None = None, **changes: Any) -> str:
        """As a client that repeats its request under the same key until it is answered, whatever dies meanwhile."""
        key, order = key or uuid.uuid4().hex, body(**changes)

        def answered() -> str:
            try:
                answer = self.post(order, key)
            except httpx.TransportError:
                return ""
            return str(answer.json()["number"]) if answer.status_code == 201 else ""

        return wait_for(answered, within_s, every_s=0.2)

    def place_many(self, count: int, **changes: Any) -> list[str]:
        with ThreadPoolExecutor(8) as pool:
            return list(pool.map(lambda _: self.place(**changes), range(count)))

    def order(self, number: str) -> dict[str, Any]:
        answer = self.http.get(f"/orders/{number}", params={"expand": "steps,deliveries,timeline"})
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def step(self, number: str, name: str) -> dict[str, Any]:
        return next(step for step in self.order(number)["steps"] if step["name"] == name)

    def cancel(self, number: str) -> httpx.Response:
        return self.http.post(f"/orders/{number}/cancel")

    # --- the database ---

    def sql(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.stack.info["database"], autocommit=True) as connection:
            return connection.execute(query, values).fetchall()

    def run(self, command: str, *values: Any) -> None:
        with psycopg.connect(self.stack.info["database"], autocommit=True) as connection:
            connection.execute(command, values)

    def moving(self) -> int:
        """Sagas that are neither closed nor waiting for a person."""
        return int(self.sql("SELECT count(*) FROM fulfillment_saga WHERE state IN ('running', 'compensating')")[0][0])

    # --- the providers ---

    @contextmanager
    def provider_down(self, *what: str) -> Iterator[None]:
        self.only_down(*what)
        try:
            yield
        finally:
            self.only_down()

    def only_down(self, *what: str) -> None:
        """Exactly these operations are down from now on."""
        self.provider.put("/control", json={"down": list(what)}).raise_for_status()

    def effects(self, number: str | None = None) -> list[dict[str, Any]]:
        """Everything that the provider did, for one order or for all: order, operation, key, amount, currency, at."""
        answer = self.provider.get("/ledger", params={"order": number} if number else {}, timeout=60)
        return list(answer.raise_for_status().json())

    def key(self, number: str, step: str, attempt: int = 1) -> str:
        """Under which the step is asked for; another ``attempt`` has never been."""
        query = (
            "SELECT do_key FROM fulfillment_steprecord r JOIN fulfillment_saga s ON s.id = r.saga_id"
            " JOIN orders_order o ON o.id = s.order_id WHERE o.number = %s AND r.name = %s"
        )
        return str(self.sql(query, number, step)[0][0]).replace(":do:1", f":do:{attempt}")

    def plant(self, operation: str, number: str, key: str, amount: int = 0) -> None:
        """Something that nobody asked for took place at the provider."""
        planted = {"operation": operation, "order": number, "key": key, "amount": amount, "currency": "EUR"}
        self.provider.post("/control/plant", json=planted).raise_for_status()

    # --- its commands ---

    def manage(self, *words: str, within_s: float = 120) -> subprocess.CompletedProcess[str]:
        """A command of the shop, in another terminal."""
        return self.python("manage.py", *words, within_s=within_s)

    def python(
        self, *words: str, within_s: float = 120, variables: Mapping[str, str] | None = None, folder: Path = FOLDER
    ) -> subprocess.CompletedProcess[str]:
        outer = {name: value for name, value in os.environ.items() if name not in ("DATABASE_URL", "CELERY_BROKER_URL")}
        own = {"RUN_DIR": str(self.stack.run_dir), "DEMO_VALUES": "1", "TIME_SCALE": "0.1"}
        return subprocess.run(
            [sys.executable, *words], cwd=folder, env=outer | own | dict(variables or {}), capture_output=True, text=True, timeout=within_s
        )

    def reconcile(self, *words: str) -> tuple[int, dict[str, Any]]:
        """(exit code, report) of ``manage.py reconcile --json``."""
        run = self.manage("reconcile", "--json", *words, within_s=540)
        assert run.stdout, run.stderr
        return run.returncode, json.loads(run.stdout)

    # --- its processes ---

    def arm(self, point: str, action: str) -> None:
        (self.stack.run_dir / "crash" / point).write_text(action)

    def hit(self, point: str) -> tuple[int, str] | None:
        """(pid, order) of whoever reached the point; None: nobody yet."""
        file = self.stack.run_dir / "crash" / f"{point}.hit"
        if not file.exists() or not (words := file.read_text().split()):
            return None
        return int(words[0]), words[1]

    def disarm(self) -> None:
        for file in (self.stack.run_dir / "crash").iterdir():
            file.unlink(missing_ok=True)  # whoever reaches it right now renames it

    def children_of(self, role: str) -> list[int]:
        """The pool of a worker."""
        return [child.pid for child in psutil.Process(self.stack.pid(role)).children()]

    def workers(self) -> list[str]:
        """The roles that are played by workers, whatever they are called. Waits while one is being started again."""
        return wait_for(self._workers)

    def _workers(self) -> list[str]:
        playing = {role: pids[0] for role, pids in self.stack.info["processes"].items() if pids}
        try:
            return [role for role, pid in playing.items() if WORKER in psutil.Process(pid).cmdline()]
        except psutil.NoSuchProcess:
            return []

    def kill_whole(self, role: str) -> int:
        """SIGKILL to the process group of ``role``; returns the pid that died. PostgreSQL's own children end when its postmaster is gone."""
        pid = self.stack.pid(role)
        (os.kill if role == "postgres" else os.killpg)(pid, signal.SIGKILL)
        return pid

    @contextmanager
    def stopped(self, *roles: str) -> Iterator[None]:
        """Processes and their pools stand still meanwhile (SIGSTOP)."""
        frozen = [pid for role in roles for pid in (self.stack.pid(role), *self.children_of(role))]
        with standing_still(frozen):
            yield

    def wait_for_respawn(self, role: str, dead: int, within_s: float = 20) -> None:
        wait_for(lambda: self.stack.pid(role) != dead, within_s)
