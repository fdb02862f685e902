"""Findings about the database's sessions: their limits, how many may be opened, who holds what others need, and which replicas follow."""

from collections.abc import Iterator

from django.conf import settings

from orders import sessions
from orders.findings import FAIL, OK, WARN, Finding, duration, runbook
from orders.text import counted

ENOUGH = 0.8  # of the server's connections: the rest is for a deploy, in which old and new processes run side by side
RUNBOOK = runbook("database-held")


def limits() -> Iterator[Finding]:
    """The limits of our own session, as they came through whatever stands between us and the server."""
    role = settings.SAGA_PROCESS
    if missing := sessions.missing_limits():
        found = f"a {role} works without {', '.join(missing)}: a proxy has dropped what its connection asked for"
        yield Finding(level=FAIL, what="sessions", found=found, to_do=sessions.as_statements(missing), runbook=RUNBOOK)
    else:
        found = f"the limits of a {role} session hold: waits for locks and open transactions have an end"
        yield Finding(level=OK, what="sessions", found=found)


def proxy() -> Iterator[Finding]:
    """A pooling proxy gives a process another session for each transaction. Says nothing where there is none."""
    if not sessions.is_behind_a_proxy():
        return
    if sessions.prepares_statements():
        found = "a pooling proxy stands before the database, and statements are prepared on the server: they belong to one session"
        to_do = "set PREPARED_STATEMENTS=0, unless the proxy keeps them apart for each client (docs/settings.md, a pooling proxy)"
        yield Finding(level=WARN, what="proxy", found=found, to_do=to_do, runbook=RUNBOOK)
    else:
        yield Finding(
            level=OK, what="proxy", found="a pooling proxy stands before the database, and nothing here needs a session of its own"
        )


def connections(of_workers: int) -> Iterator[Finding]:
    """What all processes may open at once, against what the server grants. ``of_workers``: what the workers that answered may open."""
    parts, connection_limit = sessions.may_be_opened(of_workers), sessions.connection_limit()
    wanted = sum(parts.values())
    processes = ", ".join(f"{what} {count}" for what, count in parts.items())
    found = f"{wanted} of {connection_limit} may be opened at once ({processes})"
    if wanted <= connection_limit * ENOUGH:
        yield Finding(level=OK, what="connections", found=found)
    else:
        to_do = "raise max_connections, run fewer processes, or put a pooling proxy in front (docs/settings.md, connections)"
        level = FAIL if wanted > connection_limit else WARN
        yield Finding(level=level, what="connections", found=found, to_do=to_do, runbook=RUNBOOK)


def holders() -> Iterator[Finding]:
    """Sessions that keep what others need, whosever they are."""
    for holder in sessions.holders():
        waits = f"; {counted(holder.waiting, 'session', 'wait')} for it now" if holder.waiting else ""
        holds = f"; it holds {', '.join(holder.holds)}" if holder.holds else ""
        since = f"has been in a transaction for {duration(holder.seconds)}, {holder.state}"
        found = f"session {holder.pid} ({holder.name}) {since}{holds}{waits}"
        to_do = f"if nobody needs it: SELECT pg_terminate_backend({holder.pid})"
        yield Finding(level=WARN, what="locks", found=found, to_do=to_do, runbook=RUNBOOK)


def snapshots() -> Iterator[Finding]:
    """Old snapshots. PostgreSQL cannot clear away what was written since, so rows that change often become slower and slower."""
    old = list(sessions.old_snapshots())
    for snapshot in old:
        since = f" for {duration(snapshot.seconds)}" if snapshot.seconds is not None else ""
        found = f"{snapshot.holder} has held one{since}: what was written since cannot be cleared away"
        to_do = f"if nobody needs it: {snapshot.ends_it}"
        yield Finding(level=WARN, what="snapshots", found=found, to_do=to_do, runbook=RUNBOOK)
    if not old:
        yield Finding(level=OK, what="snapshots", found="nobody holds an old one")


def replicas() -> Iterator[Finding]:
    """Replicas that could take over. One that takes over without the last commits has never heard of orders that were paid."""
    found = list(sessions.replicas())
    late = [replica.name for replica in found if replica.is_synchronous is False]
    if late:
        is_are = "is" if len(late) == 1 else "are"
        sentence = (
            f"{len(late)} of {len(found)} replicas {is_are} asynchronous ({', '.join(late)}): one that is promoted has lost the last commits"
            " (customers may be charged for orders that nobody knows)"
        )
        to_do = "set synchronous_standby_names, or never promote it without `python manage.py recover --restored`"
        yield Finding(level=WARN, what="replicas", found=sentence, to_do=to_do, runbook=runbook("forgotten_orders"))
    elif not found:
        yield Finding(level=OK, what="replicas", found="none is connected")
    elif any(replica.is_synchronous is None for replica in found):
        sentence = f"{len(found)} connected; whether they are synchronous cannot be seen by this login (GRANT pg_monitor would let it)"
        yield Finding(level=OK, what="replicas", found=sentence)
    else:
        yield Finding(level=OK, what="replicas", found=f"{len(found)} connected, all synchronous")
