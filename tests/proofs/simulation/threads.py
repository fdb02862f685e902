"""Workers that run one at a time: a thread each, with its own database connection, which goes on only when somebody lets it."""

import threading
from collections.abc import Callable

from django.db import connection


class Killed(BaseException):
    """SIGKILL, as a worker of the simulation feels it: open transactions roll back, and nothing else is done."""


class WorkerThread:
    """``begin`` hands it a piece of work; it stands still at every ``pause`` until ``resume`` or ``kill``. Only one thread of all ever runs."""

    def __init__(self) -> None:
        self.at = ""  # the boundary at which it stands; empty while it is idle
        self.outcome: str | None = None  # how its last piece of work ended
        self._work: Callable[[], str] | None = None
        self._is_dying = False
        self._go, self._stands = threading.Lock(), threading.Lock()  # each is released by the other side, once for each acquire
        self._go.acquire(), self._stands.acquire()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @property
    def is_idle(self) -> bool:
        return not self.at

    def is_here(self) -> bool:
        """Whether the caller runs in this thread."""
        return threading.current_thread() is self._thread

    def begin(self, work: Callable[[], str]) -> None:
        """Run until the first boundary, or the end."""
        self._work, self.outcome = work, None
        self._switch()

    def resume(self) -> None:
        self._switch()

    def kill(self) -> None:
        self._is_dying = True
        self._switch()

    def pause(self, boundary: str) -> None:
        """Called from inside. Raises Killed."""
        self.at = boundary
        self._stands.release()
        self._go.acquire()
        self.at = ""
        if self._is_dying:
            self._is_dying = False
            raise Killed

    def close(self) -> None:
        self._work = None
        self._go.release()
        self._thread.join()

    def _switch(self) -> None:
        self._go.release()
        self._stands.acquire()

    def _run(self) -> None:
        while True:
            self._go.acquire()
            work = self._work
            if work is None:
                connection.close()
                return
            try:
                self.outcome = work()
            except Killed:
                self.outcome = None
            self.at = ""
            self._stands.release()
