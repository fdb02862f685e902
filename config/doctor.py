"""What an operator wants to know first, one finding a line: does everything that the shop needs answer, and does anything wait for somebody?

Nothing is changed, and nothing is waited for longer than a few seconds. What needs the database is left out while it does not answer.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import httpx
import kombu
from django.conf import settings
from django.core.checks import run_checks
from django.db import DatabaseError, connection

from config import releases, sessions
from config.broker import no_answer, trouble
from config.celery import app
from config.serving import pending_migrations
from fulfillment import engine, recovery
from fulfillment.circuit import CircuitState
from fulfillment.clock import shop_now
from fulfillment.engine.holding import sentence
from fulfillment.gateways import ROLES
from fulfillment.models import Circuit, Reconciliation, Saga, SagaState, StepRecord, StepState
from fulfillment.release import RELEASE
from orders import processes
from orders.attention import RUNBOOKS, IncidentKind, unresolved
from orders.database import advice, limited, was_not_granted, write
from sideeffects import people, relay
from sideeffects.models import DeliveryState

OK, WARN, FAIL = "ok", "warn", "FAIL"
ASK_FOR_S = 2.0
READ_FOR_S = 2.0
READ_OF_SIDE_EFFECTS_FOR_S = 0.5  # whoever holds their tables must not use up the time in which /status tells of the core
LOOP_DEAD_AFTER_S = 30.0
QUEUE_SILENT_AFTER_S = 30.0
SKEW_S = 2.0
ENOUGH_ROOM = 0.8  # of the server's connections: the rest is for a deploy, in which old and new processes run side by side
OVERDUE_S = 60.0
RECONCILE_MAY_TAKE_S = 600.0  # also where it is due every few seconds
CONSUMERS = {
    "undo": "celery -A config worker -P prefork -Q undo,saga -n saga@%h",
    "saga": "celery -A config worker -P prefork -Q undo,saga -n saga@%h",
    "sideeffects": "celery -A config worker -P prefork -Q sideeffects -n sideeffects@%h",
}


@dataclass(frozen=True, kw_only=True)
class Finding:
    """``level``: ok, warn (somebody should look) or FAIL (the shop does not work as it should). ``to_do`` and ``runbook`` for what is not ok."""

    level: str
    what: str
    found: str
    to_do: str = ""
    runbook: str = ""


def examine(ask_for_s: float = ASK_FOR_S) -> Iterator[Finding]:
    """Everything, in the order in which it should be repaired. Workers and providers are waited for so long, each."""
    yield from _wiring()
    database = _database()
    yield database
    knows = database.level != FAIL
    if knows:
        yield from _writes()
    with ThreadPoolExecutor(2) as meanwhile:  # each question to workers takes the whole time, and so may one to a provider
        pools = meanwhile.submit(sessions.of_workers, app, ask_for_s)
        provider = meanwhile.submit(lambda: list(_provider(ask_for_s)))
        yield from _workers(knows, ask_for_s)
        of_workers = pools.result()
    if knows:
        yield from _read(lambda: _connections(of_workers), "connections")
        for look in (_sessions, _holders, _snapshots, _replicas, _processes, _sweep):
            yield from _read(look)
        yield from _read(_relay, within_s=READ_OF_SIDE_EFFECTS_FOR_S)
        yield from _read(_queues)
    yield from provider.result()
    if knows:
        for look in (_circuits, _incidents, _reconciliation, _quarantine, _orders, _releases):
            yield from _read(look)
        yield from _read(_deliveries, within_s=READ_OF_SIDE_EFFECTS_FOR_S)
    yield from _crash_points()


def worst(findings: Iterable[Finding]) -> str:
    """The level of all of them together."""
    levels = {finding.level for finding in findings}
    return next((level for level in (FAIL, WARN) if level in levels), OK)


def _read(look: Callable[[], Iterator[Finding]], what: str = "", within_s: float = READ_FOR_S) -> Iterator[Finding]:
    try:
        with limited(within_s):
            found = list(look())
        yield from found
    except DatabaseError as error:
        what = what or look.__name__.strip("_")
        held = was_not_granted(error)
        to_do = "somebody holds its tables: the finding “locks” names who" if held else "python manage.py migrate"
        book = _book("database-held") if held else ""
        yield Finding(level=FAIL, what=what, found=f"cannot be read: {_first_line(error)}", to_do=to_do, runbook=book)


# --- what the shop needs -------------------------------------------------------------------------------------------------


def _wiring() -> Iterator[Finding]:
    wrong = [found for found in run_checks(databases=["default"]) if found.is_serious()]
    for found in wrong:
        yield Finding(level=FAIL, what="wiring", found=f"{found.id}: {found.msg}", to_do=found.hint or "")
    if not wrong:
        yield Finding(level=OK, what="wiring", found="every system check passes")


def _writes() -> Iterator[Finding]:
    """A server that fails over, or whose disk is full, answers every question and takes no order."""
    try:
        write(READ_FOR_S)
    except DatabaseError as error:
        to_do = (
            "wait if it fails over; else look at SHOW default_transaction_read_only, its disk, and whether DATABASE_URL names the primary"
        )
        yield Finding(level=FAIL, what="database", found=f"takes no writes: {_first_line(error)}", to_do=to_do)


def _database() -> Finding:
    try:
        version, skew_s, pending = _of_database()
    except DatabaseError as error:
        connection.close()
        return Finding(level=FAIL, what="database", found=f"does not answer: {_first_line(error)}", to_do=advice(error))
    told = f"PostgreSQL {version}, {pending} pending migrations, clock skew {abs(skew_s):.1f} s"
    if pending:
        return Finding(level=FAIL, what="database", found=told, to_do="python manage.py migrate")
    if abs(skew_s) > SKEW_S:
        to_do = "set this machine's clock: its logs lie, the shop goes by the database's"
        return Finding(level=WARN, what="database", found=told, to_do=to_do)
    return Finding(level=OK, what="database", found=told)


def _of_database() -> tuple[str, float, int]:
    """Version, seconds by which its clock is ahead of ours, pending migrations."""
    with limited(READ_FOR_S), connection.cursor() as cursor:
        asked = time.time()
        cursor.execute("SELECT current_setting('server_version'), extract(epoch FROM clock_timestamp())::float")
        version, instant = cursor.fetchone()
    skew_s = instant - (asked + time.time()) / 2
    return version.split()[0], skew_s, pending_migrations()


def _workers(database_answers: bool, ask_for_s: float) -> Iterator[Finding]:
    """The broker, and who consumes each queue."""
    broker: Any = kombu.Connection(settings.CELERY_BROKER_URL)
    address = broker.as_uri()
    if wrong := trouble():
        to_do = (
            "start it, give it room, or set CELERY_BROKER_URL to the one that takes writes; placed orders are kept and go on when it does"
        )
        yield Finding(level=FAIL, what="broker", found=f"{address} {wrong}", to_do=to_do)
        return
    yield Finding(level=OK, what="broker", found=f"{address} answers")
    consumers = _consumers(ask_for_s)
    for queue, start in CONSUMERS.items():
        if names := consumers.get(queue):
            yield Finding(level=OK, what="workers", found=f'queue "{queue}" is consumed by {", ".join(sorted(names))}')
        else:
            waits = _waits_for(queue) if database_answers else ""
            found = f'no worker answers for queue "{queue}"{waits}'
            yield Finding(level=FAIL, what="workers", found=found, to_do=start, runbook=_book("no-consumer"))


def _consumers(ask_for_s: float) -> dict[str, list[str]]:
    """The workers that answer in time, by queue."""
    try:
        answers = app.control.inspect(timeout=ask_for_s).active_queues() or {}
    except no_answer():
        return {}
    found: dict[str, list[str]] = {}
    for worker, queues in answers.items():
        for queue in queues:
            found.setdefault(queue["name"], []).append(worker)
    return found


def _waits_for(queue: str) -> str:
    try:
        with limited(READ_FOR_S):
            if queue == "sideeffects":
                count, one, many = relay.waiting(), "delivery", "deliveries"
            else:
                granted = StepState.UNDO_GRANTED if queue == "undo" else StepState.GRANTED
                count, one, many = StepRecord.objects.filter(state=granted).count(), "order", "orders"
    except DatabaseError:
        return ""
    return f" ({f'1 {one} waits' if count == 1 else f'{count} {many} wait'})" if count else ""


def _sessions() -> Iterator[Finding]:
    """Our own, as they came through whatever stands between us and the server."""
    role = settings.SAGA_PROCESS
    if missing := sessions.missing_limits():
        found = f"a {role} works without {', '.join(missing)}: a proxy has dropped what its connection asked for"
        yield Finding(level=FAIL, what="sessions", found=found, to_do=sessions.as_statements(missing), runbook=_book("database-held"))
    else:
        yield Finding(
            level=OK, what="sessions", found=f"the limits of a {role} session hold: waits for locks and open transactions have an end"
        )


def _connections(of_workers: int) -> Iterator[Finding]:
    parts, room = sessions.may_be_opened(of_workers), sessions.room()
    wanted = sum(parts.values())
    counted = ", ".join(f"{what} {count}" for what, count in parts.items())
    found = f"{wanted} of {room} may be opened at once ({counted})"
    if wanted <= room * ENOUGH_ROOM:
        yield Finding(level=OK, what="connections", found=found)
    else:
        to_do = "raise max_connections, run fewer processes, or put a pooling proxy in front (docs/settings.md, connections)"
        level = FAIL if wanted > room else WARN
        yield Finding(level=level, what="connections", found=found, to_do=to_do, runbook=_book("database-held"))


def _holders() -> Iterator[Finding]:
    """Sessions that keep what others need, whosever they are."""
    held = list(sessions.holders())
    for holder in held:
        others = "1 session waits" if holder.waiting == 1 else f"{holder.waiting} sessions wait"
        waits = f"; {others} for it now" if holder.waiting else ""
        holds = f"; it holds {', '.join(holder.holds)}" if holder.holds else ""
        found = f"session {holder.pid} ({holder.name}) has been in a transaction for {_long(holder.seconds)}, {holder.state}{holds}{waits}"
        to_do = f"if nobody needs it: SELECT pg_terminate_backend({holder.pid})"
        yield Finding(level=WARN, what="locks", found=found, to_do=to_do, runbook=_book("database-held"))
    if waiting := engine.waiting_for_our_database():
        orders = "1 order waits" if waiting == 1 else f"{waiting} orders wait"
        found = f"{orders} for our own database; it costs them time only"
        yield Finding(level=WARN, what="locks", found=found, to_do="they go on by themselves", runbook=_book("database-held"))
    elif not held:
        yield Finding(level=OK, what="locks", found="nobody stands still in a transaction")


def _snapshots() -> Iterator[Finding]:
    """What nobody can clear away makes rows that change often slower and slower."""
    old = list(sessions.old_snapshots())
    for snapshot in old:
        since = f" for {_long(snapshot.seconds)}" if snapshot.seconds is not None else ""
        found = f"{snapshot.holder} has held one{since}: what was written since cannot be cleared away"
        to_do = f"if nobody needs it: {snapshot.ends_it}"
        yield Finding(level=WARN, what="snapshots", found=found, to_do=to_do, runbook=_book("database-held"))
    if not old:
        yield Finding(level=OK, what="snapshots", found="nobody holds an old one")


def _replicas() -> Iterator[Finding]:
    """One that takes over without the last commits has never heard of orders that were paid."""
    replicas = list(sessions.replicas())
    late = [replica.name for replica in replicas if replica.is_synchronous is False]
    if late:
        is_are = "is" if len(late) == 1 else "are"
        found = (
            f"{len(late)} of {len(replicas)} replicas {is_are} asynchronous ({', '.join(late)}): one that is promoted has lost the last commits"
            " (customers may be charged for orders that nobody knows)"
        )
        to_do = "set synchronous_standby_names, or never promote it without `python manage.py recover --restored`"
        yield Finding(level=WARN, what="replicas", found=found, to_do=to_do, runbook=_book("forgotten_orders"))
    elif not replicas:
        yield Finding(level=OK, what="replicas", found="none is connected")
    elif any(replica.is_synchronous is None for replica in replicas):
        found = f"{len(replicas)} connected; whether they are synchronous cannot be seen by this login (GRANT pg_monitor would let it)"
        yield Finding(level=OK, what="replicas", found=found)
    else:
        yield Finding(level=OK, what="replicas", found=f"{len(replicas)} connected, all synchronous")


def _sweep() -> Iterator[Finding]:
    yield _loop("sweep", recovery.sweep_age_s(), recovery.BEAT_EVERY.total_seconds())


def _relay() -> Iterator[Finding]:
    yield _loop("relay", relay.age_s(), relay.BEAT_EVERY_S, ": side effects that failed, or whose message was lost, are not tried again")


def _loop(name: str, age_s: float | None, every_s: float, follows: str = "") -> Finding:
    """By its beat in the database, which is rarer than its rounds: `manage.py health` knows those of this host."""
    beat = "has never run" if age_s is None else f"its last beat is {_long(age_s)} old (one is due every {every_s:g} s)"
    if age_s is not None and age_s <= LOOP_DEAD_AFTER_S:
        return Finding(level=OK, what=name, found=f"at work; {beat}")
    return Finding(level=FAIL, what=name, found=f"{beat}{follows}", to_do=f"python manage.py {name}", runbook=_book("sweep-dead"))


def _processes() -> Iterator[Finding]:
    """Those that told of a crash loop; one that does not come as far as its first statement is seen by what it does not do: a queue without a consumer."""
    loops = processes.crash_loops()
    for loop in loops:
        found = f"{loop.name} has crashed {loop.crashes} times in a row, last {_long((shop_now() - loop.at).total_seconds())} ago"
        role, log = loop.name.partition("@")[0], settings.RUN_DIR / "log"
        where = log / f"{role}.log" if (log / f"{role}.log").exists() else "what it writes to its standard error"
        yield Finding(level=FAIL, what="processes", found=found, to_do=f"read the end of {where}", runbook=_book("crash_loop"))
    if not loops:
        yield Finding(level=OK, what="processes", found="none crashes again and again")


def _queues() -> Iterator[Finding]:
    """Stamps sent through the queues that have not come out."""
    ages = recovery.unanswered_for_s()
    silent = {queue: age_s for queue, age_s in ages.items() if age_s > settings.PROBE_AFTER_S}  # a younger stamp may well be on its way
    for queue, age_s in sorted(silent.items()):
        level = FAIL if age_s > QUEUE_SILENT_AFTER_S else WARN
        found = f'"{queue}" has let nothing out for {_long(age_s)}'
        yield Finding(
            level=level, what="queues", found=found, to_do="add workers, or restart those that hang", runbook=_book("no-consumer")
        )
    if not silent:
        yield Finding(level=OK, what="queues", found="whatever was sent through them came out")


def _provider(ask_for_s: float) -> Iterator[Finding]:
    """The sandbox, where it plays a provider; a real one is not asked."""
    roles = sorted(role for role, one in ROLES.items() if getattr(settings, one.setting).startswith("sandbox"))
    if not roles:
        return
    told = f"sandbox at {settings.SANDBOX_URL}, for {' and '.join(roles)}"
    try:
        httpx.get(f"{settings.SANDBOX_URL.rstrip('/')}/healthz", timeout=ask_for_s).raise_for_status()
    except (httpx.HTTPError, httpx.InvalidURL) as silent:
        to_do = "python manage.py sandbox, or set SANDBOX_URL; open orders wait and are tried again"
        yield Finding(level=FAIL, what="provider", found=f"{told}, {_in_words(silent, ask_for_s)}", to_do=to_do)
    else:
        yield Finding(level=OK, what="provider", found=f"{told}, answers")


def _circuits() -> Iterator[Finding]:
    """Providers that have not answered, as those found who needed them; and stops by a person."""
    out = Circuit.objects.exclude(state=CircuitState.CLOSED).order_by("name")
    for circuit in out:
        to_do = f"python manage.py circuit release {circuit.name}" if circuit.held_by else "ask the provider; orders go on by themselves"
        yield Finding(
            level=WARN if circuit.held_by else FAIL, what="circuits", found=sentence(circuit), to_do=to_do, runbook=_book("provider_down")
        )
    if not out:
        yield Finding(level=OK, what="circuits", found="all closed: no provider is known to be out")


# --- what waits for somebody ---------------------------------------------------------------------------------------------


def _forgotten() -> Iterator[Finding]:
    """Says nothing while all is well: mostly there is no such thing."""
    told = unresolved(kind=IncidentKind.FORGOTTEN_ORDERS).first()
    if told is not None:
        found = f"no orders are taken: {told.message}. This database has lost its last commits, or another took over that lacked them"
        to_do = "stop web, workers, sweep and relay; python manage.py recover --restored"
        yield Finding(level=FAIL, what="recovery", found=found, to_do=to_do, runbook=told.runbook)


def _incidents() -> Iterator[Finding]:
    yield from _forgotten()
    groups = recovery.groups()
    if not groups:
        yield Finding(level=OK, what="incidents", found="nothing waits for a person")
        return
    at_risk = recovery.amounts(*(group.at_risk for group in groups))
    found = f"{recovery.awake().count()} open, {at_risk or 'no money'} at risk"
    yield Finding(level=WARN, what="incidents", found=found, to_do="python manage.py incidents", runbook=groups[0].runbook)


def _reconciliation() -> Iterator[Finding]:
    """Its age, and what became of it. What it has found is told by incidents; that it does not run is told by nobody else."""
    last, age_s, every_s = recovery.last_reconciliation(), recovery.not_compared_for_s(), settings.RECONCILE_EVERY_S
    ended = f"one came to its end {_long(age_s)} ago" if last and last.compared_at and age_s is not None else "none has come to its end yet"
    found = f"{ended} (one is due every {_long(every_s)})"
    if last is None:
        yield _reconciliation_is(OK if age_s is None or age_s <= _too_old_s() else FAIL, found)
    elif age_s is not None and age_s > _too_old_s():
        yield _reconciliation_is(FAIL, f"{found}; of the last: {last.told or last.get_outcome_display().lower()}")
    elif last.outcome == Reconciliation.Outcome.FAILED:
        yield _reconciliation_is(WARN if last.compared_at else FAIL, f"the last one did not come to its end: {last.told}; {found}")
    elif last.unexplained:
        yield _reconciliation_is(WARN, f"{found}; {recovery.amounts(last.unexplained)} nobody can explain; {last.told}")
    elif last.outcome == Reconciliation.Outcome.IN_PART:
        yield _reconciliation_is(WARN, f"{found}; not everything could be compared: {last.told}")
    else:
        at_work = "; one is at work" if last.outcome == Reconciliation.Outcome.AT_WORK else ""
        yield _reconciliation_is(OK, f"{found}{at_work}{f': {last.told}' if last.told else ''}")


def _reconciliation_is(level: str, found: str) -> Finding:
    if level == OK:
        return Finding(level=OK, what="reconciliation", found=found)
    return Finding(
        level=level, what="reconciliation", found=found, to_do="python manage.py reconcile --since 48", runbook=_book("mismatch")
    )


def _too_old_s() -> float:
    """One was left out, and the next one is late too."""
    return float(2 * settings.RECONCILE_EVERY_S + RECONCILE_MAY_TAKE_S)


def _quarantine() -> Iterator[Finding]:
    """Orders on which no process can work."""
    count, age_s = recovery.held_since()
    if not count:
        yield Finding(level=OK, what="quarantine", found="every order can be worked on")
        return
    found = f"the sweep cannot work on {count} order{'s' if count > 1 else ''}, the longest for {_long(age_s)}"
    if held := recovery.held_by_somebody():
        found += f"; rows that {held} of them need{'s' if held == 1 else ''} are held by somebody: see locks"
    yield Finding(level=WARN, what="quarantine", found=found, to_do="python manage.py incidents", runbook=_book("quarantined"))


def _orders() -> Iterator[Finding]:
    moving = Saga.objects.filter(state__in=[SagaState.RUNNING, SagaState.COMPENSATING])
    oldest = moving.select_related("order").defer("plan").order_by("opened_at").first()
    if oldest is None:
        yield Finding(level=OK, what="orders", found="none under way")
        return
    age_s = (shop_now() - oldest.opened_at).total_seconds()
    found = f"{moving.count()} under way, the oldest ({oldest.order.number}) for {_long(age_s)}"
    if age_s <= settings.SAGA_DEADLINE_S:
        yield Finding(level=OK, what="orders", found=found)
    else:
        to_do = f"python manage.py why {oldest.order.number}"
        yield Finding(level=WARN, what="orders", found=found, to_do=to_do, runbook=_book("stuck"))


def _releases() -> Iterator[Finding]:
    """A deploy that is not finished, and whoever waits for its end."""
    running, waiting = releases.running(), releases.waiting()
    told = [f"{_count(one.orders)} for a process of release {needed}, since {one.since:%H:%M:%S} UTC" for needed, one in waiting.items()]
    if len(running) > 1:
        newest = max(running)
        sides = "; ".join(f"release {release}: {', '.join(one.kinds)}" for release, one in running.items())
        told.insert(0, f"{len(running)} releases run side by side since {running[newest].since:%H:%M:%S} UTC ({sides})")
    if told:
        to_do = "finish the deploy: restart what is of the older release, workers first"
        yield Finding(level=WARN, what="releases", found="; ".join(told), to_do=to_do, runbook=_book("unknown_step"))
    else:
        yield Finding(
            level=OK, what="releases", found=f"this is release {RELEASE}, no process of another one is seen, and no order waits for one"
        )


def _deliveries() -> Iterator[Finding]:
    overdue, piles = relay.waiting(OVERDUE_S), people.piles()
    dead, held = (sum(pile.count for pile in piles if pile.state == state) for state in people.WAITING)
    gone = ", ".join(sorted({pile.subscriber for pile in piles if pile.state == DeliveryState.HELD}))
    found = f"{relay.waiting()} waiting, {overdue} overdue, {dead} dead letters" + (
        f", {held} held for {gone}, which no code knows" if held else ""
    )
    silent = people.not_answering()
    found += "".join(f"; {subscriber}: {sentence}" for subscriber, sentence in silent.items())
    if piles or silent:
        yield Finding(level=WARN, what="deliveries", found=found, to_do="python manage.py deliveries", runbook=_book("dead_letter"))
    elif overdue:
        yield Finding(level=WARN, what="deliveries", found=found, to_do="they need the relay and a worker", runbook=_book("no-consumer"))
    else:
        yield Finding(level=OK, what="deliveries", found=found)


def _crash_points() -> Iterator[Finding]:
    if settings.CRASH_POINTS is not None:
        found = f"CRASH_POINTS is {settings.CRASH_POINTS}: processes may kill themselves on purpose"
        yield Finding(level=WARN, what="crash points", found=found, to_do="unset CRASH_POINTS, unless this is a test")


# --- words ---------------------------------------------------------------------------------------------------------------


def _count(orders: int) -> str:
    return "1 order waits" if orders == 1 else f"{orders} orders wait"


def _book(name: str) -> str:
    return f"{RUNBOOKS}/{name}.md"


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _in_words(silent: Exception, ask_for_s: float) -> str:
    """What is wrong with somebody who was asked by HTTP, after their name and a comma."""
    match silent:
        case httpx.HTTPStatusError():
            return f"answers {silent.response.status_code}"
        case httpx.ConnectTimeout() | httpx.ConnectError():
            return "cannot be reached"
        case httpx.TimeoutException():
            return f"has not answered within {ask_for_s:g} s"
        case httpx.InvalidURL() | httpx.UnsupportedProtocol():
            return "has an address that cannot be asked"
        case _:
            return "hangs up before it has answered"


def _long(seconds: float) -> str:
    """4.2 s, 9 min, 3 h, 12 d."""
    for unit, length in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.1f} s"
