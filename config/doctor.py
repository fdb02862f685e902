"""What ``manage.py doctor`` finds: everything that the shop needs, and whatever waits for somebody, one finding a line.

Each finding stands with the owner of what it is about (``orders.findings`` lists the owners). This module puts them in the order in which they should be
repaired, and bounds each of them. It changes nothing, and waits for nothing longer than a few seconds. It leaves out what needs the database while that does not
answer.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

from django.db import DatabaseError

from config import broker, checks
from config.celery import app
from config.worker import findings as workers
from fulfillment.findings import crash_points, incidents, orders, providers, reconciliation, sweep
from orders import overload
from orders.database import is_timeout, limited
from orders.findings import FAIL, OK, Finding, backlog, database, first_line, processes, runbook, sessions
from sideeffects import findings as side_effects

ASK_FOR_S = 2.0
READ_FOR_S = 2.0
READ_OF_BACKLOG_FOR_S = 0.5  # it is a part of the incidents, which are read later
READ_OF_SIDE_EFFECTS_FOR_S = 0.5  # whoever holds their tables must not use up the time in which /status shows the core

# Name, finding, seconds for each of its statements; around the provider's answer, which is asked for meanwhile.
Row = tuple[str, Callable[[], Iterator[Finding]], float]
WHAT_THE_SHOP_NEEDS: tuple[Row, ...] = (
    ("sessions", sessions.limits, READ_FOR_S),
    ("proxy", sessions.proxy, READ_FOR_S),
    ("holders", orders.locks, READ_FOR_S),
    ("snapshots", sessions.snapshots, READ_FOR_S),
    ("replicas", sessions.replicas, READ_FOR_S),
    ("processes", processes.crash_loops, READ_FOR_S),
    ("sweep", sweep.sweep, READ_FOR_S),
    ("relay", side_effects.of_relay, READ_OF_SIDE_EFFECTS_FOR_S),
    ("queues", processes.queues, READ_FOR_S),
)
WHAT_WAITS: tuple[Row, ...] = (
    ("circuits", providers.circuits, READ_FOR_S),
    ("incidents", incidents.incidents, READ_FOR_S),
    ("reconciliation", reconciliation.reconciliation, READ_FOR_S),
    ("quarantine", sweep.quarantine, READ_FOR_S),
    ("orders", orders.orders, READ_FOR_S),
    ("releases", orders.releases, READ_FOR_S),
    ("bus", side_effects.of_bus, READ_OF_SIDE_EFFECTS_FOR_S),
    ("deliveries", side_effects.deliveries, READ_OF_SIDE_EFFECTS_FOR_S),
)


def examine(ask_for_s: float = ASK_FOR_S) -> Iterator[Finding]:
    """Everything, in the order in which it should be repaired. Workers and providers are waited for so long, each."""
    yield from _wiring()
    of_database = database.answers(READ_FOR_S)
    yield of_database
    can_read = of_database.level != FAIL
    if can_read:
        yield from database.writes(READ_FOR_S)
    with ThreadPoolExecutor(3) as meanwhile:  # each question to workers takes the whole time, and so may one to a provider
        of_workers = meanwhile.submit(workers.stats, app, ask_for_s)
        waiting = meanwhile.submit(broker.lengths, [overload.QUEUE])
        provider = meanwhile.submit(lambda: list(providers.sandbox(ask_for_s)))
        yield from workers.broker_and_workers(app, ask_for_s, _waits_in if can_read else lambda queue: "")
        answers = of_workers.result()
    yield from workers.pools(answers)
    if can_read:
        yield from _read("backlog", lambda: backlog.backlog(waiting.result().get(overload.QUEUE)), READ_OF_BACKLOG_FOR_S)
        yield from _read("connections", lambda: sessions.connections(workers.connections(answers)))
        yield from _read_all(WHAT_THE_SHOP_NEEDS)
    yield from provider.result()
    if can_read:
        yield from _read_all(WHAT_WAITS)
    yield from crash_points.crash_points()


def _read_all(rows: tuple[Row, ...]) -> Iterator[Finding]:
    for name, finding, within_s in rows:
        yield from _read(name, finding, within_s)


def _read(name: str, finding: Callable[[], Iterator[Finding]], within_s: float = READ_FOR_S) -> Iterator[Finding]:
    try:
        with limited(within_s):
            found = list(finding())
        yield from found
    except DatabaseError as error:
        held = is_timeout(error)
        to_do = "somebody holds its tables: after 5 s the finding “locks” names who" if held else "python manage.py migrate"
        book = runbook("database-held") if held else ""
        yield Finding(level=FAIL, what=name, found=f"cannot be read: {first_line(error)}", to_do=to_do, runbook=book)


def _waits_in(queue: str) -> str:
    try:
        with limited(READ_FOR_S):
            return side_effects.wait() if queue == "sideeffects" else orders.wait_in(queue)
    except DatabaseError:
        return ""


def _wiring() -> Iterator[Finding]:
    wrong = checks.serious()
    for found in wrong:
        yield Finding(level=FAIL, what="wiring", found=f"{found.id}: {found.msg}", to_do=found.hint or "")
    if not wrong:
        yield Finding(level=OK, what="wiring", found="every system check passes")
