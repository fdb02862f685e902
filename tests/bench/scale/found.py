"""What was asked for, and what was found so far."""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.bench.scale.measuring import Cost, Killed, Rate


@dataclass(frozen=True, kw_only=True)
class ScaleAsked:
    """``sizes``: of finished orders, growing. ``orders``: of one burst, ``rounds`` of which are measured each time. ``backlog``: orders that wait. ``wiped``: orders
    whose messages are lost. ``killed``: orders in flight when all that work are killed. ``due``: deliveries that one relay publishes. 0 of the latter three: it is
    left out. ``writes``: docs/scaling.md is written anew.
    """

    folder: Path
    sizes: Sequence[int]
    orders: int
    rounds: int
    backlog: int
    wiped: int
    killed: int
    due: int
    workers: Sequence[int] = (1, 2, 4)
    writes: bool = False


@dataclass
class Found:
    """``costs``: by condition, of each round. ``queries``: by condition, milliseconds of each loop. ``relayed``: by the number of finished orders."""

    costs: dict[str, list[Cost]] = field(default_factory=dict)
    queries: dict[str, dict[str, float]] = field(default_factory=dict)
    relayed: dict[int, Rate] = field(default_factory=dict)
    relaunched: Rate | None = None
    killed: Killed | None = None
    statements: float = 0.0
    failures: list[str] = field(default_factory=list)

    @property
    def orders(self) -> int:
        return sum(cost.orders for rounds in self.costs.values() for cost in rounds) + sum(
            more.count for more in (self.relaunched, self.killed) if more
        )

    def middle(self, condition: str, what: Callable[[Cost], float]) -> float:
        """The median of its rounds; 0: it was not measured."""
        return statistics.median(map(what, self.costs[condition])) if self.costs.get(condition) else 0.0

    def working_rate(self) -> float:
        """Orders a second where nobody places any meanwhile; where that was not measured, the slowest rate that was."""
        rates = {condition: self.middle(condition, lambda cost: cost.per_s) for condition in self.costs}
        return rates.get(WAITING) or min(rates.values(), default=0.0)

    def served(self, condition: str) -> float:
        return self.middle(condition, lambda cost: cost.served_ms)

    def extra(self, condition: str) -> float | None:
        """Which share of the messages was too much, beside the condition in which an order took the fewest. None: it was not measured."""
        found = {one: self.middle(one, lambda cost: cost.messages) for one in self.costs}
        return found[condition] / min(found.values()) - 1 if condition in found else None


def of_size(size: int) -> str:
    return f"{size:,} finished orders"


def of_workers(count: int) -> str:
    return f"{count} worker{'s' if count > 1 else ''}"


WAITING, HELD = "a long queue", "an old snapshot"
