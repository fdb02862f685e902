"""The run directory of a stack: who holds it, who may read it, and the secrets in it."""

import contextlib
import os
import secrets
from pathlib import Path
from typing import TextIO

from config.stack import locks
from config.stack.processes import write_whole

PRIVATE = 0o077  # umask: logs, mails, ledgers and messages are read by the user who runs the shop, and by nobody else on the machine
OF_THIS_STACK = ("log", "mail", "valkey", "alive")


def hold(run_dir: Path) -> TextIO | None:
    """The run directory is ours until this is closed or we die, and ``stop_running`` finds us by it. None: it is somebody else's."""
    lock = locks.take(run_dir / "lock")
    if lock is not None:
        write_whole(run_dir / "supervisor.pid", str(os.getpid()))
    return lock


def holder(run_dir: Path) -> int | None:
    """The pid of the supervisor that holds the lock."""
    if not (run_dir / "lock").exists():
        return None
    with locks.take(run_dir / "lock") or contextlib.nullcontext() as lock:
        return None if lock else int((run_dir / "supervisor.pid").read_text())


def close_to_others(run_dir: Path) -> None:
    """What an earlier release has left there under a wider umask. PostgreSQL closes its own folder; other folders are other stacks'."""
    for entry in run_dir.iterdir():
        if entry.is_file() or entry.name in OF_THIS_STACK:
            entry.chmod(entry.stat().st_mode & ~PRIVATE)


def secret(file: Path) -> str:
    """One per run directory, made once."""
    if not file.exists():
        write_whole(file, secrets.token_urlsafe(50))
    return file.read_text()
