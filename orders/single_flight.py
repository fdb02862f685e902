"""Single flight: one question at a time, with a bound. A frozen database server answers no statement, and no limit of its own ends one there."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Generic, TypeVar

from django.db import connection

Answer = TypeVar("Answer")


class SingleFlight(Generic[Answer]):
    """``ask`` runs in a thread and on a connection of its own, one at a time. Whoever asks meanwhile gets the same answer."""

    def __init__(self, ask: Callable[[], Answer], within_s: float) -> None:
        self._ask = ask
        self._within_s = within_s
        self._lock = threading.Lock()
        self._asked: Future[Answer] | None = None

    def answer(self) -> Answer:
        """Raises TimeoutError: there is no answer after ``within_s`` seconds; or whatever ``ask`` has raised."""
        with self._lock:
            if self._asked is None or self._asked.done():
                self._asked = Future()
                threading.Thread(target=self._run, args=(self._asked,), name="question", daemon=True).start()
            asked = self._asked
        return asked.result(self._within_s)

    def _run(self, asked: "Future[Answer]") -> None:
        try:
            found = self._ask()
        except BaseException as failed:
            asked.set_exception(failed)
        else:
            asked.set_result(found)
        finally:
            connection.close()
