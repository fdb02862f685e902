"""The show ``peers``: rounds of everybody, the tables, the chart, and the page that keeps them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tests.bench.peers import page, quick, report
from tests.bench.peers.breakdown import Inside, look_inside
from tests.bench.peers.catalogue import BY_NAME, OURS, QUICK, Peer
from tests.bench.peers.installation import Environments
from tests.bench.peers.measuring import Measured, measure
from tests.bench.peers.rounds import Found, run_rounds
from tests.bench.peers.servers import PeerFailed, Servers, open_servers
from tests.bench.peers.turns import run_turns


@dataclass(frozen=True, kw_only=True)
class PeersAsked:
    """``seconds``: of the slow orders; 0: none. ``orders``: of each burst; 0: as many as take about ten seconds. ``is_here``: all run with this Python.

    ``writes``: the page is written anew. ``keeps``: the ratios become those by which later quick runs are judged.
    """

    folder: Path
    names: Sequence[str]
    rounds: int
    seconds: float
    orders: int
    is_quick: bool = False
    is_here: bool = False
    writes: bool = False
    keeps: bool = False

    @property
    def as_quick(self) -> "PeersAsked":
        return replace(self, names=QUICK, rounds=quick.TURNS, seconds=0.0)


def show(asked: PeersAsked) -> int:
    """The exit code. 0: every run left the rows that it should, and something was measured; with ``is_quick`` also: no ratio has become worse."""
    asked = asked.as_quick if asked.is_quick else asked
    environments = Environments(None if asked.is_here else asked.folder.parent / "environment")
    environments.install()
    peers = [BY_NAME[name] for name in asked.names]
    with open_servers(asked.folder) as servers:
        found = (_turns if asked.is_quick else _rounds)(servers, environments, peers, asked)
        found, inside = _inside(servers, environments, asked, found)
    _tell(found, peers, inside)
    if asked.writes:
        page.write(found, peers, inside, asked.rounds)
    is_good = _judge(found, asked)
    print(report.summary(found, asked.rounds), flush=True)
    return 0 if is_good and found.runs and not found.failures else 1


def _rounds(servers: Servers, environments: Environments, peers: Sequence[Peer], asked: PeersAsked) -> Found:
    def of_one(peer: Peer, is_first: bool) -> Measured:
        orders, calm_s = asked.orders or peer.orders, asked.seconds if is_first else 0.0
        return measure(servers, peer, environments.python_of(peer), orders=orders, calm_s=calm_s)

    return run_rounds(peers, asked.rounds, of_one)


def _turns(servers: Servers, environments: Environments, peers: Sequence[Peer], asked: PeersAsked) -> Found:
    return run_turns(servers, peers, environments.python_of, asked.rounds, asked.orders)


def _inside(servers: Servers, environments: Environments, asked: PeersAsked, found: Found) -> tuple[Found, Inside | None]:
    """Of ours, where it was asked for. That it failed is a failure more."""
    if OURS not in asked.names or asked.is_quick:
        return found, None
    try:
        return found, look_inside(servers, environments.python_of(BY_NAME[OURS]), asked.orders or BY_NAME[OURS].orders)
    except PeerFailed as failed:
        return replace(found, failures=[*found.failures, f"inside of ours: {failed}"]), None


def _tell(found: Found, peers: Sequence[Peer], inside: Inside | None) -> None:
    tables = [report.costs(found, peers), report.writes(found, peers), report.calm(found, peers), report.inside(inside) if inside else ""]
    for table in filter(None, tables):
        print(f"\n{table}", flush=True)
    print(flush=True)


def _judge(found: Found, asked: PeersAsked) -> bool:
    if not asked.is_quick:
        return True
    if asked.keeps and not quick.disturbed(found):
        quick.keep(found)
    lines, is_good = quick.judged(found)
    print("\n".join(lines), flush=True)
    return is_good
