"""Two sessions at once, in an order that the test chooses: the first stands still after a statement that the test names, while the second does all that it can."""

import threading
import time
from collections.abc import Callable
from typing import Any

import psycopg
from django.db import connection

from tests.holding import outside

LONGEST_S = 20.0


class Side:
    """A thread with a database connection of its own. ``stands_after``: the text of the statement after which it stands still, once."""

    def __init__(self, work: Callable[[], Any], stands_after: str = "") -> None:
        self._work, self._stands_after = work, stands_after
        self._go = threading.Event()
        self._pid = 0
        self.stands = threading.Event()
        self.outcome: Any = None  # what the work returned, or the exception that it raised
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @property
    def is_over(self) -> bool:
        return not self._thread.is_alive()

    def go_on(self) -> None:
        self._go.set()

    def end(self) -> Any:
        self.go_on()
        self._thread.join(LONGEST_S)
        assert self.is_over, "it neither ends nor fails"
        return self.outcome

    def waits(self, observer: psycopg.Connection[Any]) -> bool:
        """For a lock that somebody holds."""
        found = observer.execute("SELECT wait_event_type = 'Lock' FROM pg_stat_activity WHERE pid = %s", [self._pid]).fetchone()
        return bool(found and found[0])

    def _run(self) -> None:
        try:
            connection.ensure_connection()
            self._pid = connection.connection.info.backend_pid
            with connection.execute_wrapper(self._statement):
                self.outcome = self._work()
        except Exception as error:
            self.outcome = error
        finally:
            connection.close()

    def _statement(self, execute: Callable[..., Any], sql: str, *rest: Any) -> Any:
        result = execute(sql, *rest)
        if self._stands_after and self._stands_after in sql and not self.stands.is_set():
            self.stands.set()
            self._go.wait(LONGEST_S)
        return result


def at_once(first: Callable[[], Any], after: str, second: Callable[[], Any], must_wait: bool | None = None) -> tuple[Any, Any]:
    """What became of both: ``second`` runs while ``first`` stands after its statement, until it is over or waits for a lock; then ``first`` goes on.

    ``must_wait``: whether the second has to wait for the first; None: whichever.
    """
    with outside(autocommit=True) as observer:
        one = Side(first, after)
        _until(lambda: one.stands.is_set() or one.is_over)
        assert one.stands.is_set(), f"it never came to {after!r}: {one.outcome!r}"
        other = Side(second)
        _until(lambda: other.is_over or other.waits(observer))
        waited = not other.is_over
        outcome = one.end()
        assert must_wait is None or waited is must_wait, f"the second one {'waited' if waited else 'did not wait'}"
        return outcome, other.end()


def _until(happened: Callable[[], bool]) -> None:
    ends = time.monotonic() + LONGEST_S
    while not happened():
        assert time.monotonic() < ends, "nothing happens"
        time.sleep(0.005)
