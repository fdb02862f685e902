"""Where an order's milliseconds go inside of the shop: with BENCH_TRACE=1, what each task, and each order that is placed, spends on its own code and on statements.

One line of JSON for each. The run is a little slower by that, so it is one of its own.
"""

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
from celery import signals

from tests.bench.peers.programs.program import FOLDER

FILE = "trace.jsonl"
PLACING = "placing the order"
IS_ON = os.environ.get("BENCH_TRACE") == "1"


class Span:
    """From now on: CPU seconds of this thread, statements, and seconds that it waited for the database."""

    statements = 0
    waited_s = 0.0

    def __init__(self) -> None:
        self._begun = time.thread_time()
        Span.statements, Span.waited_s = 0, 0.0

    def end(self, name: str) -> None:
        cpu_s = time.thread_time() - self._begun
        line = {"name": name, "cpu_s": cpu_s, "statements": Span.statements, "waited_s": Span.waited_s}
        with (Path(FOLDER) / FILE).open("a") as lines:
            lines.write(json.dumps(line) + "\n")


def spanned(name: str, action: Callable[[int], object]) -> Callable[[int], object]:
    """``action``, and its span."""

    def run(number: int) -> None:
        span = Span()
        action(number)
        span.end(name)

    return run if IS_ON else action


def begin() -> None:
    if IS_ON:
        _count_statements()
        signals.task_prerun.connect(_enter, weak=False)
        signals.task_postrun.connect(_leave, weak=False)


def _count_statements() -> None:
    """Of every cursor, Django's or not."""
    execute = psycopg.Cursor.execute

    def counted(*words: Any, **named: Any) -> Any:
        cpu, begun = time.thread_time(), time.perf_counter()
        try:
            return execute(*words, **named)
        finally:
            Span.statements += 1
            Span.waited_s += time.perf_counter() - begun - (time.thread_time() - cpu)

    psycopg.Cursor.execute = counted  # type: ignore[method-assign]


def _enter(task: Any, **_: Any) -> None:
    task.request.bench_span = Span()


def _leave(task: Any, **_: Any) -> None:
    task.request.bench_span.end(task.name)
