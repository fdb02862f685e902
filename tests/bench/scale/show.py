"""The show ``scale``: one measurement after the other on a shop that grows, what each has found, and how long the rest will take."""

import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from tests.bench.peers.rounds import MARKED_ABOVE
from tests.bench.peers.servers import PeerFailed, open_servers
from tests.bench.scale import measuring, page
from tests.bench.scale.found import HELD, WAITING, Found, ScaleAsked, of_size, of_workers
from tests.bench.scale.shop import GrowingShop
from tests.proofs.black_box.waiting import NothingCame


@dataclass(frozen=True, kw_only=True)
class Part:
    """``weight``: seconds, as guessed for the estimate."""

    name: str
    weight: float
    run: Callable[[], str]


class Show:
    def __init__(self, asked: ScaleAsked, shop: GrowingShop) -> None:
        self._asked, self._shop = asked, shop
        self.found = Found()

    def parts(self) -> Iterator[Part]:
        asked, burst_s = self._asked, 8 + self._asked.rounds * self._asked.orders * 0.06
        for before, size in zip((0, *asked.sizes), asked.sizes, strict=False):
            if size:
                yield Part(name=f"{size:,} orders are there", weight=1 + (size - before) / 3000, run=partial(self._grown, size))
            yield Part(name=of_size(size), weight=burst_s, run=partial(self._costs, of_size(size)))
            yield Part(name=f"queries at {of_size(size)}", weight=5, run=partial(self._queries, of_size(size)))
            if size and asked.due:
                yield Part(name=f"the relay at {of_size(size)}", weight=5 + asked.due / 500, run=partial(self._relayed, size))
        for count in asked.workers:
            yield Part(name=of_workers(count), weight=burst_s, run=partial(self._costs, of_workers(count), count))
        yield Part(name=HELD, weight=2 * burst_s, run=self._held)
        yield Part(name=WAITING, weight=20 + asked.backlog * 0.1, run=self._waiting)
        if asked.wiped:
            yield Part(name="a wiped broker", weight=70 + asked.wiped * 0.1, run=self._wiped)
        if asked.killed:
            yield Part(name="killed workers", weight=60 + asked.killed * 0.1, run=self._killed)
        yield Part(name="statements of an order", weight=8 + asked.orders * 0.06, run=self._statements)

    def run(self) -> None:
        parts = list(self.parts())
        begun, done, total = time.monotonic(), 0.0, sum(part.weight for part in parts)
        for place, part in enumerate(parts, 1):
            try:
                said = part.run()
            except (PeerFailed, NothingCame, subprocess.TimeoutExpired) as failed:
                self.found.failures.append(part.name)
                said = f"FAILED: {failed}"
            done += part.weight
            left_s = (time.monotonic() - begun) * (total - done) / done
            print(f"[{place} of {len(parts)}] {part.name}: {said} (about {left_s:.0f} s left)", flush=True)

    def _grown(self, size: int) -> str:
        self._shop.grow(size, lambda done: print(f"    {done:,} of {size:,} copied", flush=True))
        return "copied"

    def _costs(self, condition: str, workers: int = 2) -> str:
        with self._shop.at_work(workers) as working:
            self.found.costs[condition] = [measuring.burst(working, self._asked.orders) for _ in range(self._asked.rounds)]
        return self._said(condition)

    def _said(self, condition: str) -> str:
        foreign = self.found.middle(condition, lambda cost: cost.foreign)
        per_s = self.found.middle(condition, lambda cost: cost.per_s)
        others = f", others used {foreign:.0%} of the machine" if foreign > MARKED_ABOVE else ""
        return f"{self.found.served(condition):.1f} CPU ms an order, {per_s:.1f} orders/s{others}"

    def _queries(self, condition: str) -> str:
        self.found.queries[condition] = measuring.queries_ms(self._shop)
        return ", ".join(f"{name} {ms:.2f} ms" for name, ms in self.found.queries[condition].items())

    def _relayed(self, size: int) -> str:
        self.found.relayed[size] = rate = measuring.relayed(self._shop, self._asked.due)
        return f"{rate.per_s:,.0f} deliveries/s, {rate.cpu_ms:.2f} CPU ms each"

    def _held(self) -> str:
        with measuring.old_snapshot(self._shop), self._shop.at_work() as working:
            measuring.burst(working, self._asked.orders)  # what these leave behind cannot be cleared away
            self.found.costs[HELD] = [measuring.burst(working, self._asked.orders) for _ in range(self._asked.rounds)]
            self._queries(HELD)
        return self._said(HELD)

    def _waiting(self) -> str:
        with self._shop.at_work() as working:
            cost = measuring.worked_off(working, self._asked.backlog, lambda: self._queries(WAITING))
        self.found.costs[WAITING] = [cost]
        extra = self.found.extra(WAITING)
        return f"{self._said(WAITING)}, {'?' if extra is None else f'{extra:+.2%}'} messages"

    def _wiped(self) -> str:
        self.found.relaunched = rate = measuring.relaunched(self._shop, self._asked.wiped)
        return f"{rate.count:,} orders launched again, {rate.per_s:,.0f} a second, while the workers went on"

    def _killed(self) -> str:
        self.found.killed = one = measuring.killed(self._shop, self._asked.killed)
        return f"{one.left:,} of {one.count:,} orders were left, at rest after {one.seconds:.0f} s"

    def _statements(self) -> str:
        self.found.statements = measuring.statements(self._shop, self._asked.orders)
        return f"{self.found.statements:.1f}"


def show(asked: ScaleAsked) -> int:
    """The exit code. 0: every order was fulfilled, once, and nothing stood still. A figure beyond its goal is shown, and is no failure."""
    with open_servers(asked.folder) as servers:
        one = Show(asked, GrowingShop(servers))
        one.run()
    print(f"\n{page.costs(one.found, asked)}\n\n{page.goals(one.found, asked)}\n", flush=True)
    if asked.writes:
        page.write(one.found, asked)
    failed = f"{len(one.found.failures)} failed" + (f" ({', '.join(one.found.failures)})" if one.found.failures else "")
    print(f"scale: {len(one.found.costs)} conditions, {one.found.orders:,} orders fulfilled, {failed}", flush=True)
    return int(bool(one.found.failures) or not one.found.orders)
