"""The supervisor: starts the whole shop on one machine in order, respawns what dies, stops everything in order, and keeps ``stack.json`` true.

Imports no Django: the database that the settings need is started here.
"""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Collection
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TextIO

from config.stack import commands, embedded
from config.stack.addresses import Addresses
from config.stack.database import OwnDatabase, start_postgres
from config.stack.errors import PortLost, StackError
from config.stack.options import StackOptions
from config.stack.ports import is_free, is_held_by, listens
from config.stack.processes import Child, Command, end_leftovers, note, write_whole
from config.stack.respawning import Respawning
from config.stack.run_directory import PRIVATE, close_to_others, hold
from config.stack.stop_signals import undisturbed

START_WITHIN_S = 60.0
STOP_ORDER = (("web", "sweep", "relay"), ("saga", "sideeffects"), ("flower", "sandbox", "mail"), ("valkey",))
ROLES = ("supervisor", "web", "saga", "sideeffects", "sweep", "relay", "flower", "sandbox", "mail", "postgres", "valkey")


class Stack:
    """``with Stack(options) as stack:`` everything runs, watched by a thread; at the end everything is stopped in order."""

    def __init__(self, options: StackOptions, report: Callable[[str], None] = print) -> None:
        self.options = options
        self.run_dir = options.run_dir.resolve()
        self.report = report
        self.children: dict[str, Child] = {}
        self.addresses = Addresses(options, self.run_dir)
        self.ports = self.addresses.ports
        self.info: dict[str, Any] = {}
        self._lock_file: TextIO | None = None
        self._own_database = None if options.database_url else OwnDatabase(self.run_dir, report)
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
        """Return when web answers, and Flower, where they run. Raises StackError: already running, a port is taken, or a part does not come up."""
        os.umask(PRIVATE)
        self.run_dir.mkdir(parents=True, exist_ok=True)
        self._take_the_lock()
        (self.run_dir / "stack.json").unlink(missing_ok=True)
        close_to_others(self.run_dir)
        if left := end_leftovers(self.run_dir / "processes.json"):
            self.report(f"ended what an earlier run had left: {', '.join(left)}")
        self.addresses.reserve()
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
            running = json.loads((self.run_dir / "stack.json").read_text())
            return f": {running['web']}" if running["processes"]["web"] else " (in maintenance)"
        except (FileNotFoundError, ValueError):
            return " (it is still starting)"

    def _start_engines(self) -> None:
        begun = time.monotonic()
        self.database = self.options.database_url or start_postgres(self.run_dir)
        self.broker = self.options.broker_url or embedded.valkey_url(self.run_dir)
        if not self.options.broker_url:
            valkey = Command("valkey", embedded.valkey_command(self.run_dir), answers=lambda: embedded.valkey_answers(self.run_dir))
            self._spawn(valkey)
            self._wait_for(valkey)
        embedded.close_folder(self.run_dir)
        self.report(f"database and broker are up ({time.monotonic() - begun:.1f} s)")

    def _prepare(self) -> None:
        """Migrations, so that an older run directory is brought up to date; and the shop's catalogue, operator and API client."""
        begun = time.monotonic()
        self._manage("prepare", "--credentials", str(self.run_dir / "credentials.json"))
        self.credentials = json.loads((self.run_dir / "credentials.json").read_text())
        self.report(f"database is migrated, the shop is stocked ({time.monotonic() - begun:.1f} s)")

    def _start_the_shop(self) -> None:
        """Everything but the engines, from the start again whenever a port was lost: the others already have its address."""
        engines = set(self.children)
        while True:
            try:
                self._start_once()
                return
            except PortLost as lost:
                self._stop_children((*STOP_ORDER[:-1], tuple(set(self.children) - engines)), but=engines)
                self.report(self.addresses.move(lost.role))

    def _start_once(self) -> None:
        for command in self._commands():
            self._spawn(command)
            if command.role in ("sandbox", "mail"):
                self._wait_for(command)
        for role in ("web", "flower"):
            if role in self.children:
                self._wait_for(self.children[role].command)

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
        return commands.environment(self.addresses, self.database, self.broker)

    def _commands(self) -> list[Command]:
        return commands.commands(self.addresses, self._env())

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
        self.report(f"{command.role} is up")

    def _is_up(self, child: Child) -> bool:
        """Alive, and what answers is its own: never somebody else's server on the same port. Who holds it is asked last, of each process of the machine."""
        port = self.ports.get(child.command.role)
        its_own = port is None or (listens(port.number) and is_held_by(child.pid, port.number))
        return not child.is_dead() and its_own and child.command.answers()

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
            pid = embedded.postgres_pid(self.run_dir) if self._own_database is not None else None
            return [pid] if pid else []
        return [self.children[role].pid] if role in self.children else []

    def _write_stack_file(self) -> None:
        web = self.addresses.url("web")
        self.info = {
            "web": web,
            "api": f"{web}/api/v1",
            "flower": self.addresses.flower_url(),
            "flower_login": self.addresses.flower_login(),
            "sandbox": self.addresses.url("sandbox"),
            "database": self.database,
            "broker": self.broker,
            "bus": self._env()["BUS_URL"],
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
        respawning = Respawning()
        while not self._stopping.wait(0.1):
            if self._own_database is not None:
                self._own_database.revive(self.database)
            for role, child in list(self.children.items()):
                if child.is_dead() and not self._stopping.is_set() and self._comes_back(role):
                    self._respawn(role, child, respawning)
            if self._everybody() != self.info["processes"]:
                self._write_stack_file()

    def _respawn(self, role: str, child: Child, respawning: Respawning) -> None:
        if respawning.notes_death(role, time.monotonic() - child.started):
            wait = f" in {respawning.delay_s(role):g} s" if respawning.delay_s(role) else ""
            lost = f"; port {self.ports[role].number} is somebody else's" if self._has_lost_its_port(child) else ""
            self.report(f"{role} died ({child.process.returncode}), it is started again{wait}{lost}")
        if respawning.takes(role):
            self._spawn(child.command)

    def _comes_back(self, role: str) -> bool:
        """Whether it is started again when it has died."""
        return True

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
        self.addresses.release()
        if self._own_database is not None:
            self._own_database.stop()
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
