"""Figures of one phase, and their medians over all rounds: milliseconds, from when a request was due until its answer."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from tests.bench.arrivals import Answered

PERCENTILES = (50, 95, 99)


@dataclass(frozen=True, kw_only=True)
class Figures:
    """``ms``: by percentile. ``late_ms``: the 95th percentile of how late a request was sent: what of ``ms`` is the clients' own. ``cpu_ms``: of the web processes,
    for each request. ``failed``: answered otherwise than 201, or not at all.
    """

    requests: int
    failed: int
    ms: dict[int, float]
    late_ms: float
    cpu_ms: float

    @classmethod
    def of(cls, answered: Sequence[Answered], cpu_s: float = 0.0) -> Self:
        good = [one.took_s * 1000 for one in answered if one.status == 201]
        return cls(
            requests=len(answered),
            failed=len(answered) - len(good),
            ms={percent: percentile(good, percent) for percent in PERCENTILES},
            late_ms=percentile([one.late_s * 1000 for one in answered], 95),
            cpu_ms=cpu_s * 1000 / max(1, len(answered)),
        )

    def __str__(self) -> str:
        times = ", ".join(f"p{percent} {ms:.1f}" for percent, ms in self.ms.items())
        return f"{self.requests} requests, {self.failed} failed; {times} ms (p95 of sending: {self.late_ms:.1f} ms); CPU {self.cpu_ms:.1f} ms each"


def percentile(values: Sequence[float], percent: int) -> float:
    """0 where there are too few values to say."""
    if len(values) < 2:
        return max(values, default=0.0)
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]


def median(rounds: Sequence[Figures]) -> Figures:
    """Of each figure by itself; the counts are sums."""
    return Figures(
        requests=sum(one.requests for one in rounds),
        failed=sum(one.failed for one in rounds),
        ms={percent: statistics.median(one.ms[percent] for one in rounds) for percent in PERCENTILES},
        late_ms=statistics.median(one.late_ms for one in rounds),
        cpu_ms=statistics.median(one.cpu_ms for one in rounds),
    )


def ratio(rounds: Sequence[Figures], to: Sequence[Figures], percent: int) -> float:
    """The median of what the rounds say, each of itself: what disturbs a whole round disturbs both."""
    return statistics.median(one.ms[percent] / max(other.ms[percent], 0.001) for one, other in zip(rounds, to, strict=True))


def table(rows: Mapping[str, Sequence[Figures]], to: str) -> str:
    """A line for each row: the medians over its rounds, and their ratio to those of row ``to``."""
    head = "".join(
        f"{name:>12}" for name in (*(f"p{percent} ms" for percent in PERCENTILES), *(f"p{percent} ×" for percent in PERCENTILES), "CPU ms")
    )
    return "\n".join([f"{'':34}{head}", *(_row(name, rounds, rows[to]) for name, rounds in rows.items())])


def _row(name: str, rounds: Sequence[Figures], to: Sequence[Figures]) -> str:
    middle = median(rounds)
    times = "".join(f"{middle.ms[percent]:12.1f}" for percent in PERCENTILES)
    ratios = "".join(f"{ratio(rounds, to, percent):12.2f}" for percent in PERCENTILES)
    return f"{name:34}{times}{ratios}{middle.cpu_ms:12.1f}"
