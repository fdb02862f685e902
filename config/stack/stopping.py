"""Stopping a stack from another terminal, and ending what a killed one has left."""

import os
import signal
import time
from pathlib import Path

from config.stack import database
from config.stack.errors import StackError
from config.stack.processes import end_leftovers
from config.stack.run_directory import holder

STOPS_WITHIN_S = 90.0


def stop_running(run_dir: Path) -> str:
    """Ask whoever holds this run directory to stop and wait; end what a killed one left. Returns a sentence; empty: nothing ran. Raises StackError."""
    supervisor = holder(run_dir)
    if supervisor is None:
        return _end_what_is_left(run_dir)
    os.kill(supervisor, signal.SIGTERM)
    deadline = time.monotonic() + STOPS_WITHIN_S
    while holder(run_dir) is not None:
        if time.monotonic() > deadline:
            raise StackError(f"The stack (supervisor {supervisor}) has not stopped after {STOPS_WITHIN_S:g} s.")
        time.sleep(0.1)
    return "Stopped."


def _end_what_is_left(run_dir: Path) -> str:
    left = end_leftovers(run_dir / "processes.json")
    if database.is_left(run_dir):
        database.end_what_is_left(run_dir)
        left.append("postgres")
    (run_dir / "stack.json").unlink(missing_ok=True)
    return f"Ended what an earlier run had left: {', '.join(left)}." if left else ""
