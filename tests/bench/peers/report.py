"""The table of what was found, and where the shop's milliseconds go; both as Markdown, which a terminal shows well enough."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tests.bench.markdown import table
from tests.bench.peers.breakdown import Inside
from tests.bench.peers.catalogue import DBOS, PLAIN, RAW, Peer
from tests.bench.peers.measuring import Burst, Calm
from tests.bench.peers.rounds import MARKED_ABOVE, Found


@dataclass(frozen=True, kw_only=True)
class Column:
    title: str
    value: Callable[[Burst], float | None]
    digits: int = 1


COSTS = [
    Column(title="client", value=lambda burst: burst.client_ms),
    Column(title="workers", value=lambda burst: burst.workers_ms),
    Column(title="database", value=lambda burst: burst.database_ms),
    Column(title="broker", value=lambda burst: burst.broker_ms),
    Column(title="CPU ms", value=lambda burst: burst.total_ms),
]
WRITES = [
    Column(title="write transactions", value=lambda burst: burst.write_transactions),
    Column(title="disk waits", value=lambda burst: burst.disk_waits),
    Column(title="WAL kB", value=lambda burst: burst.wal_kb),
    Column(title="without images", value=lambda burst: burst.wal_kb_without_images),
    Column(title="broker commands", value=lambda burst: burst.commands, digits=0),
    Column(title="others used %", value=lambda burst: 100 * burst.foreign, digits=0),
]
CALM: list[tuple[str, Callable[[Calm], float]]] = [
    ("fulfilled p50 ms", lambda calm: calm.fulfilled_p50_ms),
    ("p95 ms", lambda calm: calm.fulfilled_p95_ms),
    ("last side effect p95 ms", lambda calm: calm.effects_p95_ms),
    ("idle: workers % of a core", lambda calm: calm.idle_workers_percent),
    ("database %", lambda calm: calm.idle_database_percent),
]
BASES = (DBOS, RAW, PLAIN)


def costs(found: Found, peers: Sequence[Peer]) -> str:
    """CPU of one order by side, and how many orders a CPU-second gives beside others."""
    bases = [base for base in BASES if base in found.bursts]
    rows = [
        [_name(peer), *(_figure(found, peer, column) for column in COSTS), *(_shown(found.ratio(peer.name, base), 2) for base in bases)]
        for peer in peers
    ]
    return table(["", *(column.title for column in COSTS), *(f"× {base}" for base in bases)], rows)


def writes(found: Found, peers: Sequence[Peer]) -> str:
    rows = [[_name(peer), *(_figure(found, peer, column) for column in WRITES)] for peer in peers]
    return table(["", *(column.title for column in WRITES)], rows)


def calm(found: Found, peers: Sequence[Peer]) -> str:
    rows = [[_name(peer), *(_shown(value(found.calms[peer.name])) for _, value in CALM)] for peer in peers if peer.name in found.calms]
    return table(["", *(title for title, _ in CALM)], rows) if rows else ""


def inside(found: Inside) -> str:
    rows = [[place.name, _shown(place.cpu_ms), _shown(place.statements), _shown(place.waited_ms)] for place in found.places]
    total = ["together", _shown(sum(place.cpu_ms for place in found.places)), "", ""]
    idle = ", ".join(f"{name} {percent:.1f}" for name, percent in found.idle.items())
    return f"{table(['', 'CPU ms', 'statements', 'waits for the database, ms'], [*rows, total])}\n\nWithout any order, in percent of a core: {idle}."


def summary(found: Found, rounds: int) -> str:
    """The last line."""
    return (
        f"peers: {len(found.runs)} runs in {rounds} rounds, {found.orders:,} orders, all as they should be; {len(found.failures)} runs failed, "
        f"in {found.marked} others used more than {MARKED_ABOVE:.0%} of the machine"
    )


def _name(peer: Peer) -> str:
    return f"`{peer.name}`: {peer.says}"


def _figure(found: Found, peer: Peer, column: Column) -> str:
    return _shown(found.median(peer.name, column.value), column.digits)


def _shown(value: float | None, digits: int = 1) -> str:
    return "–" if value is None else f"{value:.{digits}f}"
