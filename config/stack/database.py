"""The stack's own PostgreSQL: started whole or not at all, started again when it dies, stopped whatever state it is in."""

import contextlib
from collections.abc import Callable
from pathlib import Path

from config.stack import embedded
from config.stack.errors import StackError
from config.stack.stop_signals import postponed


def start_postgres(run_dir: Path) -> str:
    """Its URL. Raises StackError.

    A signal that asks us to stop is handled once PostgreSQL is up, so that its data are never half made: whoever calls this stops it.
    """
    try:
        with postponed():
            return embedded.start_postgres(run_dir)
    except embedded.NO_SERVER as failed:
        raise StackError(f"PostgreSQL did not start: {failed}. Its log is {run_dir / 'postgres' / 'log'}.") from failed


def is_left(run_dir: Path) -> bool:
    """PostgreSQL runs there, or was killed."""
    return (run_dir / "postgres" / "postmaster.pid").exists()


def end_what_is_left(run_dir: Path) -> None:
    """Whatever state a killed supervisor has left it in. Raises StackError."""
    start_postgres(run_dir)
    try:
        embedded.stop_postgres(run_dir)
    except embedded.NO_SERVER as failed:
        raise StackError(f"PostgreSQL in {run_dir} did not stop: {failed}") from failed


class OwnDatabase:
    """The PostgreSQL of one stack, while that runs."""

    def __init__(self, run_dir: Path, report: Callable[[str], None]) -> None:
        self.run_dir = run_dir
        self.report = report
        self._is_down = False

    def revive(self, url: str) -> None:
        """Start it again if it has died. Reported once, and only when it answers: while the old server's children are dying, a new one may start and end at once."""
        if not embedded.postgres_pid(self.run_dir):
            self._is_down = True
            with contextlib.suppress(*embedded.NO_SERVER):  # the next round tries again
                embedded.start_postgres(self.run_dir)
        if self._is_down and embedded.postgres_answers(url):
            self._is_down = False
            self.report("postgres died, it was started again")

    def stop(self) -> None:
        """Also one that was interrupted on its way up."""
        if is_left(self.run_dir):
            with contextlib.suppress(*embedded.NO_SERVER):
                embedded.stop_postgres(self.run_dir)
