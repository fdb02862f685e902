"""A worker's pool process: each task begins on a clean connection, its soft limit interrupts calls only, and the process ends when tasks only fail in it.

Without the last, a process that is broken in a way nobody thought of would fail tasks faster than its neighbours work, and so would get most of them.
"""

import logging
import os
from typing import Any

from billiard.pool import EX_RECYCLE
from celery import Task, signals

from orders import soft_limit
from orders.connections import start_clean
from orders.database import is_timeout, lost_a_race

log = logging.getLogger(__name__)

FAILURES_IN_A_ROW = 3  # unexpected ones: an outcome that a task lists in its ``throws`` is none


class PoolProcess:
    """Counts what fails in a row. Only in a pool process: Celery reports lost tasks in the worker's main process too."""

    def __init__(self) -> None:
        self.failed_in_a_row = 0

    def begin(self) -> None:
        soft_limit.begin_task()
        try:
            start_clean()
        except Exception:
            log.exception("This pool process cannot begin a task on a clean connection, and ends itself")
            _end()

    def ended(self, state: str | None, outcome: Any, throws: tuple[type[Exception], ...]) -> None:
        """What is left of a transaction holds locks; it does not wait for the next task."""
        failed = state == "FAILURE" and not isinstance(outcome, throws)
        if not failed:
            self.failed_in_a_row = 0
        elif not (lost_a_race(outcome) or is_timeout(outcome)):  # somebody else holds the rows: that says nothing about this process
            self.failed_in_a_row += 1
        if self.failed_in_a_row >= FAILURES_IN_A_ROW:
            log.critical("%d tasks in a row have failed unexpectedly in this pool process: it ends itself", self.failed_in_a_row)
            _end()
        start_clean()


def _end() -> None:
    """At once, and as Celery's pool ends a process that has served its time: another one is started. What follows the task has been published by now.

    An exception would be caught on its way out, or reach the worker's main process as the task's result.
    """
    logging.shutdown()
    os._exit(EX_RECYCLE)


def watch() -> None:
    """In a pool process, once, before its first task."""
    process = PoolProcess()

    def begin(**_: Any) -> None:
        process.begin()

    def ended(task: "Task[..., Any]", state: str | None = None, retval: Any = None, **_: Any) -> None:
        process.ended(state, retval, tuple(task.throws))

    signals.task_prerun.connect(begin, weak=False, dispatch_uid="config.worker.pool_process.begin")
    signals.task_postrun.connect(ended, weak=False, dispatch_uid="config.worker.pool_process.ended")
