"""The phases of a show: what each round has found, with an estimate of what is left."""

import time
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.bench.figures import Figures


@dataclass(frozen=True, kw_only=True)
class Asked:
    """``seconds``: of one phase. ``warm_up``, ``flood``: orders that are placed before, and to find the saturation."""

    folder: Path
    rounds: int
    seconds: float
    warm_up: int = 40
    flood: int = 200


class Phases:
    """``rows``: by phase, the figures of each round."""

    def __init__(self, asked: Asked, per_round: int) -> None:
        self.rows: dict[str, list[Figures]] = defaultdict(list)
        self.requests = 0
        self._asked, self._total, self._done = asked, asked.rounds * per_round, 0
        self._begun = time.monotonic()

    def add(self, number: int, name: str, figures: Figures, beside: str = "") -> None:
        """``beside``: what else was counted meanwhile."""
        self.add_all(number, {name: figures})
        if beside:
            self.say(f"    {beside}")

    def add_all(self, number: int, found: Mapping[str, Figures]) -> None:
        """Those of one phase, measured side by side."""
        self._done += 1
        left_s = (self._total - self._done) * self._asked.seconds * 1.3
        for name, figures in found.items():
            self.rows[name].append(figures)
            self.requests += figures.requests
            self.say(f"round {number + 1} of {self._asked.rounds}, {name}: {figures} (about {left_s:.0f} s left)")

    @property
    def failed(self) -> int:
        return sum(figures.failed for rounds in self.rows.values() for figures in rounds)

    def end(self, name: str, also: str = "", *, missing: int = 0) -> int:
        """Says the last line. 0: all is well, and something was measured."""
        self.say(f"{name}: {self.requests:,} requests in {self._asked.rounds} rounds, {self.failed} failed{also}")
        return int(self.failed + missing > 0 or self.requests == 0)

    def say(self, line: str) -> None:
        print(line, flush=True)
