"""One peer, running: its workers on an empty database and an empty broker, and the orders that are submitted to them."""

import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg

from tests.bench.peers.books import Books, Files, Rows
from tests.bench.peers.catalogue import Peer
from tests.bench.peers.counters import Counters
from tests.bench.peers.programs.work import EFFECTS
from tests.bench.peers.servers import PeerFailed, Servers
from tests.bench.peers.workers import Workers
from tests.engines import ROOT

WARM_UP = 40  # orders before the first that counts
STILL_AFTER_S = 90.0
ASKED_EVERY_S = 0.1


class RunningPeer:
    def __init__(self, servers: Servers, peer: Peer, python: str, workers: Workers, database: "psycopg.Connection[Any]") -> None:
        self.peer, self.servers, self.workers, self.database = peer, servers, workers, database
        self.books: Books = Rows(database) if peer.writes_rows else Files(servers.run_folder)
        self.counters = Counters(
            workers=workers.pid,
            database_server=servers.database_pid,
            broker_server=servers.valkey.pid,
            database=database,
            broker=servers.broker,
        )
        self._python = python

    def submit(self, orders: int, per_s: float = 0.0, when_ready: Callable[[], object] = lambda: None) -> tuple[int, float]:
        """Places them, and waits until all is done. Returns the number of the first, and the CPU seconds that placing took.

        Raises PeerFailed: the peer stands still, or has died, or has done something else.
        """
        first = self.books.next_number()
        words = [self._python, "-m", self.peer.module, "submit", str(first), str(orders), str(per_s)]
        with (self.servers.run_folder / "submit.log").open("ab") as log:
            submitter = subprocess.Popen(
                words, cwd=ROOT, env=self.servers.variables(self.peer), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True
            )
        try:
            assert submitter.stdout is not None
            if submitter.stdout.readline() != "ready\n":
                raise PeerFailed(f"no order could be placed:\n{self._last_lines('submit.log')}")
            when_ready()
            cpu_s, _ = submitter.communicate("go\n", timeout=STILL_AFTER_S + (orders / per_s if per_s else orders))
            if submitter.returncode:
                raise PeerFailed(f"an order could not be placed:\n{self._last_lines('submit.log')}")
            self._wait_for(first, orders)
        finally:
            submitter.kill()
            submitter.wait()
        return first, float(cpu_s)

    def judge(self, first: int, orders: int) -> None:
        """Raises PeerFailed."""
        if wrong := self.books.wrong(first, orders):
            raise PeerFailed(wrong)

    def _wait_for(self, first: int, orders: int) -> None:
        done, moved_at = 0, time.monotonic()
        while (effects := self.books.effects(first)) < orders * len(EFFECTS):
            if effects > done:
                done, moved_at = effects, time.monotonic()
            if self.workers.is_dead() or time.monotonic() > moved_at + STILL_AFTER_S:
                raise PeerFailed(f"it stands still: {done} of {orders * len(EFFECTS)} side effects.\n{self.workers.last_lines()}")
            time.sleep(ASKED_EVERY_S)

    def _last_lines(self, log: str) -> str:
        return (self.servers.run_folder / log).read_text(errors="replace")[-2000:]


@contextmanager
def running(servers: Servers, peer: Peer, python: str) -> Iterator[RunningPeer]:
    """Its workers are warm: they have served some orders. Raises PeerFailed."""
    servers.begin(peer, python)
    workers = Workers([python, "-m", peer.module, "work"], servers.variables(peer), servers.run_folder / "workers.log")
    try:
        servers.note(workers=workers.pid)
        with psycopg.connect(servers.url(), autocommit=True) as database:
            peer_runs = RunningPeer(servers, peer, python, workers, database)
            peer_runs.submit(WARM_UP)
            yield peer_runs
    finally:
        workers.stop()
