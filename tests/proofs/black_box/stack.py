"""A running stack, started as a user starts it: in processes of its own, with a PostgreSQL and a Valkey of its own."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil

from config.stack.errors import StackError
from tests.proofs.black_box.waiting import wait_for
from tests.proofs.forkserver import hear_signals

FOLDER = Path(__file__).resolve().parents[3]
NO_RATE_LIMITS = dict.fromkeys(("ORDERS_READ_PER_MIN", "ORDERS_WRITE_PER_MIN", "ORDERS_CANCEL_PER_MIN", "PRODUCTS_READ_PER_MIN"), "0")
UP_WITHIN_S, STOPPED_WITHIN_S = 90.0, 90.0


class RunningStack:
    """``manage.py up`` in a run directory of its own, with its own PostgreSQL and Valkey. Raises StackError: it did not start.

    ``program``: what runs instead of it.
    """

    def __init__(self, run_dir: Path, program: Sequence[str] = ("manage.py", "up"), **variables: str) -> None:
        self.run_dir = run_dir
        own = {"RUN_DIR": str(run_dir), "TIME_SCALE": "0.1", "DEMO_VALUES": "1"} | NO_RATE_LIMITS
        outer = {name: value for name, value in os.environ.items() if name not in ("DATABASE_URL", "CELERY_BROKER_URL")}
        run_dir.mkdir(parents=True, exist_ok=True)
        self.log = os.fdopen(os.open(run_dir / "up.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w")  # passwords are printed there
        self.process = subprocess.Popen(
            [sys.executable, *program],
            cwd=FOLDER,
            env=outer | own | variables,
            stdout=self.log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=hear_signals,
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
