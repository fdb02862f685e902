"""One peer, running: its workers in a place of their own, and the orders that are submitted to them."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg

from tests.bench.peers.books import Books, Files, Rows
from tests.bench.peers.catalogue import Peer
from tests.bench.peers.counters import Counters, Reading
from tests.bench.peers.programs.work import EFFECTS
from tests.bench.peers.servers import PeerFailed, Place, Servers
from tests.bench.peers.submitter import Submitter, submitter
from tests.bench.peers.workers import Workers

WARM_UP = 40  # orders before the first that counts
STILL_AFTER_S = 90.0
ASKED_EVERY_S = 0.1
ENDED_AFTER_S = 0.3  # what a peer notes after the last side effect is a part of its work


@dataclass(frozen=True, kw_only=True)
class Done:
    """``first``: the number of the first of these orders. ``client_s``: CPU seconds of the process that placed them. ``begin``, ``end``: what was counted."""

    first: int
    orders: int
    client_s: float
    begin: Reading
    end: Reading

    @property
    def used(self) -> Reading:
        return self.end - self.begin


class RunningPeer:
    def __init__(
        self, servers: Servers, peer: Peer, place: Place, workers: Workers, client: Submitter, database: "psycopg.Connection[Any]"
    ) -> None:
        self.peer, self.place, self.workers, self.database = peer, place, workers, database
        self.books: Books = Rows(database) if peer.writes_rows else Files(place.folder)
        self.counters = Counters(
            workers=workers.pid,
            database_server=servers.database_pid,
            broker_server=servers.valkey.pid,
            database=database,
            broker=servers.broker,
        )
        self.data = servers.folder / "postgres"
        self._client = client

    def submit(self, orders: int, per_s: float = 0.0) -> Done:
        """Places them, and waits until all is done.

        Raises PeerFailed: the peer stands still, or has died, or has done something else.
        """
        first = self.books.next_number()
        begin = self.counters.read()
        client_s = self._client.submit(first, orders, per_s, STILL_AFTER_S + (orders / per_s if per_s else orders))
        self._wait_for(first, orders)
        time.sleep(ENDED_AFTER_S)
        done = Done(first=first, orders=orders, client_s=client_s, begin=begin, end=self.counters.read())
        if wrong := self.books.wrong(first, orders):
            raise PeerFailed(wrong)
        return done

    def _wait_for(self, first: int, orders: int) -> None:
        done, moved_at = 0, time.monotonic()
        while (effects := self.books.effects(first)) < orders * len(EFFECTS):
            if effects > done:
                done, moved_at = effects, time.monotonic()
            if self.workers.is_dead() or time.monotonic() > moved_at + STILL_AFTER_S:
                raise PeerFailed(f"it stands still: {done} of {orders * len(EFFECTS)} side effects.\n{self.workers.last_lines()}")
            time.sleep(ASKED_EVERY_S)


@contextmanager
def running(servers: Servers, peer: Peer, python: str, number: int = 0) -> Iterator[RunningPeer]:
    """Its workers are warm: they have served some orders. ``number``: of its place; others may run at others. Raises PeerFailed."""
    place = servers.place(peer, python, number)
    workers = Workers([python, "-m", peer.module, "work"], place.variables(peer), place.folder / "workers.log")
    try:
        servers.note(number, workers.pid)
        with submitter(peer, python, place) as client, psycopg.connect(place.database, autocommit=True) as database:
            peer_runs = RunningPeer(servers, peer, place, workers, client, database)
            peer_runs.submit(WARM_UP)
            yield peer_runs
    finally:
        workers.stop()
