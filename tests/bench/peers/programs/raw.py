"""Raw Celery: a chain of three tasks, a fourth that publishes four more, and none of them does anything.

No database, no results: what Celery and the broker cost alone.
"""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache

from celery import Celery, chain

from tests.bench.peers.programs.program import BROKER, ENTRY, FOLDER, Program, celery_words
from tests.bench.peers.programs.work import EFFECTS

app = Celery("raw", broker=BROKER)
app.conf.update(
    task_ignore_result=True,
    worker_prefetch_multiplier=32,
    worker_disable_rate_limits=True,
    worker_enable_remote_control=False,
    broker_connection_retry_on_startup=True,
    worker_hijack_root_logger=False,
    worker_redirect_stdouts=False,
)


@cache
def _book(name: str) -> int:
    return os.open(f"{FOLDER}/{name}", os.O_WRONLY | os.O_CREAT | os.O_APPEND)


def note(name: str, order: int) -> None:
    """The only trace that a task leaves: one write of 16 bytes (2 microseconds)."""
    os.write(_book(name), ENTRY.pack(order, time.time()))


@app.task
def charge(order: int) -> None: ...


@app.task
def reserve(order: int) -> None: ...


@app.task
def ship(order: int) -> None: ...


@app.task
def finish(order: int) -> None:
    note("fulfilled", order)
    for task in SIDE_EFFECTS:
        task.delay(order)


def _effect(order: int) -> None:
    note("effects", order)


SIDE_EFFECTS = [app.task(name=f"raw.{kind}")(_effect) for kind in EFFECTS]


@contextmanager
def placing() -> Iterator[Callable[[int], None]]:
    yield place


def place(order: int) -> None:
    note("submitted", order)
    chain(charge.si(order), reserve.si(order), ship.si(order), finish.si(order)).delay()


if __name__ == "__main__":
    Program(work=lambda: app.worker_main(celery_words()), placing=placing).main()
