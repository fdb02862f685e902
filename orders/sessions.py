"""The database's sessions: which limits ours has, how many all processes may open, who holds locks or old snapshots for long, and which replicas follow."""

from collections.abc import Iterator
from dataclasses import dataclass

from django.conf import settings
from django.db import connection

PER_LOOP = 2  # sweep and relay: one at work, one to spare
FOR_COMMANDS = 10  # a reconciliation, a migration, what operators run and probes ask
IDLE_FOR_S = 5.0
OLD_AFTER_S = 60.0
TABLES = 8

LIMITS = "SELECT name, reset_val::float / 1000 FROM pg_settings WHERE name = ANY(%s)"
GRANTED = """
SELECT current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
    - coalesce(current_setting('reserved_connections', true), '0')::int
"""
# Whoever stands still in a transaction, and whoever others wait for; the longest first.
HOLDERS = """
WITH waiting AS (
    SELECT waits.pid, unnest(pg_blocking_pids(waits.pid)) AS holder FROM pg_stat_activity AS waits WHERE waits.wait_event_type = 'Lock'
)
SELECT held.pid, coalesce(nullif(held.application_name, ''), 'unnamed'), held.state,
    extract(epoch FROM clock_timestamp() - held.xact_start)::float, (SELECT count(*) FROM waiting WHERE waiting.holder = held.pid),
    ARRAY(
        SELECT CASE WHEN bool_or(l.mode NOT IN ('RowShareLock', 'RowExclusiveLock')) THEN 'the table ' ELSE 'rows of ' END || c.relname AS what
        FROM pg_locks AS l JOIN pg_class AS c ON c.oid = l.relation
        WHERE l.pid = held.pid AND l.granted AND l.locktype = 'relation' AND l.mode <> 'AccessShareLock' AND c.relkind IN ('r', 'p')
        GROUP BY c.relname ORDER BY what DESC LIMIT %(tables)s
    )
FROM pg_stat_activity AS held
WHERE held.datname = current_database() AND held.pid <> pg_backend_pid() AND held.xact_start IS NOT NULL
    AND ((held.state LIKE 'idle in transaction%%' AND held.state_change < clock_timestamp() - make_interval(secs => %(idle)s))
        OR (held.xact_start < clock_timestamp() - make_interval(secs => %(idle)s) AND held.pid IN (SELECT holder FROM waiting)))
ORDER BY held.xact_start
"""
# Whoever keeps PostgreSQL from clearing away what was written since: sessions at work, prepared transactions, and replicas that are away.
OLD_SNAPSHOTS = """
SELECT 'session ' || pid || ' (' || coalesce(nullif(application_name, ''), 'unnamed') || ')', extract(epoch FROM clock_timestamp() - xact_start)::float,
    'SELECT pg_terminate_backend(' || pid || ')'
FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_xmin IS NOT NULL
    AND xact_start < clock_timestamp() - make_interval(secs => %(old)s)
UNION ALL
SELECT 'prepared transaction ' || quote_literal(gid), extract(epoch FROM clock_timestamp() - prepared)::float, 'ROLLBACK PREPARED ' || quote_literal(gid)
FROM pg_prepared_xacts WHERE database = current_database() AND prepared < clock_timestamp() - make_interval(secs => %(old)s)
UNION ALL
SELECT 'replication slot ' || slot_name, NULL, 'SELECT pg_drop_replication_slot(' || quote_literal(slot_name) || ')'
FROM pg_replication_slots WHERE NOT active AND (xmin IS NOT NULL OR catalog_xmin IS NOT NULL)
ORDER BY 2 DESC NULLS FIRST
"""
# What copies the log to keep it, or reads changes out of it, is nothing that could be promoted. Without pg_monitor a login sees who is there, and no more.
REPLICAS = """
SELECT coalesce(nullif(application_name, ''), 'unnamed'),
    sync_state IN ('sync', 'quorum') AND current_setting('synchronous_commit') NOT IN ('off', 'local')
FROM pg_stat_replication
WHERE coalesce(application_name, '') NOT IN ('pg_basebackup', 'pg_receivewal')
    AND NOT EXISTS (SELECT FROM pg_replication_slots WHERE active_pid = pg_stat_replication.pid AND slot_type = 'logical')
ORDER BY 1
"""


@dataclass(frozen=True, kw_only=True)
class Replica:
    """A server that copies ours and could take its place. ``is_synchronous``: commits wait until it has them; None: this login may not see that."""

    name: str
    is_synchronous: bool | None


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """Who holds an old snapshot, for how many seconds (None: nobody knows), and the statement that ends it."""

    holder: str
    seconds: float | None
    ends_it: str


@dataclass(frozen=True, kw_only=True)
class Holder:
    """A session that has been in its transaction for ``seconds``, and how many others wait for it right now.

    ``holds``: the tables, or rows of which, it keeps from others, by the locks that PostgreSQL lists; at most eight, whole tables first.
    """

    pid: int
    name: str
    state: str
    seconds: float
    waiting: int
    holds: list[str]


def is_behind_a_proxy() -> bool:
    """The process that serves us is not the one that has greeted us: something stands between, and may give us another one for each transaction."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        (serves,) = cursor.fetchone()
    return bool(serves != connection.connection.info.backend_pid)


def prepares_statements() -> bool:
    """On the server, where they belong to one session."""
    connection.ensure_connection()
    return connection.connection.prepare_threshold is not None


def missing_limits() -> dict[str, float]:
    """The limits of this process that its connection does not have: a proxy has dropped them."""
    wanted = settings.SESSION_LIMITS_S[settings.SAGA_PROCESS]
    with connection.cursor() as cursor:
        cursor.execute(LIMITS, [list(wanted)])
        found = dict(cursor.fetchall())
    return {name: seconds for name, seconds in wanted.items() if abs(found.get(name, -1.0) - seconds) > 0.0005}


def as_statements(limits: dict[str, float]) -> str:
    """What gives a login these limits for good."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT quote_ident(current_user)")
        login = cursor.fetchone()[0]
    return " ".join(f"ALTER ROLE {login} SET {name} = '{seconds * 1000:.0f}ms';" for name, seconds in limits.items())


def connection_limit() -> int:
    """Connections that the server grants to whoever is no superuser."""
    with connection.cursor() as cursor:
        cursor.execute(GRANTED)
        return int(cursor.fetchone()[0])


def may_be_opened(of_workers: int) -> dict[str, int]:
    """Connections that each kind of process may have open at once, counted as docs/settings.md says."""
    relays = PER_LOOP * (2 if settings.BUS_URL else 1)  # the bus has a connection of its own
    return {"web": settings.WEB_CONNECTIONS, "workers": of_workers, "sweep": PER_LOOP, "relay": relays, "commands": FOR_COMMANDS}


def holders() -> Iterator[Holder]:
    with connection.cursor() as cursor:
        cursor.execute(HOLDERS, {"idle": IDLE_FOR_S, "tables": TABLES})
        for pid, name, state, seconds, waiting, holds in cursor.fetchall():
            yield Holder(pid=pid, name=name, state=state, seconds=seconds, waiting=waiting, holds=holds)


def old_snapshots() -> Iterator[Snapshot]:
    with connection.cursor() as cursor:
        cursor.execute(OLD_SNAPSHOTS, {"old": OLD_AFTER_S})
        for holder, seconds, ends_it in cursor.fetchall():
            yield Snapshot(holder=holder, seconds=seconds, ends_it=ends_it)


def replicas() -> Iterator[Replica]:
    with connection.cursor() as cursor:
        cursor.execute(REPLICAS)
        for name, is_synchronous in cursor.fetchall():
            yield Replica(name=name, is_synchronous=is_synchronous)
