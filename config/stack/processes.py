"""Child processes: each a session of its own, recognised by pid and start time, so that nobody else's process is ever ended."""

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import psutil

GRACE_S = 20.0  # for a warm shutdown: a call that runs is over by then; a task that stands still is killed, and its lease takes it over
LINES_SHOWN = 15  # of the log of a process that has not come up


@dataclass(frozen=True)
class Command:
    """What runs as ``role``: ``argv`` with ``env`` on top of ours. ``answers`` says that it is up."""

    role: str
    argv: list[str]
    env: Mapping[str, str] = field(default_factory=dict)
    answers: Callable[[], bool] = lambda: True


class Child:
    """One running command; its output goes to a log file, so that it outlives nobody and blocks on nobody."""

    def __init__(self, command: Command, folder: Path, log: Path) -> None:
        self.command = command
        self.log = log
        self.started = time.monotonic()
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                command.argv,
                cwd=folder,
                env={**os.environ, **command.env},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self.process.pid

    def is_dead(self) -> bool:
        return self.process.poll() is not None

    def ask_to_stop(self) -> None:
        """SIGTERM to the main process alone: a signal to its pool would cost a running task its answer."""
        if not self.is_dead():
            self.process.terminate()

    def wait_until_gone(self, grace_s: float = GRACE_S) -> None:
        """Wait for it to end by itself, then end its whole session."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(grace_s)
        end_session(self.pid)
        self.process.wait()

    def last_lines(self) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-LINES_SHOWN:])


def end_session(pid: int) -> None:
    """SIGKILL to every process of the session that ``pid`` leads, if any is left."""
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


# --- what a supervisor that was killed has left ---------------------------------------------------------------------------


def note(pids: Mapping[str, int], file: Path) -> None:
    """Remember who runs, by pid and start time: a pid alone may be somebody else's by tomorrow."""
    known = []
    for role, pid in pids.items():
        try:
            known.append({"role": role, "pid": pid, "started": psutil.Process(pid).create_time()})
        except psutil.NoSuchProcess:
            continue
    write_whole(file, json.dumps(known))


def end_leftovers(file: Path) -> list[str]:
    """End what an earlier supervisor left behind; returns the roles that were still running."""
    try:
        known = json.loads(file.read_text())
    except (FileNotFoundError, ValueError):
        return []
    left = [entry for entry in known if _session_is_theirs(entry["pid"], entry["started"])]
    for entry in left:
        end_session(entry["pid"])
    deadline = time.monotonic() + 10
    while any(psutil.pid_exists(entry["pid"]) for entry in left) and time.monotonic() < deadline:
        time.sleep(0.05)
    file.unlink(missing_ok=True)
    return [entry["role"] for entry in left]


def _session_is_theirs(pid: int, started: float) -> bool:
    try:
        return bool(abs(psutil.Process(pid).create_time() - started) < 1)
    except psutil.NoSuchProcess:
        return _pool_survives(pid, started)


def _pool_survives(leader: int, started: float) -> bool:
    """The leader is dead, but a child of its session, born after it, is not."""
    for process in psutil.process_iter(["pid", "create_time"]):
        try:
            if os.getsid(process.pid) == leader and process.create_time() >= started - 1:
                return True
        except (ProcessLookupError, PermissionError, psutil.NoSuchProcess):
            continue
    return False


def write_whole(file: Path, text: str) -> None:
    """Readers see the old file or the new one, never half; only the owner may read it."""
    half = file.with_suffix(".half")
    descriptor = os.open(half, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as out:
        out.write(text)
    half.replace(file)
