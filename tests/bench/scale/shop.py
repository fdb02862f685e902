"""The shop on a database that grows. Its processes run in a block; between two blocks nobody works on it."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import psutil
import psycopg

from tests.bench.peers.books import COUNTS, Rows
from tests.bench.peers.catalogue import BY_NAME, OURS, Peer
from tests.bench.peers.programs.work import EFFECTS
from tests.bench.peers.running import ASKED_EVERY_S, ENDED_AFTER_S, STILL_AFTER_S, WARM_UP, RunningPeer
from tests.bench.peers.servers import PeerFailed, Place, Servers
from tests.bench.peers.submitter import Submitter, submitter
from tests.bench.peers.workers import Workers
from tests.proofs.black_box.processes import standing_still
from tests.scale.copying import Copies

PROGRAM = "tests.bench.scale.program"
FIRST_NUMBER = 100_000_000  # of those that are placed; copies have smaller ones
NEWEST = 20  # templates: the newest orders that were fulfilled, and of which the relay has told everybody
AN_ORDER_WITHIN_S = 0.5
NUMBER = 0  # of its place: there is no other
LIKE = """
SELECT o.number FROM orders_order o JOIN orders_fact f ON f.order_id = o.id AND f.type = 'order.fulfilled'
WHERE o.idempotency_key LIKE 'order-%%' AND o.status = 'fulfilled' AND f.relayed_at IS NOT NULL ORDER BY o.id DESC LIMIT %s
"""
WORKER = "config.celery_worker"


class GrowingRows(Rows):
    compares_stock = False  # what the copies have sold was never in it

    def fulfilled(self, first: int) -> int:
        return int(self._one(COUNTS, {"first": first})[0])


class Working(RunningPeer):
    """The shop's processes, at work."""

    def __init__(
        self, servers: Servers, peer: Peer, place: Place, workers: Workers, client: Submitter, database: "psycopg.Connection[Any]"
    ) -> None:
        super().__init__(servers, peer, place, workers, client, database)
        self.books: GrowingRows = GrowingRows(database)

    def put(self, orders: int) -> int:
        """Places orders, and waits for none of them. Returns the number of the first."""
        first = self.books.next_number()
        self._client.submit(first, orders, 0.0, STILL_AFTER_S + orders)
        return first

    def left(self, first: int, orders: int) -> int:
        """Of these orders, those that are not fulfilled."""
        return orders - self.books.fulfilled(first)

    def messages(self) -> int:
        """That were ever put into a queue."""
        return int(self.counters.broker.info("commandstats").get("cmdstat_lpush", {"calls": 0})["calls"])

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """No worker takes a message meanwhile; sweep and relay go on."""
        processes = [one for one in psutil.Process(self.workers.pid).children(recursive=True) if WORKER in one.cmdline()]
        with standing_still([one.pid for one in processes]):
            yield

    def wait_for(self, first: int, orders: int) -> None:
        """Until all that belongs to these orders is done. Of a long queue nothing is, until each has gone through it twice. Raises PeerFailed."""
        until = time.monotonic() + STILL_AFTER_S + orders * AN_ORDER_WITHIN_S
        while (effects := self.books.effects(first)) < orders * len(EFFECTS):
            if self.workers.is_dead() or time.monotonic() > until:
                raise PeerFailed(f"{effects} of {orders * len(EFFECTS)} side effects came.\n{self.workers.last_lines()}")
            time.sleep(ASKED_EVERY_S)
        time.sleep(ENDED_AFTER_S)
        if wrong := self.books.wrong(first, orders):
            raise PeerFailed(wrong)


class GrowingShop:
    def __init__(self, servers: Servers) -> None:
        self.servers, self.finished = servers, 0
        self.place = servers.place(BY_NAME[OURS], sys.executable, NUMBER)
        self.database: psycopg.Connection[Any] = psycopg.connect(self.place.database, autocommit=True)
        self.database.execute("SELECT setval('orders_order_number', %s)", [FIRST_NUMBER])

    @contextmanager
    def at_work(self, workers: int = 2, **variables: str) -> Iterator[Working]:
        """``workers``: processes of the pool. They are warm. Raises PeerFailed."""
        peer = replace(BY_NAME[OURS], variables={"BENCH_WORKERS": str(workers), "BACKLOG_LIMIT": "0", **variables})
        words = [sys.executable, "-m", peer.module, "work"]
        processes = Workers(words, self.place.variables(peer), self.place.folder / "workers.log")
        try:
            self.servers.note(NUMBER, processes.pid)
            with submitter(peer, sys.executable, self.place) as client:
                working = Working(self.servers, peer, self.place, processes, client, self.database)
                working.submit(WARM_UP)
                yield working
        finally:
            processes.stop()

    def program(self, *words: str) -> list[str]:
        return [sys.executable, "-m", PROGRAM, *words]

    def variables(self) -> dict[str, str]:
        return self.place.variables(BY_NAME[OURS])

    def grow(self, to: int, report_line: Callable[[int], None]) -> None:
        """Until ``to`` copies of orders that were fulfilled here are there, most of them two days old and more."""
        if to <= self.finished:
            return
        like = [number for (number,) in self.database.execute(LIKE, [NEWEST]).fetchall()]
        share = 100 // len(like)
        templates = [(number, share + (100 - share * len(like)) * (place == 0)) for place, number in enumerate(like)]
        Copies(self.database, templates, to, min(5_000, to // 20), start=self.finished, prefix="ORD-").copy(report_line)
        self.database.execute("VACUUM ANALYZE")
        self.database.execute("CHECKPOINT")
        self.finished = to
