"""What the program of each peer has in common: ``setup`` makes its own tables, ``work`` runs its workers until SIGTERM, ``submit`` places orders.

``submit`` says ``ready`` when it is. For each line of its input, ``FIRST ORDERS PER_S``, it places so many orders, and says the CPU seconds that it took.
"""

import os
import signal
import struct
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass

DATABASE = os.environ.get("BENCH_DATABASE", "")  # postgresql://…
BROKER = os.environ.get("BENCH_BROKER", "")  # redis+socket://…
FOLDER = os.environ.get("BENCH_FOLDER", "")  # of this run
WORKERS = int(os.environ.get("BENCH_WORKERS", "2"))
HAS_EVENTS = os.environ.get("BENCH_EVENTS") == "1"
ENTRY = struct.Struct("<qd")  # of whoever writes no rows: an order, and when it was so far
QUIET = ("--without-gossip", "--without-mingle", "--without-heartbeat", "-l", "WARNING")


@dataclass(frozen=True, kw_only=True)
class Program:
    """``placing``: a block in which its function places the order of a number."""

    work: Callable[[], None]
    placing: Callable[[], AbstractContextManager[Callable[[int], object]]]
    setup: Callable[[], None] = lambda: None

    def main(self) -> None:
        match sys.argv[1:]:
            case ["setup"]:
                self.setup()
            case ["work"]:
                self.work()
            case ["submit"]:
                self._submit()
            case _:
                sys.exit(f"{__doc__}")

    def _submit(self) -> None:
        with self.placing() as place:
            print("ready", flush=True)
            for line in sys.stdin:
                first, orders, per_s = line.split()
                begun = time.process_time()
                for number in paced(int(first), int(orders), float(per_s)):
                    place(number)
                print(time.process_time() - begun, flush=True)


def paced(first: int, orders: int, per_s: float) -> Iterator[int]:
    """The numbers of the orders, each when it is due. 0: as fast as they are taken."""
    begun = time.monotonic()
    for place in range(orders):
        if per_s:
            time.sleep(max(0.0, begun + place / per_s - time.monotonic()))
        yield first + place


def celery_words() -> list[str]:
    """Of a worker that is as quiet as Celery can be, with task events or without."""
    return ["worker", "-P", "prefork", "-c", str(WORKERS), *QUIET, *(["-E"] if HAS_EVENTS else [])]


def in_processes(run: Callable[[int], None]) -> None:
    """``run(number)`` in as many processes as there are workers; SIGTERM ends them all."""
    children = []
    for number in range(WORKERS):
        child = os.fork()
        if not child:
            run(number)
            os._exit(0)
        children.append(child)

    def end(*_: object) -> None:
        for child in children:
            os.kill(child, signal.SIGTERM)

    signal.signal(signal.SIGTERM, end)
    for child in children:
        os.waitpid(child, 0)
