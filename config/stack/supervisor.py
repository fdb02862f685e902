"""The whole shop on one machine: starts it in order, respawns what dies, stops it in order, and keeps ``stack.json`` true.

Imports no Django: the database that the settings need is started here.
"""

import contextlib
import json
import os
import secrets
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TextIO

from config.stack import embedded, locks
from config.stack.ports import Port, PortTaken, is_free, is_held_by, listens
from config.stack.processes import Child, Command, end_leftovers, note, write_whole

START_WITHIN_S = 60.0
RESPAWN_DELAY_CAP_S = 10.0
PRIVATE = (
    0o077  # umask: what the shop writes (logs, mails, ledgers, messages) is read by the user who runs it, and by nobody else on the machine
)
STOP_ORDER = (("web", "sweep", "relay"), ("saga", "sideeffects"), ("flower", "sandbox", "mail"), ("valkey",))
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
ROLES = ("supervisor", "web", "saga", "sideeffects", "sweep", "relay", "flower", "sandbox", "mail", "postgres", "valkey")


class StackError(Exception):
    """The stack could not start; the message says what, where and what to do."""


class PortLost(Exception):
    """Somebody else has taken the port of ``role`` since we chose it."""

    def __init__(self, role: str) -> None:
        super().__init__(role)
        self.role = role


@dataclass(frozen=True, kw_only=True)
class StackOptions:
    """Where and how to run. A port that is None may move when its default is taken; one that was asked for may not. Flower only watches: nobody misses it."""

    folder: Path
    run_dir: Path
    time_scale: float
    database_url: str = ""
    broker_url: str = ""
    web_port: int | None = None
    flower_port: int | None = None
    sandbox_port: int | None = None
    mail_port: int | None = None
    with_flower: bool = True


class Stack:
    """``with Stack(options) as stack:`` everything runs, watched by a thread; at the end everything is stopped in order."""

    def __init__(self, options: StackOptions, tell: Callable[[str], None] = print) -> None:
        self.options = options
        self.run_dir = options.run_dir.resolve()
        self.tell = tell
        self.children: dict[str, Child] = {}
        self.ports: dict[str, Port] = {}
        self.info: dict[str, Any] = {}
        self._lock_file: TextIO | None = None
        self._postgres_is_down = False
        self._stopping = threading.Event()
        self._watcher = threading.Thread(target=self._watch, name="watcher", daemon=True)

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    # --- start ---

    def start(self) -> None:
        """Return when web answers, and Flower. Raises StackError: already running, a port is taken, or a part does not come up."""
        os.umask(PRIVATE)
        self.run_dir.mkdir(parents=True, exist_ok=True)
        self._take_the_lock()
        (self.run_dir / "stack.json").unlink(missing_ok=True)
        close_to_others(self.run_dir)
        if left := end_leftovers(self.run_dir / "processes.json"):
            self.tell(f"ended what an earlier run had left: {', '.join(left)}")
        self._reserve_ports()
        self._start_engines()
        self._prepare()
        self._start_the_shop()
        self._write_stack_file()
        self._watcher.start()

    def _take_the_lock(self) -> None:
        """The kernel releases it when we die, however we die."""
        self._lock_file = hold(self.run_dir)
        if self._lock_file is None:
            raise StackError(f"A stack is already running in this checkout{self._where_it_runs()}. Stop it with `make stop`.")

    def _where_it_runs(self) -> str:
        try:
            return f": {json.loads((self.run_dir / 'stack.json').read_text())['web']}"
        except (FileNotFoundError, ValueError):
            return " (it is still starting)"

    def _reserve_ports(self) -> None:
        wanted = {
            "web": (self.options.web_port, 8000),
            "flower": (self.options.flower_port, 5555),
            "sandbox": (self.options.sandbox_port, 8900),
            "mail": (self.options.mail_port, 2525),
        }
        try:
            for role, (asked, default) in wanted.items():
                self.ports[role] = Port(asked, default, f"{role.upper()}_PORT")
        except PortTaken as taken:
            raise StackError(str(taken)) from None

    def _start_engines(self) -> None:
        begun = time.monotonic()
        self.database = self.options.database_url or start_postgres(self.run_dir)
        self.broker = self.options.broker_url or embedded.valkey_url(self.run_dir)
        if not self.options.broker_url:
            valkey = Command("valkey", embedded.valkey_command(self.run_dir), answers=lambda: embedded.valkey_answers(self.run_dir))
            self._spawn(valkey)
            self._wait_for(valkey)
        embedded.close_folder(self.run_dir)
        self.tell(f"database and broker are up ({time.monotonic() - begun:.1f} s)")

    def _prepare(self) -> None:
        """Migrations, so that an older run directory is brought up to date; and the shop's catalogue, operator and API client."""
        begun = time.monotonic()
        self._manage("prepare", "--credentials", str(self.run_dir / "credentials.json"))
        self.credentials = json.loads((self.run_dir / "credentials.json").read_text())
        self.tell(f"database is migrated, the shop is stocked ({time.monotonic() - begun:.1f} s)")

    def _start_the_shop(self) -> None:
        """Everything but the engines, from the start again whenever a port was lost: the others have been told where it is."""
        engines = set(self.children)
        while True:
            try:
                self._start_once()
                return
            except PortLost as lost:
                self._stop_children((*STOP_ORDER[:-1], tuple(set(self.children) - engines)), but=engines)
                self._move(lost.role)

    def _start_once(self) -> None:
        for command in self._commands():
            self._spawn(command)
            if command.role in ("sandbox", "mail"):
                self._wait_for(command)
        for role in ("web", "flower"):
            if role in self.children:
                self._wait_for(self.children[role].command)

    def _move(self, role: str) -> None:
        """Raises StackError: the port was asked for by name."""
        was = self.ports[role].number
        try:
            self.ports[role].move()
        except PortTaken as taken:
            raise StackError(str(taken)) from None
        self.tell(f"port {was} was taken by somebody else meanwhile: {role} moves to {self.ports[role].number}")

    def _manage(self, *words: str) -> None:
        run = subprocess.run(
            [sys.executable, "manage.py", *words],
            cwd=self.options.folder,
            env={**os.environ, **self._env()},
            capture_output=True,
            text=True,
        )
        if run.returncode:
            raise StackError(f"manage.py {' '.join(words)} failed:\n{(run.stderr or run.stdout)[-3000:]}")

    def _env(self) -> dict[str, str]:
        return {
            "DATABASE_URL": self.database,
            "CELERY_BROKER_URL": self.broker,
            "SANDBOX_URL": self._url("sandbox"),
            "FLOWER_URL": self._flower_url(),
            "EMAIL_URL": f"smtp://shop:{secret(self.run_dir / 'mail_password')}@127.0.0.1:{self.ports['mail'].number}",
            "RUN_DIR": str(self.run_dir),
            "SECRET_KEY": secret(self.run_dir / "secret_key"),
            "TIME_SCALE": str(self.options.time_scale),
            "DEMO_VALUES": "1",
            "OPERATOR_TOKEN": "",  # a person's, whose shell starts us: no process decides in their name
            "PYTHONUNBUFFERED": "1",
        }

    def _flower_login(self) -> dict[str, str]:
        return {"username": "operator", "password": secret(self.run_dir / "flower_password")}

    def _flower_url(self) -> str:
        """Empty where there is none."""
        return self._url("flower") if self.options.with_flower else ""

    def _url(self, role: str) -> str:
        return f"http://127.0.0.1:{self.ports[role].number}"

    def _commands(self) -> list[Command]:
        """In the order in which they start: Flower last, because it asks the workers who they are."""
        python, run_dir, env = sys.executable, self.run_dir, self._env()
        celery = [python, "-m", "celery", "-A", "config"]
        worker = [*celery, "worker", "-P", "prefork", "-E", "--without-gossip", "--without-mingle", "-l", "INFO"]
        bind = f"127.0.0.1:{self.ports['web'].number}"
        return [
            Command("sandbox", self._sandbox(), env, lambda: answers(self._url("sandbox") + "/healthz")),
            Command(
                "mail",
                [python, "-m", "config.stack.embedded", "--port", str(self.ports["mail"].number), "--dir", str(run_dir / "mail")],
                env,
                lambda: listens(self.ports["mail"].number),
            ),
            Command("saga", [*worker, "-c", "2", "-Q", "undo,saga", "-n", "saga@%h"], env),
            Command("sideeffects", [*worker, "-c", "4", "-Q", "sideeffects", "-n", "sideeffects@%h"], env),
            Command("sweep", [python, "manage.py", "sweep"], env),
            Command("relay", [python, "manage.py", "relay"], env),
            Command(
                "web",
                [
                    python,
                    "-m",
                    "gunicorn",
                    "config.wsgi",
                    "--bind",
                    bind,
                    "--keep-alive",
                    "30",
                    "--workers",
                    "2",
                    "--threads",
                    "4",
                    "--worker-tmp-dir",
                    str(run_dir),
                    "--no-control-socket",
                ],
                env,
                lambda: answers(self._url("web") + "/healthz"),
            ),
            *([self._flower([*celery, "flower"], env)] if self.options.with_flower else []),
        ]

    def _sandbox(self) -> list[str]:
        ledger, scale = self.run_dir / "sandbox.sqlite3", self.options.time_scale
        words = ["--port", str(self.ports["sandbox"].number), "--ledger", str(ledger), "--time-scale", str(scale)]
        return [sys.executable, "-m", "fulfillment.sandbox", *words]

    def _flower(self, words: list[str], env: dict[str, str]) -> Command:
        words = [
            *words,
            "--address=127.0.0.1",
            f"--port={self.ports['flower'].number}",
            "--persistent=True",
            f"--db={self.run_dir / 'flower'}",
        ]
        words += ["--state_save_interval=10000", "--max_tasks=20000", "--purge_offline_workers=300", "--read_only=True"]
        login = {"FLOWER_BASIC_AUTH": ":".join(self._flower_login().values())}  # a command line is read by everybody
        return Command("flower", words, env | login, lambda: answers(self._url("flower") + "/healthcheck"))

    def _spawn(self, command: Command) -> None:
        self.children[command.role] = Child(command, self._folder_of(command.role), self.run_dir / "log" / f"{command.role}.log")
        self._note()

    def _folder_of(self, role: str) -> Path:
        """Whose code it runs."""
        return self.options.folder

    def _note(self) -> None:
        """For whoever comes after us, if we are killed."""
        note(self._leaders(), self.run_dir / "processes.json")

    def _leaders(self) -> dict[str, int]:
        """Role → the pid that leads its session."""
        return {role: child.pid for role, child in self.children.items()}

    def _wait_for(self, command: Command) -> None:
        """Raises PortLost; StackError: it has ended, or does not answer in time."""
        child, deadline = self.children[command.role], time.monotonic() + START_WITHIN_S
        while not self._is_up(child):
            if self._has_lost_its_port(child):
                raise PortLost(command.role)
            if child.is_dead() or time.monotonic() > deadline:
                what = f"exited with {child.process.returncode}" if child.is_dead() else f"does not answer after {START_WITHIN_S:g} s"
                raise StackError(f"{command.role} {what}; the end of {child.log.name}:\n{child.last_lines()}")
            time.sleep(0.05)
        self.tell(f"{command.role} is up")

    def _is_up(self, child: Child) -> bool:
        """Alive, and what answers is its own: never somebody else's server on the same port."""
        port = self.ports.get(child.command.role)
        return not child.is_dead() and (port is None or is_held_by(child.pid, port.number)) and child.command.answers()

    def _has_lost_its_port(self, child: Child) -> bool:
        port = self.ports.get(child.command.role)
        if port is None:
            return False
        if child.is_dead():
            return not is_free(port.number)
        return listens(port.number) and not is_held_by(child.pid, port.number)

    # --- run ---

    def pids(self, role: str) -> list[int]:
        """The main process of ``role`` as of now; empty where an outside server plays it."""
        if role == "supervisor":
            return [os.getpid()]
        if role == "postgres":
            pid = None if self.options.database_url else embedded.postgres_pid(self.run_dir)
            return [pid] if pid else []
        return [self.children[role].pid] if role in self.children else []

    def _write_stack_file(self) -> None:
        web = self._url("web")
        self.info = {
            "web": web,
            "api": f"{web}/api/v1",
            "flower": self._flower_url(),
            "flower_login": self._flower_login(),
            "sandbox": self._url("sandbox"),
            "database": self.database,
            "broker": self.broker,
            "token": self.credentials["token"],
            "admin": self.credentials["admin"],
            "operator_token": self.credentials["operator_token"],
            "processes": self._everybody(),
        }
        write_whole(self.run_dir / "stack.json", json.dumps(self.info, indent=2))

    def _everybody(self) -> dict[str, list[int]]:
        return {role: self.pids(role) for role in ROLES}

    def _watch(self) -> None:
        """Whatever dies comes back; what dies at once comes back more and more slowly."""
        delays: dict[str, float] = {}
        due: dict[str, float] = {}
        while not self._stopping.wait(0.1):
            self._revive_postgres()
            for role, child in list(self.children.items()):
                if not child.is_dead() or self._stopping.is_set() or not self._comes_back(role):
                    continue
                if role not in due:
                    lived = time.monotonic() - child.started
                    delays[role] = 0.0 if lived > 5 else min(max(delays.get(role, 0.0) * 2, 0.5), RESPAWN_DELAY_CAP_S)
                    due[role] = time.monotonic() + delays[role]
                    wait = f" in {delays[role]:g} s" if delays[role] else ""
                    lost = f"; port {self.ports[role].number} is somebody else's" if self._has_lost_its_port(child) else ""
                    self.tell(f"{role} died ({child.process.returncode}), it is started again{wait}{lost}")
                if time.monotonic() >= due[role]:
                    del due[role]
                    self._spawn(child.command)
            if self._everybody() != self.info["processes"]:
                self._write_stack_file()

    def _comes_back(self, role: str) -> bool:
        """Whether it is started again when it has died."""
        return True

    def _revive_postgres(self) -> None:
        """Told once, and only when it answers: while the old server's children are dying, a new one may start and end at once."""
        if self.options.database_url:
            return
        if not embedded.postgres_pid(self.run_dir):
            self._postgres_is_down = True
            with contextlib.suppress(*embedded.NO_SERVER):  # the next round tries again
                embedded.start_postgres(self.run_dir)
        if self._postgres_is_down and embedded.postgres_answers(self.database):
            self._postgres_is_down = False
            self.tell("postgres died, it was started again")

    def wait(self) -> None:
        """Until somebody interrupts."""
        while not self._stopping.wait(0.5):
            pass

    # --- stop ---

    def stop(self) -> None:
        """In order: nothing new comes in, workers finish what they do, then the rest, the engines last. Twice is once."""
        with undisturbed():
            self._stop_everything()

    def _stop_everything(self) -> None:
        if self._lock_file is None:
            return
        self._stopping.set()
        if self._watcher.is_alive():
            self._watcher.join()
        self._stop_children(STOP_ORDER)
        for port in self.ports.values():
            port.release()
        if not self.options.database_url and _has_a_database(self.run_dir):  # also one that was interrupted on its way up
            with contextlib.suppress(*embedded.NO_SERVER):
                embedded.stop_postgres(self.run_dir)
        for name in ("stack.json", "processes.json"):
            (self.run_dir / name).unlink(missing_ok=True)
        self._lock_file.close()
        self._lock_file = None

    def _stop_children(self, order: tuple[tuple[str, ...], ...], but: Collection[str] = ()) -> None:
        for group in order:
            leaving = [self.children.pop(role) for role in group if role in self.children and role not in but]
            for child in leaving:
                child.ask_to_stop()
            for child in leaving:
                child.wait_until_gone()


def _has_a_database(run_dir: Path) -> bool:
    """PostgreSQL runs there, or was killed."""
    return (run_dir / "postgres" / "postmaster.pid").exists()


def _end_the_database(run_dir: Path) -> None:
    """Whatever state a killed supervisor has left it in. Raises StackError."""
    start_postgres(run_dir)
    try:
        embedded.stop_postgres(run_dir)
    except embedded.NO_SERVER as failed:
        raise StackError(f"PostgreSQL in {run_dir} did not stop: {failed}") from failed


def start_postgres(run_dir: Path) -> str:
    """Its URL. An interrupt is heeded once it is up, so that its data are never half made: whoever calls this stops it. Raises StackError."""
    try:
        with postponed():
            return embedded.start_postgres(run_dir)
    except embedded.NO_SERVER as failed:
        raise StackError(f"PostgreSQL did not start: {failed}. Its log is {run_dir / 'postgres' / 'log'}.") from failed


def stop_running(run_dir: Path, within_s: float = 90) -> str:
    """Ask whoever holds this run directory to stop and wait; end what a killed one left. Returns a sentence; empty: nothing ran."""
    file = run_dir / "stack.json"
    supervisor = _holder(run_dir)
    if supervisor is None:
        left = end_leftovers(run_dir / "processes.json")
        if _has_a_database(run_dir):
            _end_the_database(run_dir)
            left.append("postgres")
        file.unlink(missing_ok=True)
        return f"Ended what an earlier run had left: {', '.join(left)}." if left else ""
    os.kill(supervisor, signal.SIGTERM)
    deadline = time.monotonic() + within_s
    while _holder(run_dir) is not None:
        if time.monotonic() > deadline:
            raise StackError(f"The stack (supervisor {supervisor}) has not stopped after {within_s:g} s.")
        time.sleep(0.1)
    return "Stopped."


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """Whoever is stopping already is not interrupted."""
    previous = {number: signal.signal(number, signal.SIG_IGN) for number in STOP_SIGNALS}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def postponed() -> Iterator[None]:
    """Whoever asks us to stop is heeded at the end of the block, and so is Ctrl-C by the children that it starts. Only while no other thread runs."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def in_one_go() -> Iterator[None]:
    """Whoever asks us to stop is heeded at the end of the block: what was begun in it is known by then, and can be ended. Other threads may run."""
    asked: list[int] = []
    previous = {number: signal.signal(number, lambda which, _: asked.append(which)) for number in STOP_SIGNALS}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
    if asked:
        signal.raise_signal(asked[0])


def hold(run_dir: Path) -> TextIO | None:
    """The run directory is ours until this is closed or we die, and ``stop_running`` finds us by it. None: it is somebody else's."""
    lock = locks.take(run_dir / "lock")
    if lock is not None:
        write_whole(run_dir / "supervisor.pid", str(os.getpid()))
    return lock


def _holder(run_dir: Path) -> int | None:
    """The pid of the supervisor that holds the lock."""
    if not (run_dir / "lock").exists():
        return None
    with locks.take(run_dir / "lock") or contextlib.nullcontext() as lock:
        return None if lock else int((run_dir / "supervisor.pid").read_text())


def close_to_others(run_dir: Path) -> None:
    """What an earlier release has left there under a wider umask. PostgreSQL closes its own folder; other folders are other stacks'."""
    for entry in run_dir.iterdir():
        if entry.is_file() or entry.name in ("log", "mail", "valkey", "alive"):
            entry.chmod(entry.stat().st_mode & ~PRIVATE)


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def secret(file: Path) -> str:
    """One per run directory, made once."""
    if not file.exists():
        write_whole(file, secrets.token_urlsafe(50))
    return file.read_text()
