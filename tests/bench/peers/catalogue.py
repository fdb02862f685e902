"""Who is measured."""

from collections.abc import Mapping
from dataclasses import dataclass, field

PROGRAMS = "tests.bench.peers.programs"
EVENTS = {"BENCH_EVENTS": "1"}
COLLAPSED = {"CHAIN_COLLAPSE": "1"}


@dataclass(frozen=True, kw_only=True)
class Peer:
    """``program``: its module. ``orders``: of one burst, so that it takes about ten seconds. ``writes_rows``: else it only notes in files what it has done."""

    name: str
    says: str
    program: str
    orders: int
    variables: Mapping[str, str] = field(default_factory=dict)
    writes_rows: bool = True

    @property
    def is_ours(self) -> bool:
        return self.program == "ours.program"

    @property
    def module(self) -> str:
        return f"{PROGRAMS}.{self.program}"


def _ours(name: str, says: str, **variables: str) -> Peer:
    return Peer(name=name, says=says, program="ours.program", orders=300, variables=variables)


OURS, RAW, RAW_EVENTS, DBOS, PLAIN = "ours", "raw", "raw+events", "dbos", "plain"
ALL = [
    _ours(OURS, "the shop, a message for each step"),
    _ours("ours+events", "the same, with task events", **EVENTS),
    _ours("collapsed", "the shop, the next step in the same task", **COLLAPSED),
    _ours("collapsed+events", "the same, with task events", **COLLAPSED, **EVENTS),
    Peer(name=RAW, says="raw Celery: 8 tasks that do nothing", program="raw", orders=600, writes_rows=False),
    Peer(name=RAW_EVENTS, says="the same, with task events", program="raw", orders=400, writes_rows=False, variables=EVENTS),
    Peer(name=DBOS, says="DBOS, tuned", program="on_dbos", orders=300),
    Peer(name="procrastinate", says="Procrastinate", program="on_procrastinate", orders=300),
    Peer(name=PLAIN, says="Django and Celery as documented", program="plain.program", orders=150),
    Peer(name="plain tuned", says="the same, tuned", program="plain.program", orders=300, variables={"BENCH_TUNED": "1"}),
    Peer(name="bare", says="bare transactions: no queue, no messages", program="bare", orders=1500),
]
BY_NAME = {peer.name: peer for peer in ALL}
QUICK = (OURS, RAW, DBOS)
