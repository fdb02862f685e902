"""What is measured: the cost of an order, how fast lost orders are launched again, how fast the relay publishes, and how long the loops' queries take."""

import json
import math
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg

from tests.bench.peers.counters import cpu_s
from tests.bench.peers.measuring import Used, of_each
from tests.bench.peers.programs.ours.trace import FILE
from tests.bench.peers.running import ENDED_AFTER_S, WARM_UP, Done
from tests.bench.peers.servers import PeerFailed
from tests.bench.scale.shop import GrowingShop, Working
from tests.engines import ROOT
from tests.proofs.black_box.waiting import wait_for
from tests.proofs.storms.broker_monitor import BrokerMonitor

RELAYED_WITHIN_S = 120.0
HARD_LIMIT_S, LEASE_S = 25.0, 30.0  # of a shop whose limits are not scaled, as this one
FIRST_STEP = "fulfillment.payment"
IN_HANDS = 4  # messages, of two processes, each of which may have fetched one more
# Constraints and triggers are told nothing: these deliveries go back to where they were.
MAKE_DUE = """
UPDATE sideeffects_delivery SET state = 'retry_wait', wake_at = shop_now(), relaunches = 0
WHERE id IN (SELECT id FROM sideeffects_delivery ORDER BY id DESC LIMIT %s)
"""
AS_BEFORE = (
    "UPDATE sideeffects_delivery SET state = 'delivered', wake_at = NULL, launched_at = NULL, relaunches = 0 WHERE state <> 'delivered'"
)


@dataclass(frozen=True, kw_only=True)
class Cost(Used):
    """``client_ms``: 0 where the orders were placed before."""

    seconds: float
    messages: float

    @property
    def served_ms(self) -> float:
        """Without the placing."""
        return self.workers_ms + self.database_ms + self.broker_ms

    @property
    def per_s(self) -> float:
        return self.orders / self.seconds


def burst(working: Working, orders: int) -> Cost:
    """Orders that are placed as fast as they are taken. Raises PeerFailed."""
    messages = working.messages()
    done = working.submit(orders)
    return _cost(working, done, messages)


def worked_off(working: Working, orders: int, meanwhile: Callable[[], object]) -> Cost:
    """Of orders that waited in the queue, all of them, when the workers began. ``meanwhile``: while they wait. Raises PeerFailed."""
    messages = working.messages()
    with working.frozen():
        first = working.put(orders)
        meanwhile()
        begin = working.counters.read()
    working.wait_for(first, orders)
    done = Done(first=first, orders=orders, client_s=0.0, begin=begin, end=working.counters.read())
    return _cost(working, done, messages)


def _cost(working: Working, done: Done, messages: int) -> Cost:
    return Cost(**of_each(working, done), seconds=done.used.at_s - ENDED_AFTER_S, messages=(working.messages() - messages) / done.orders)


def statements(shop: GrowingShop, orders: int) -> float:
    """Of an order, placed and fulfilled; counted in the processes, which costs something. So it is a run of its own."""
    file = shop.place.folder / FILE
    with shop.at_work(BENCH_TRACE="1") as working:
        file.unlink(missing_ok=True)
        working.submit(orders)
    return float(sum(json.loads(line)["statements"] for line in file.read_text().splitlines())) / orders


@contextmanager
def old_snapshot(shop: GrowingShop) -> Iterator[None]:
    """Somebody looks at the shop as it was, and goes on looking."""
    with psycopg.connect(shop.place.database) as somebody:
        somebody.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        somebody.execute("SELECT count(*) FROM fulfillment_stocklevel")
        yield


def queries_ms(shop: GrowingShop) -> dict[str, float]:
    """Loop → the slowest of the statements with which it looks for what is due, by the median of its rounds."""
    run = subprocess.run(shop.program("queries"), cwd=ROOT, env=shop.variables(), capture_output=True, text=True, timeout=120)
    if run.returncode:
        raise PeerFailed(f"the loops' queries could not be asked:\n{run.stderr[-2000:]}")
    return dict(json.loads(run.stdout.splitlines()[-1]))


@dataclass(frozen=True, kw_only=True)
class Rate:
    """``cpu_ms``: of each, in the process that does it; 0: nobody has counted."""

    count: int
    seconds: float
    cpu_ms: float = 0.0

    @property
    def per_s(self) -> float:
        return self.count / self.seconds if self.seconds else 0.0


def relaunched(shop: GrowingShop, orders: int) -> Rate:
    """The broker has lost the messages of all these orders. How fast the sweep publishes them again, while the workers work them off. Raises PeerFailed.

    All were placed longer than a hard limit ago, so one probe proves all of them lost: what is measured is the sweep, and not how fast they were placed. A worker
    has had a message or two in its hands.
    """
    instants: list[float] = []

    def hear(queue: str, envelope: dict[str, Any]) -> None:
        if envelope["headers"]["task"] == FIRST_STEP:
            instants.append(time.monotonic())

    with shop.at_work() as working:
        with working.frozen():
            first = working.put(orders)
            time.sleep(HARD_LIMIT_S + 1)
            shop.servers.broker.flushall()
        with BrokerMonitor(shop.servers.broker, hear).listening():
            working.wait_for(first, orders)
    count = min(len(instants), orders)
    if count < max(1, orders - IN_HANDS):
        raise PeerFailed(f"{count} of {orders} orders were launched again")
    return Rate(count=count, seconds=instants[count - 1] - instants[0])


@dataclass(frozen=True, kw_only=True)
class Killed:
    """``left``: of ``count`` orders, those that were not fulfilled when all that work were killed. ``seconds``: from then until nothing of them was left to do."""

    count: int
    left: int
    seconds: float

    def allowed_s(self, per_s: float) -> float:
        """A lease, and the backlog at this rate with a fifth to spare."""
        return LEASE_S + self.left / per_s * 1.2 if per_s else math.inf


def killed(shop: GrowingShop, orders: int) -> Killed:
    """SIGKILL to workers, sweep and relay, and new ones at once. Raises PeerFailed."""
    with shop.at_work() as working:
        first = working.put(orders)
        working.workers.kill()
        begun = time.monotonic()
        left = working.left(first, orders)
    with shop.at_work() as working:
        working.wait_for(first, orders + WARM_UP)  # those with which the new ones are warmed come after them
    return Killed(count=orders, left=left, seconds=time.monotonic() - begun)


def relayed(shop: GrowingShop, deliveries: int) -> Rate:
    """How fast one relay publishes deliveries that are due, among all that there are. Nobody consumes them."""
    broker = shop.servers.broker
    broker.flushall()
    with _as_rows_only(shop) as rows:
        rows.execute(MAKE_DUE, [deliveries])
    with (shop.place.folder / "relay.log").open("ab") as log:
        relay = subprocess.Popen(shop.program("relay"), cwd=ROOT, env=shop.variables(), stdout=log, stderr=log)
    try:
        begun_at = _when(lambda: broker.llen("sideeffects") > 0)
        begun, cpu = broker.llen("sideeffects"), cpu_s(relay.pid)
        ended_at = _when(lambda: broker.llen("sideeffects") >= deliveries)
        used_s = cpu_s(relay.pid) - cpu
    finally:
        relay.terminate()
        relay.wait(30)
        broker.flushall()
        with _as_rows_only(shop) as rows:
            rows.execute(AS_BEFORE)
    count = deliveries - begun
    return Rate(count=count, seconds=ended_at - begun_at, cpu_ms=1000 * used_s / max(1, count))


def _when(is_so: Callable[[], bool]) -> float:
    wait_for(is_so, RELAYED_WITHIN_S, every_s=0.005)
    return time.monotonic()


@contextmanager
def _as_rows_only(shop: GrowingShop) -> Iterator["psycopg.Connection[Any]"]:
    """No trigger runs."""
    with shop.database.transaction():
        shop.database.execute("SET LOCAL session_replication_role = replica")
        yield shop.database
