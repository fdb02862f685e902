"""Rounds of runs in turns: in each round every peer runs once, in the next one in the other direction. What slows the machine for a while slows neighbours alike."""

import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from tests.bench.peers.catalogue import Peer
from tests.bench.peers.measuring import Burst, Calm, Measured
from tests.bench.peers.servers import PeerFailed

MARKED_ABOVE, WORTHLESS_ABOVE = 0.1, 0.3  # shares of the machine that somebody else used
Measure = Callable[[Peer, bool], Measured]


@dataclass(frozen=True, kw_only=True)
class Found:
    """``bursts``: by peer, one for each round; None: that run failed. ``failures``: sentences."""

    bursts: Mapping[str, Sequence[Burst | None]]
    calms: Mapping[str, Calm]
    failures: Sequence[str]

    def of(self, name: str) -> list[Burst]:
        """Those that count: a run beside a busy stranger only where there is no other."""
        good = [burst for burst in self.bursts.get(name, []) if burst]
        return [burst for burst in good if burst.foreign <= WORTHLESS_ABOVE] or good

    def ratio(self, name: str, to: str) -> float | None:
        """How many orders a CPU-second gives, beside those of ``to``: the median of what each round says. None: no round has both."""
        pairs = [pair for pair in zip(self.bursts.get(name, []), self.bursts.get(to, []), strict=False) if all(pair)]
        quiet = [pair for pair in pairs if max(one.foreign for one in pair if one) <= WORTHLESS_ABOVE]
        ratios = [other.total_ms / one.total_ms for one, other in quiet or pairs if one and other]
        return statistics.median(ratios) if ratios else None

    def median(self, name: str, figure: Callable[[Burst], float | None]) -> float | None:
        values = [value for burst in self.of(name) if (value := figure(burst)) is not None]
        return statistics.median(values) if values else None

    @property
    def runs(self) -> list[Burst]:
        return [burst for bursts in self.bursts.values() for burst in bursts if burst]

    @property
    def marked(self) -> int:
        return sum(burst.foreign > MARKED_ABOVE for burst in self.runs)

    @property
    def orders(self) -> int:
        return sum(burst.orders for burst in self.runs) + sum(calm.orders for calm in self.calms.values())


def run_rounds(peers: Sequence[Peer], rounds: int, measure: Measure) -> Found:
    """``measure(peer, is_first)``: in the first round it also measures what is calm."""
    bursts: dict[str, list[Burst | None]] = defaultdict(list)
    calms: dict[str, Calm] = {}
    failures: list[str] = []
    with Shown(rounds * len(peers)) as shown:
        for number in range(rounds):
            for peer in peers if number % 2 == 0 else reversed(peers):
                try:
                    measured = measure(peer, number == 0)
                except PeerFailed as failed:
                    bursts[peer.name].append(None)
                    failures.append(f"round {number + 1}, {peer.name}: {failed}")
                    shown.say(failures[-1])
                    continue
                bursts[peer.name].append(measured.burst)
                calms |= {peer.name: measured.calm} if measured.calm else {}
                shown.say(f"round {number + 1} of {rounds}, {peer.name}: {line(measured)}")
    return Found(bursts=bursts, calms=calms, failures=failures)


def line(measured: Measured) -> str:
    burst, calm = measured.burst, measured.calm
    sides = f"client {burst.client_ms:.1f}, workers {burst.workers_ms:.1f}, database {burst.database_ms:.1f}, broker {burst.broker_ms:.1f}"
    found = f"{burst.total_ms:.1f} CPU ms an order ({sides}), {burst.per_s:.1f} orders/s"
    if calm:
        found += f"; fulfilled after p50 {calm.fulfilled_p50_ms:.0f}, p95 {calm.fulfilled_p95_ms:.0f} ms; idle {calm.idle_workers_percent:.1f} % of a core"
    return f"{found}; BUSY: others used {burst.foreign:.0%} of the machine" if burst.foreign > MARKED_ABOVE else found


class Shown:
    """A bar on a terminal; elsewhere each line says how much is left."""

    def __init__(self, runs: int) -> None:
        self._console = Console(soft_wrap=True, highlight=False, markup=False)
        columns = (
            TextColumn("{task.completed}/{task.total} runs"),
            BarColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(True),
        )
        self._progress = Progress(*columns, console=self._console, disable=not self._console.is_terminal)
        self._task = self._progress.add_task("", total=runs)
        self._runs, self._done, self._begun = runs, 0, time.monotonic()

    def __enter__(self) -> "Shown":
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def say(self, line: str) -> None:
        self._done += 1
        left_s = (time.monotonic() - self._begun) / self._done * (self._runs - self._done)
        self._progress.advance(self._task)
        self._console.print(f"{line} (about {left_s:.0f} s left)")
