"""Bare transactions: the same rows with psycopg alone. No queue, no messages, nothing that notices a crash: what the writes themselves cost.

Each worker owns every other order, and finds new ones by asking for them.
"""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg

from tests.bench.peers.programs import work
from tests.bench.peers.programs.program import DATABASE, WORKERS, Program, in_processes

NEWEST = "SELECT coalesce(max(id), 0) FROM orders"
MINE = "SELECT id FROM orders WHERE id > %s AND id %% %s = %s ORDER BY id LIMIT 100"
ASKS_AGAIN_AFTER_S = 0.01


def run(number: int) -> None:
    is_over = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: is_over.set())
    with psycopg.connect(DATABASE, autocommit=True) as connection:
        connection.prepare_threshold = 2
        last = 0
        while not is_over.is_set():
            orders = connection.execute(MINE, [last, WORKERS, number]).fetchall()
            if not orders:
                time.sleep(ASKS_AGAIN_AFTER_S)
            for (order,) in orders:
                fulfil(connection, order)
                last = order


def fulfil(connection: "psycopg.Connection[tuple[int]]", order: int) -> None:
    """Each step and each side effect is a transaction of its own."""
    steps = [step(order) for step in work.STEPS]
    for step in (*steps, *(work.effect(order, kind) for kind in work.EFFECTS)):
        with connection.transaction(), connection.cursor() as cursor:
            work.perform(step, cursor)


@contextmanager
def placing() -> Iterator[Callable[[int], None]]:
    with psycopg.connect(DATABASE, autocommit=True) as connection, connection.cursor() as cursor:
        yield lambda order: work.perform(work.place(order), cursor)


if __name__ == "__main__":
    Program(work=lambda: in_processes(run), placing=placing).main()
