"""A worker that has stopped consuming while messages wait in its queues ends itself, so that whoever runs it starts it again.

It happens after a broker's connection has died without a word: the worker believes that it listens. Ending it loses nothing, because messages carry no state.
The watchdog counts inspections, not seconds. So it does not take a process that was stopped, or a machine that slept, for a deaf one.
"""

import faulthandler
import logging
import os
import sys
import threading
from collections.abc import Callable, Iterable
from typing import Any

from django.conf import settings

from config import broker

log = logging.getLogger(__name__)

INSPECT_EVERY_S = 2.0
AT_LEAST_S = 10.0
EXIT_DEAF = 70


class Watchdog:
    """``heard`` is called for every message that arrives; ``waits`` says whether any is waiting in the queues."""

    def __init__(self, waits: Callable[[], bool], give_up: Callable[[], None], patience_s: float) -> None:
        self._waits = waits
        self._give_up = give_up
        self._inspections_allowed = max(1, round(patience_s / INSPECT_EVERY_S))
        self._silent_inspections = 0
        self._has_heard = threading.Event()

    def heard(self) -> None:
        self._has_heard.set()

    def inspect(self) -> None:
        """Silence counts only while something waits."""
        silent = not self._has_heard.is_set() and self._waits()
        self._has_heard.clear()
        self._silent_inspections = self._silent_inspections + 1 if silent else 0
        if self._silent_inspections >= self._inspections_allowed:
            self._give_up()

    def run(self, every_s: float = INSPECT_EVERY_S) -> None:
        pause = threading.Event()
        while not pause.wait(every_s):
            self.inspect()


def patience_s(tasks: Iterable[Any]) -> float:
    """Longer than any of these tasks may keep every process of the pool busy."""
    limits = [float(limit) for task in tasks if (limit := getattr(task, "time_limit", None))]
    return max(AT_LEAST_S, 2 * max([float(settings.TASK_HARD_LIMIT_S), *limits]))


def end_this_worker() -> None:
    """Its log says where every thread stands: nobody can ask it later."""
    log.critical("Messages wait, and none has arrived here for long: this worker is deaf and ends itself")
    logging.shutdown()
    try:
        faulthandler.dump_traceback(sys.__stderr__ or 2)
    finally:
        os._exit(EXIT_DEAF)


def watch(queues: list[str], tasks: Iterable[Any]) -> Watchdog:
    """Start watching in a thread of this process.

    The broker is asked over a connection of its own, as briefly as a publish. Where it cannot be asked, nothing waits: then being deaf is not our fault.
    """
    waiting = broker.QueueLength(*queues)
    watchdog = Watchdog(lambda: bool(waiting.ask()), end_this_worker, patience_s(tasks))
    threading.Thread(target=watchdog.run, name="watchdog", daemon=True).start()
    return watchdog
