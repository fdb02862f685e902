"""The worker processes of a peer: a session of their own, with the environment of a peer and nothing of ours."""

import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from config.stack.processes import LINES_SHOWN, end_session
from tests.engines import ROOT

ENDS_WITHIN_S = 10.0


class Workers:
    def __init__(self, words: Sequence[str], variables: Mapping[str, str], log: Path) -> None:
        self._log = log
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                words, cwd=ROOT, env=variables, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
            )
        self.pid = self._process.pid

    def is_dead(self) -> bool:
        return self._process.poll() is not None

    def pause(self) -> None:
        """Until ``go_on``, while others are measured."""
        os.killpg(self.pid, signal.SIGSTOP)

    def go_on(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGCONT)

    def kill(self) -> None:
        """All of them at once, without a word to anybody."""
        os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()

    def stop(self) -> None:
        """Politely, so that their sessions tell the database what they have done; then whatever is left of them."""
        self.go_on()
        if not self.is_dead():
            self._process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(ENDS_WITHIN_S)
        end_session(self.pid)
        self._process.wait()

    def last_lines(self) -> str:
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-LINES_SHOWN:])
