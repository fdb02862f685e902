"""docs/scaling.md: between two marks it shows what was measured, and what follows from it for more orders a second."""

import datetime
import os
from collections.abc import Callable

from tests.bench.markdown import table, write_measured
from tests.bench.peers.rounds import MARKED_ABOVE
from tests.bench.scale.found import HELD, WAITING, Found, ScaleAsked, of_size
from tests.bench.scale.measuring import Cost
from tests.engines import ROOT

PAGE = ROOT / "docs" / "scaling.md"
NOT_MEASURED = "not measured"
RATES = (10, 100, 1000)  # orders a second
COLUMNS: tuple[tuple[str, Callable[[Cost], float], str], ...] = (
    ("workers ms", lambda cost: cost.workers_ms, ".1f"),
    ("database ms", lambda cost: cost.database_ms, ".1f"),
    ("broker ms", lambda cost: cost.broker_ms, ".2f"),
    ("orders/s", lambda cost: cost.per_s, ".1f"),
    ("write transactions", lambda cost: cost.write_transactions, ".1f"),
    ("WAL kB", lambda cost: cost.wal_kb_without_images, ".1f"),
    ("messages", lambda cost: cost.messages, ".2f"),
)


def write(found: Found, asked: ScaleAsked) -> None:
    parts = [_when_and_where(found, asked), costs(found, asked), goals(found, asked), needs(found, asked)]
    write_measured(PAGE, parts)


def costs(found: Found, asked: ScaleAsked) -> str:
    """A row for each condition. Of each order."""
    to = found.served(next(iter(found.costs), ""))
    rows = []
    for condition in found.costs:
        figures = [format(found.middle(condition, value), form) for _, value, form in COLUMNS]
        served = found.served(condition)
        rows.append([condition, f"{served:.1f}", f"{served / to:.2f}" if to else "–", *figures])
    return table(["", "CPU ms", "×", *(name for name, _, _ in COLUMNS)], rows)


def goals(found: Found, asked: ScaleAsked) -> str:
    """What was to be shown, and what was found."""
    first, largest = of_size(asked.sizes[0]), of_size(asked.sizes[-1])
    growth = [(f"CPU of an order at {largest}", largest, first), ("CPU while an old snapshot is held", HELD, largest)]
    growth.append((f"CPU with {asked.backlog:,} orders in the queue", WAITING, largest))
    rows = [[name, "≤ 1.10 ×", _times(found.served(one), found.served(to))] for name, one, to in growth]
    slowest = max((ms for queries in found.queries.values() for ms in queries.values()), default=None)
    rows.append(["the slowest query for what is due", "≤ 2 ms", NOT_MEASURED if slowest is None else f"{slowest:.2f} ms"])
    extra = found.extra(WAITING)
    rows.append(["messages too many, with a long queue", "< 1 %", NOT_MEASURED if extra is None else f"{extra:+.2%}"])
    if found.relaunched:
        rows.append(
            [f"{found.relaunched.count:,} orders whose messages were lost: launched again", "≥ 200 /s", f"{found.relaunched.per_s:,.0f} /s"]
        )
    if found.killed:
        allowed_s = found.killed.allowed_s(found.working_rate())
        what = f"all workers killed with {found.killed.count:,} orders in flight, {found.killed.left:,} of them left: at rest after"
        rows.append([what, f"≤ {allowed_s:,.0f} s", f"{found.killed.seconds:,.0f} s"])
    for size, rate in found.relayed.items():
        rows.append([f"one relay, {4 * size:,} deliveries there", "≥ 1,500 /s", f"{rate.per_s:,.0f} /s ({rate.cpu_ms:.2f} CPU ms each)"])
    return table(["", "goal", "found"], rows)


def needs(found: Found, asked: ScaleAsked) -> str:
    """What so many orders a second take: the figures of one order, times the orders."""
    at = of_size(asked.sizes[-1])
    cores: list[tuple[str, Callable[[Cost], float]]] = [
        ("cores for placing, without HTTP", lambda cost: cost.client_ms / 1000),
        ("cores for workers, sweep and relay", lambda cost: cost.workers_ms / 1000),
        ("cores for PostgreSQL", lambda cost: cost.database_ms / 1000),
        ("cores for Valkey", lambda cost: cost.broker_ms / 1000),
        ("write transactions a second", lambda cost: cost.write_transactions),
        ("write-ahead log, MB/s, without full-page images", lambda cost: cost.wal_kb_without_images / 1000),
        ("messages a second", lambda cost: cost.messages),
        ("commands of Valkey a second", lambda cost: cost.commands),
    ]
    rows = [[name, *(_amount(found.middle(at, value) * rate) for rate in RATES)] for name, value in cores]
    rows.append(["statements a second", *(_amount(found.statements * rate) for rate in RATES)])
    return table(["orders a second", *(f"{rate:,}" for rate in RATES)], rows)


def _amount(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"


def _times(one: float, other: float) -> str:
    return f"{one / other:.2f} ×" if one and other else NOT_MEASURED


def _when_and_where(found: Found, asked: ScaleAsked) -> str:
    others = max((cost.foreign for rounds in found.costs.values() for cost in rounds), default=0.0)
    busy = f" Others used up to {others:.0%} of the machine, so the figures are too high." if others > MARKED_ABOVE else ""
    sizes = ", ".join(f"{size:,}" for size in asked.sizes)
    day = f"{datetime.datetime.now(datetime.UTC):%d %B %Y}".lstrip("0")
    what = f"bursts of {asked.orders:,} orders in {asked.rounds} rounds, at {sizes} finished orders, two workers"
    return f"{day}, {os.cpu_count()} cores for everything: {what}.{busy}"
