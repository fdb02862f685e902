"""A second saga worker, as on another machine."""

import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import psutil

from config.stack.processes import end_session, note
from tests.proofs.black_box.stack import FOLDER
from tests.proofs.black_box.waiting import wait_for
from tests.proofs.storms.storm import Storm

OWN_PROCESSES = "2"  # of the shop's own saga worker (config/stack/commands.py)


class SpareWorker:
    def __init__(self, storm: Storm, processes: int) -> None:
        own = psutil.Process(storm.stack.pid("saga"))
        self.processes = processes
        self._words = [{OWN_PROCESSES: str(processes), "saga@%h": "spare@%h"}.get(word, word) for word in own.cmdline()]
        self._environment = own.environ()
        self._log = storm.run_dir / "log" / "spare.log"
        self._known = storm.left_behind
        self._process = self._start()

    def _start(self) -> "subprocess.Popen[bytes]":
        with self._log.open("ab") as log:
            process = subprocess.Popen(self._words, cwd=FOLDER, env=self._environment, stdout=log, stderr=log, start_new_session=True)
        note({"spare": process.pid}, self._known)
        return process

    def be_ready(self) -> None:
        """Started again if need be: one that no longer hears its broker has ended itself."""
        if self.has_ended():
            self.end()
            self._process = self._start()
        wait_for(lambda: len(self.pids()) > self.processes, 30)

    def has_ended(self) -> bool:
        return self._process.poll() is not None

    def pids(self) -> list[int]:
        """Its own, and its pool's."""
        return [self._process.pid, *(child.pid for child in psutil.Process(self._process.pid).children())]

    def send(self, which: signal.Signals) -> None:
        """Nothing, if it has ended."""
        self._process.send_signal(which)

    def end(self) -> None:
        """Whole, also what stands still."""
        end_session(self._process.pid)
        self._process.wait(10)


@contextmanager
def spare_worker(storm: Storm, processes: int) -> Iterator[SpareWorker]:
    spare = SpareWorker(storm, processes)
    try:
        yield spare
    finally:
        spare.end()
