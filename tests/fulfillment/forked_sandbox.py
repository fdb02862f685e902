"""A provider sandbox that is forked from a process which has loaded its program, for tests that are not about its start: it is there ten times sooner."""

import multiprocessing
import os
import signal
from contextlib import suppress

from tests.fulfillment.announcing import announced_through
from tests.fulfillment.conftest import SandboxProcess

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload([announced_through.__module__])
ENDS_WITHIN_S = 5.0


class ForkedSandbox(SandboxProcess):
    """The same server, in a process of its own on a ledger of its own."""

    def start(self, sabotage: str = "") -> None:
        assert not sabotage, "for tests of its start there is SandboxProcess"
        here, there = FORKS.Pipe(duplex=False)
        words = (self._port, self.ledger_file, self._time_scale, self._demo_values)
        self._fork = FORKS.Process(target=announced_through, args=(there, *words), daemon=True)
        self._fork.start()
        there.close()
        with here:
            self._reached_at(here.recv())  # EOFError: it has ended instead

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        assert self._fork.pid is not None
        with suppress(ProcessLookupError):  # a test has killed it
            os.kill(self._fork.pid, number)
        self.client.close()
        self._fork.join(ENDS_WITHIN_S)
        assert self._fork.exitcode is not None, f"the sandbox still runs {ENDS_WITHIN_S:g} s later"
        return self._fork.exitcode
