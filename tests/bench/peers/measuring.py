"""What one run of one peer says: what an order costs while the workers are busy, how long one takes while they are not, and what they use when there is none."""

import statistics
import time
from dataclasses import dataclass, replace
from typing import Any

from tests.bench.figures import percentile
from tests.bench.peers.catalogue import Peer
from tests.bench.peers.counters import disk_waits, wal_without_images
from tests.bench.peers.running import Done, RunningPeer, running
from tests.bench.peers.servers import Servers

SETTLED_AFTER_S = 1.0
IDLE_S = 11.0  # a session that does nothing for 10 seconds has told all that it has counted
CALM_PER_S = 5.0


@dataclass(frozen=True, kw_only=True)
class Used:
    """Of each of ``orders``: CPU milliseconds, counts, kilobytes without full-page images. ``client``: the process that places them, ``workers``: all that work on
    them. ``foreign``: the share of the machine that others used.
    """

    orders: int
    client_ms: float
    workers_ms: float
    database_ms: float
    broker_ms: float
    write_transactions: float
    wal_kb_without_images: float
    commands: float
    foreign: float


@dataclass(frozen=True, kw_only=True)
class Burst(Used):
    """``disk_waits``: None where nobody has waited long enough to know."""

    per_s: float
    wal_kb: float
    disk_waits: float | None

    @property
    def total_ms(self) -> float:
        return self.client_ms + self.workers_ms + self.database_ms + self.broker_ms


@dataclass(frozen=True, kw_only=True)
class Calm:
    """Milliseconds from submitted to fulfilled, and to the last side effect, at a few orders a second; and percent of one core that is used without any order."""

    orders: int
    fulfilled_p50_ms: float
    fulfilled_p95_ms: float
    effects_p95_ms: float
    idle_workers_percent: float
    idle_database_percent: float


@dataclass(frozen=True, kw_only=True)
class Measured:
    burst: Burst
    calm: Calm | None


def measure(servers: Servers, peer: Peer, python: str, *, orders: int, calm_s: float) -> Measured:
    """``calm_s``: how long orders are placed slowly before the burst; 0: not at all. Raises PeerFailed."""
    with running(servers, peer, python) as peer_runs:
        time.sleep(SETTLED_AFTER_S)
        calm = _calm(peer_runs, calm_s) if calm_s else None
        return Measured(burst=_burst(peer_runs, orders, settled=calm is not None), calm=calm)


def _calm(peer_runs: RunningPeer, seconds: float) -> Calm:
    """Slow orders first, then none. After that nobody has anything to tell that does not belong to the burst."""
    orders = max(2, round(seconds * CALM_PER_S))
    times = peer_runs.books.times(peer_runs.submit(orders, CALM_PER_S).first)
    fulfilled = [1000 * (one.fulfilled - one.submitted) for one in times]
    time.sleep(SETTLED_AFTER_S)
    before = peer_runs.counters.read()
    time.sleep(IDLE_S)
    idle = peer_runs.counters.read() - before
    return Calm(
        orders=orders,
        fulfilled_p50_ms=statistics.median(fulfilled),
        fulfilled_p95_ms=percentile(fulfilled, 95),
        effects_p95_ms=percentile([1000 * (one.last_effect - one.submitted) for one in times], 95),
        idle_workers_percent=100 * idle.workers_s / idle.at_s,
        idle_database_percent=100 * idle.database_s / idle.at_s,
    )


def _burst(peer_runs: RunningPeer, orders: int, *, settled: bool) -> Burst:
    waits = disk_waits(peer_runs.database)
    done = peer_runs.submit(orders)
    burst = burst_of(peer_runs, done)
    if not settled:
        return burst
    peer_runs.workers.stop()
    time.sleep(SETTLED_AFTER_S)  # the last sessions have ended
    return replace(burst, disk_waits=(disk_waits(peer_runs.database) - waits) / orders)


def burst_of(peer_runs: RunningPeer, done: Done) -> Burst:
    times = peer_runs.books.times(done.first)
    return Burst(
        **of_each(peer_runs, done),
        per_s=done.orders / (max(one.last_effect for one in times) - min(one.submitted for one in times)),
        wal_kb=done.used.wal / 1000 / done.orders,
        disk_waits=None,
    )


def of_each(peer_runs: RunningPeer, done: Done) -> dict[str, Any]:
    """The fields of ``Used``."""
    used, orders = done.used, done.orders
    return {
        "orders": orders,
        "client_ms": 1000 * done.client_s / orders,
        "workers_ms": 1000 * used.workers_s / orders,
        "database_ms": 1000 * used.database_s / orders,
        "broker_ms": 1000 * used.broker_s / orders,
        "write_transactions": used.write_transactions / orders,
        "wal_kb_without_images": wal_without_images(peer_runs.data, done.begin.wal, done.end.wal) / 1000 / orders,
        "commands": used.commands / orders,
        "foreign": used.foreign(done.client_s),
    }
