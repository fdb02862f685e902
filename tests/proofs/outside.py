"""The shop as the outside sees it: a stack in processes of its own, its API, its providers' ledger, its database read with plain SQL, and its processes, which
may be frozen and killed. For storms and tests: nothing here runs the shop's code, so nothing here shares its mistakes.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import httpx
import psutil
import psycopg

from config.stack.errors import StackError

FOLDER = Path(__file__).resolve().parents[2]
ADDRESS = {"name": "Amara Okafor", "line1": "12 Harbour Rd", "city": "Cork", "postal_code": "T12 X7YZ", "country": "IE"}
UP_WITHIN_S, STOPPED_WITHIN_S = 90.0, 90.0
SOON_S, RARELY_S = 0.05, 0.25  # between two questions, at first and later
GOOD_CARD = "tok_ok"
Found = TypeVar("Found")


class NothingCame(AssertionError):
    """What was waited for did not happen in time; the message says what was seen last."""


def wait_for(question: Callable[[], Found], within_s: float = 20, every_s: float | None = None) -> Found:
    """The first truthy answer. Without ``every_s`` it asks less often the longer it waits, because each question costs the shop an answer.

    Raises NothingCame with the last one after ``within_s`` seconds.
    """
    begun = time.monotonic()
    while not (answer := question()):
        waited_s = time.monotonic() - begun
        if waited_s > within_s:
            raise NothingCame(f"nothing after {within_s:g} s: {answer!r}")
        time.sleep(every_s or min(max(SOON_S, waited_s / 10), RARELY_S))
    return answer


class RunningStack:
    """``manage.py up`` in a run directory of its own, with its own PostgreSQL and Valkey. Raises StackError: it did not start.

    ``program``: what runs instead of it.
    """

    def __init__(self, run_dir: Path, program: Sequence[str] = ("manage.py", "up"), **variables: str) -> None:
        self.run_dir = run_dir
        own = {"RUN_DIR": str(run_dir), "TIME_SCALE": "0.1", "DEMO_VALUES": "1"}
        outer = {name: value for name, value in os.environ.items() if name not in ("DATABASE_URL", "CELERY_BROKER_URL")}
        run_dir.mkdir(parents=True, exist_ok=True)
        self.log = os.fdopen(os.open(run_dir / "up.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w")  # passwords are told there
        self.process = subprocess.Popen(
            [sys.executable, *program],
            cwd=FOLDER,
            env=outer | own | variables,
            stdout=self.log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=_as_a_terminal_starts_it,
        )
        try:
            wait_for(self._is_up, within_s=UP_WITHIN_S)
        except BaseException:
            self.process.terminate()
            raise

    def _is_up(self) -> bool:
        if self.process.poll() is not None:
            raise StackError(f"manage.py up exited with {self.process.returncode}:\n{(self.run_dir / 'up.log').read_text()[-4000:]}")
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
        """Raises StackError: it did not, and was killed."""
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(STOPPED_WITHIN_S)
        except subprocess.TimeoutExpired:
            self.kill_everything()
            raise StackError(f"The stack in {self.run_dir.name} did not stop within {STOPPED_WITHIN_S:g} s, and was killed.") from None
        self.log.close()

    def kill_everything(self) -> None:
        """SIGKILL to every process of it at once, the supervisor and the database included."""
        everybody = [psutil.Process(pid) for pids in self.info["processes"].values() for pid in pids]
        everybody += [child for process in everybody for child in process.children(recursive=True)]
        for process in everybody:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(everybody, timeout=10)
        self.process.wait(10)
        self.log.close()


def _as_a_terminal_starts_it() -> None:
    """Ctrl-C is heard, also where we were started with ``&``."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Shop:
    """A client of the running stack; ``order`` reads through the API, ``sql`` through the database."""

    def __init__(self, stack: RunningStack, transport: httpx.BaseTransport | None = None) -> None:
        """``transport``: what carries the requests of its clients, if somebody writes them down."""
        self.stack = stack
        info = stack.info
        self.http = httpx.Client(base_url=info["api"], headers={"Authorization": f"Token {info['token']}"}, timeout=20, transport=transport)
        self.provider = httpx.Client(base_url=info["sandbox"], timeout=20)

    # --- the front door ---

    def post(self, body: dict[str, Any], key: str | None = None) -> httpx.Response:
        return self.http.post("/orders", json=body, headers={"Idempotency-Key": key or uuid.uuid4().hex})

    def place(self, **changes: Any) -> str:
        """Place one order and return its number."""
        answer = self.post(body(**changes))
        assert answer.status_code == 201, answer.text
        return str(answer.json()["number"])

    def place_stubbornly(self, within_s: float = 30, **changes: Any) -> str:
        """As a client that repeats its request under the same key until it is answered, whatever dies meanwhile."""
        key, order = uuid.uuid4().hex, body(**changes)

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
        answer = self.http.get(f"/orders/{number}")
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
            return [role for role, pid in playing.items() if "worker" in psutil.Process(pid).cmdline()]
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


@contextmanager
def standing_still(pids: Sequence[int]) -> Iterator[None]:
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


def body(
    sku: str = "TENT-2P-GRN", quantity: int = 1, token: str = GOOD_CARD, postal_code: str = "T12 X7YZ", email: str = "amara@example.com"
) -> dict[str, Any]:
    """One order as a client sends it."""
    return {
        "reference": "test",
        "currency": "EUR",
        "customer": {"email": email, "name": "Amara Okafor"},
        "lines": [{"sku": sku, "quantity": quantity}],
        "payment": {"token": token},
        "shipping_address": ADDRESS | {"postal_code": postal_code},
    }
