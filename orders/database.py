"""What an error of the database says, by PostgreSQL's own code (SQLSTATE): a lost race, a timeout, a connection that is of no use any more.

All of these are our own trouble: they say nothing about a provider, and spend nobody's tries or deadlines.
Source: https://www.postgresql.org/docs/current/errcodes-appendix.html
"""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TypeVar

import psycopg
from django.db import DatabaseError, InterfaceError, InternalError, OperationalError, connection, transaction

Key = TypeVar("Key")
Row = TypeVar("Row")

OWN_DATABASE = "own_database"  # the code of whatever our own database could not serve

RACES = ("40001", "40P01")  # serialization_failure, deadlock_detected: nothing was done, and the same again may well succeed
CUT = "57014"  # query_canceled: a limit of the server has ended the statement
TIMEOUTS = ("55P03", CUT)  # lock_not_available
UNUSABLE = (
    "25006",  # read_only_sql_transaction: a session that was opened before, or on, a server that takes no writes
    "25P03",  # idle_in_transaction_session_timeout
    "25P04",  # transaction_timeout
    "53300",  # too_many_connections
    "57P01",  # admin_shutdown
    "57P02",  # crash_shutdown
    "57P03",  # cannot_connect_now
    "57P04",  # database_dropped
    "57P05",  # idle_session_timeout
)
UNUSABLE_CLASS = "08"  # connection exceptions
BAD_VALUE_CLASS = "22"  # data exceptions: here even the first sentence quotes the value
QUOTED = re.compile(r'".*"', re.DOTALL)
SHORTAGE_CLASS = "53"  # disk full, out of memory: the connection is well, the server is not

START_IT = "start it (the whole shop: `make up`), or set DATABASE_URL to a server of yours"
END_SOME = "its connections are all taken: end sessions that idle (pg_stat_activity names them), or raise max_connections"
TO_DO = (
    ("too many clients", END_SOME),
    ("too many connections", END_SOME),
    ("connection slots are reserved", END_SOME),
    ("the database system is", "wait: it starts, stops or recovers; look at its own log if that lasts for minutes"),
    ("authentication failed", "set DATABASE_URL: the server refuses this user or its password"),
    ("does not exist", "set DATABASE_URL: the server has no such database or user"),
)


def sqlstate(error: BaseException) -> str:
    """PostgreSQL's own code of what went wrong; empty where the server was not heard."""
    return getattr(error.__cause__, "sqlstate", None) or getattr(error, "sqlstate", None) or ""


def hide_values(error: psycopg.Error) -> None:
    """Of the server's words the first sentence is kept, which names tables and constraints. What follows (DETAIL, CONTEXT, the statement) quotes rows: names and
    addresses of customers would stand in every log and page that shows the error.
    """
    primary = error.diag.message_primary
    if primary is not None:
        error.args = (QUOTED.sub('"…"', primary) if sqlstate(error).startswith(BAD_VALUE_CLASS) else primary,)


def advice(error: BaseException) -> str:
    """What to do about a server that lets nobody in. Its own words decide: the client library keeps no SQLSTATE of a connection that was refused."""
    return next((to_do for words, to_do in TO_DO if words in str(error)), START_IT)


def lost_a_race(error: BaseException) -> bool:
    return sqlstate(error) in RACES


def is_timeout(error: BaseException) -> bool:
    """A lock or a statement took longer than its limit: somebody else holds the rows."""
    return sqlstate(error) in TIMEOUTS


def is_unusable(error: BaseException) -> bool:
    """The connection, or the whole server, cannot work: whoever has met this drops its connection.

    An InternalError without a code is the client library's: it has read answers that it did not ask for, as when a proxy ends a session that is at work.
    """
    code = sqlstate(error)
    if not code:
        return isinstance(error, OperationalError | InterfaceError | InternalError)
    return code in UNUSABLE or code.startswith(UNUSABLE_CLASS)


def is_our_trouble(error: BaseException) -> bool:
    """The database could not serve us now; the same may succeed later, unchanged. Anything else (a constraint, a wrong statement) is a fault of the code."""
    if not isinstance(error, DatabaseError | InterfaceError):
        return False
    return lost_a_race(error) or is_timeout(error) or is_unusable(error) or sqlstate(error).startswith(SHORTAGE_CLASS)


def wait_for_locks(within_s: float) -> None:
    """In the current transaction a lock is waited for no longer than this."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config('lock_timeout', %s, true)", [f"{round(within_s * 1000)}ms"])


def readable(keys: Sequence[Key], read: Callable[[Sequence[Key]], list[Row]], broken: Callable[[Key], None] | None = None) -> list[Row]:
    """What ``read`` returns for these keys, in its own transaction; where something is broken, half of them at a time, so that one costs the others nothing.

    ``broken`` is called with each key that cannot be read alone. Raises what is the database's own trouble.
    """
    try:
        with transaction.atomic():
            return read(keys)
    except Exception as error:
        if is_our_trouble(error):
            raise
        if len(keys) > 1:
            half = len(keys) // 2
            return [*readable(keys[:half], read, broken), *readable(keys[half:], read, broken)]
        if broken is not None and keys:
            broken(keys[0])
        return []


@contextmanager
def limited(within_s: float) -> Iterator[None]:
    """A transaction in which the server ends each statement, and each wait for a lock, after ``within_s`` seconds."""
    limit = f"{round(within_s * 1000)}ms"
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SELECT set_config('statement_timeout', %s, true), set_config('lock_timeout', %s, true)", [limit, limit])
        yield


@contextmanager
def snapshot() -> Iterator[None]:
    """Whatever is read inside is of one instant, and nothing can be written. Inside a transaction that has begun earlier it changes nothing.

    The transaction begins as such (BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY), so it takes no statement more than any other.
    """
    if connection.in_atomic_block:
        yield
        return
    connection.close_if_health_check_failed()
    connection.ensure_connection()
    session = connection.connection
    session.isolation_level, session.read_only = psycopg.IsolationLevel.REPEATABLE_READ, True
    try:
        with transaction.atomic():
            yield
    finally:
        if not session.closed:
            session.isolation_level, session.read_only = None, None


def kept_apart() -> AbstractContextManager[None]:
    """What the database refuses inside spoils no transaction around it: that costs a savepoint, where there is one."""
    return transaction.atomic() if connection.in_atomic_block else nullcontext()


def write(within_s: float) -> None:
    """Commits something to the disk that nobody keeps: a message in the write-ahead log. Raises DatabaseError: no order could be placed now."""
    with limited(within_s), connection.cursor() as cursor:
        cursor.execute("SELECT 1 FROM django_migrations LIMIT 1 FOR UPDATE SKIP LOCKED")  # refused by a session that is read-only
        cursor.execute("SELECT pg_logical_emit_message(true, 'readiness', '')")
