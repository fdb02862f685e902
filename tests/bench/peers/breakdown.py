"""Where one order's milliseconds go inside of the shop: placing it, each task's own code, Celery around the tasks, the loops, PostgreSQL and Valkey."""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import psutil

from tests.bench.peers.catalogue import BY_NAME, OURS
from tests.bench.peers.counters import cpu_s
from tests.bench.peers.measuring import IDLE_S, SETTLED_AFTER_S
from tests.bench.peers.programs.ours.trace import FILE, PLACING
from tests.bench.peers.running import RunningPeer, running
from tests.bench.peers.servers import Servers

TRACED = {"BENCH_TRACE": "1"}
MAIN, POOL = "Celery's main process", "the pool"
PROCESSES = {"config.celery_worker": MAIN, "sweep": "the sweep", "relay": "the relay"}


@dataclass(frozen=True, kw_only=True)
class Place:
    """Of one order. ``statements``, ``waited_ms``: None where nobody counts them."""

    name: str
    cpu_ms: float
    statements: float | None = None
    waited_ms: float | None = None


@dataclass(frozen=True, kw_only=True)
class Inside:
    """``idle``: by process, percent of a core while there is no order."""

    places: Sequence[Place]
    idle: Mapping[str, float]


def look_inside(servers: Servers, python: str, orders: int) -> Inside:
    """A burst of its own: counting costs something. Raises PeerFailed."""
    with running(servers, replace(BY_NAME[OURS], variables=TRACED), python) as peer_runs:
        (peer_runs.place.folder / FILE).unlink()  # of the orders that do not count
        before = _by_process(peer_runs)
        used = peer_runs.submit(orders).used
        after = _by_process(peer_runs)
        spans = _spans((peer_runs.place.folder / FILE).read_text(), orders)
        time.sleep(SETTLED_AFTER_S)
        idle = _used_while_nothing_comes(peer_runs)
    by_process = {name: seconds - before[name] for name, seconds in after.items()}
    in_tasks_ms = sum(place.cpu_ms for name, place in spans.items() if name != PLACING)
    around = {
        "Celery around the tasks, in the pool": 1000 * by_process[POOL] / orders - in_tasks_ms,
        **{name: 1000 * by_process[name] / orders for name in (MAIN, "the sweep", "the relay")},
        "PostgreSQL": 1000 * used.database_s / orders,
        "Valkey": 1000 * used.broker_s / orders,
    }
    return Inside(places=[*spans.values(), *(Place(name=name, cpu_ms=ms) for name, ms in around.items())], idle=idle)


def _used_while_nothing_comes(peer_runs: RunningPeer) -> dict[str, float]:
    before = _by_process(peer_runs)
    time.sleep(IDLE_S)
    return {name: 100 * (seconds - before[name]) / IDLE_S for name, seconds in _by_process(peer_runs).items()}


def _by_process(peer_runs: RunningPeer) -> dict[str, float]:
    """CPU seconds of the shop's processes; the pool is what the worker's main process has started."""
    seconds: dict[str, float] = {}
    for process in psutil.Process(peer_runs.workers.pid).children():
        words = process.cmdline()
        name = next(shown for word, shown in PROCESSES.items() if word in words)
        times = process.cpu_times()
        seconds[name] = times.user + times.system
        if name == MAIN:
            seconds[POOL] = cpu_s(process.pid) - seconds[name]
    return seconds


def _spans(trace: str, orders: int) -> Mapping[str, Place]:
    """By name, of one order. The side effects are one row."""
    totals: dict[str, Place] = {}
    for line in trace.splitlines():
        span = json.loads(line)
        name = "the four side effects" if span["name"].startswith("sideeffects.") else span["name"].removeprefix("fulfillment.")
        known = totals.get(name, Place(name=name, cpu_ms=0.0, statements=0.0, waited_ms=0.0))
        totals[name] = Place(
            name=name,
            cpu_ms=known.cpu_ms + 1000 * span["cpu_s"] / orders,
            statements=(known.statements or 0) + span["statements"] / orders,
            waited_ms=(known.waited_ms or 0) + 1000 * span["waited_s"] / orders,
        )
    return totals
