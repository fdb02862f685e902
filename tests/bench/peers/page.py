"""docs/performance.md: between two marks it shows what `make bench` has found, with a chart beside it."""

import datetime
import os
import platform
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path

import psutil

from tests.bench.markdown import write_measured
from tests.bench.peers import report
from tests.bench.peers.breakdown import Inside
from tests.bench.peers.catalogue import Peer
from tests.bench.peers.chart import chart
from tests.bench.peers.rounds import MARKED_ABOVE, Found
from tests.engines import ROOT

PAGE = ROOT / "docs" / "performance.md"
CHART = ROOT / "docs" / "performance.svg"
OF_THE_SHOP = ("celery", "django", "psycopg")


def write(found: Found, peers: Sequence[Peer], inside: Inside | None, rounds: int) -> None:
    peers = [peer for peer in peers if found.of(peer.name)]
    CHART.write_text(chart({peer.name: _sides(found, peer) for peer in peers}))
    parts = [
        f"{_when_and_where()} Rounds: {rounds}, whose medians are shown. "
        f"In {found.marked} of {len(found.runs)} runs others used more than {MARKED_ABOVE:.0%} of the machine.",
        "![CPU milliseconds of one order](performance.svg)",
        report.costs(found, peers),
        "What an order writes, and waits for:",
        report.writes(found, peers),
        "How long an order takes at 5 orders a second, and what is used while there is none:",
        report.calm(found, peers),
        *(["Where the shop's own milliseconds go:", report.inside(inside)] if inside else []),
    ]
    write_measured(PAGE, parts)


def _sides(found: Found, peer: Peer) -> list[float]:
    return [found.median(peer.name, column.value) or 0.0 for column in report.COSTS[:-1]]


def _when_and_where() -> str:
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in OF_THE_SHOP)
    memory_gb = psutil.virtual_memory().total / 1e9
    return (
        f"{datetime.datetime.now(datetime.UTC):%d %B %Y}, {_processor()}, {os.cpu_count()} cores, {memory_gb:.0f} GB, "
        f"{platform.system()} {platform.release().partition('-')[0]}; Python {platform.python_version()}, {versions}, PostgreSQL 18, Valkey 9."
    ).lstrip("0")


def _processor() -> str:
    """Its name; where the machine does not tell it, its family."""
    file = Path("/proc/cpuinfo")
    lines = file.read_text().splitlines() if file.exists() else []
    named: Mapping[str, str] = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return named.get("model name") or platform.processor() or platform.machine()
