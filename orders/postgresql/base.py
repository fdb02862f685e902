"""Django's PostgreSQL backend, with two differences: a connection that cannot work any more is closed when that is noticed, and never kept; and an error says
what is wrong with a row, and not what stands in it.

Four things end a connection. The server says that it is of no use (``orders.database``). A command is interrupted, by a signal's exception, before its answer was
read: nobody knows whether it took place, so the server must roll back what is open. A session turns out to be read-only when its owner begins something new: after
a failover it would answer ``SELECT 1`` for ever and refuse every order. The server stands still: its own limits end nothing then, and a kernel that answers for it
hides that from ours, so the answer is waited for ``ANSWER_WITHIN_S`` at most (web and loops).

Note: a silent server. Each thread of a web process that asks one is kept for seconds, and then nobody is left who answers a probe. So once it has been silent, one
thread at a time asks it for a connection; the others are refused at once, until it has answered.
"""

import functools
import select
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Any

import psycopg
from django.conf import settings
from django.db import Error
from django.db.backends.postgresql import base, operations
from django.db.utils import DatabaseErrorWrapper
from django.utils.functional import cached_property
from psycopg.pq import TransactionStatus

from orders.database import hide_values, is_unusable

# The latter is what Connection.wait raises; it has no public name.
SILENCE = (psycopg.errors.ConnectionTimeout, psycopg.errors._WaitTimeout)
BELIEVED_FOR_S = (
    1.0  # after the server has said that a session can write; a round trip for each of a hundred tasks a second would say no more
)


class DatabaseOperations(operations.DatabaseOperations):
    def last_executed_query(self, cursor: Any, sql: str, params: Any) -> str:
        """For whoever counts or shows queries."""
        shown: str = f"{sql} {params}" if isinstance(cursor, psycopg.RawCursor) else super().last_executed_query(cursor, sql, params)
        return shown


class DatabaseWrapper(base.DatabaseWrapper):
    """What Django closes or keeps by ``SELECT 1``, this closes or keeps by whether it can write."""

    ops_class = DatabaseOperations

    @cached_property
    def wrap_database_errors(self) -> DatabaseErrorWrapper:
        """Every statement, fetch, commit and rollback passes through this, in Django too."""
        return _Watched(self)

    def get_new_connection(self, conn_params: dict[str, Any]) -> "psycopg.Connection[Any]":
        with _server.asking():
            raw: psycopg.Connection[Any] = super().get_new_connection(conn_params)
        _wait_at_most(raw, settings.ANSWER_WITHIN_S)
        self._believed_until = 0.0
        return raw

    def rows_of_prepared(self, sql: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
        """All rows of a statement that is run again and again: the server parses and plans it once for each session (PREPARED_STATEMENTS).

        Its parameters are PostgreSQL's own ($1, $2), so psycopg parses nothing either. A session has one cursor for all of them, which remembers how each type is
        read and written. Whoever listens to what is run (``execute_wrapper``, a debug cursor) hears of it as of any other statement.
        """
        self.close_if_health_check_failed()
        self.ensure_connection()
        if self.execute_wrappers or self.queries_logged:
            return self._rows_that_are_listened_to(sql, values)
        self.validate_thread_sharing()
        self.validate_no_broken_transaction()
        with self.wrap_database_errors:
            return _all_rows(self._cursor_of_prepared().execute(sql, values))

    def _rows_that_are_listened_to(self, sql: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
        """On the same cursor, which stays open: what tests and the simulation hear of is what runs where nobody listens."""
        with self.wrap_database_errors:
            raw = self._cursor_of_prepared()
        cursor: Any = self._prepare_cursor(raw)  # type: ignore[attr-defined]
        cursor.name = "prepared"  # else django-pgtrigger, where it lifts a trigger, puts a statement of another style before it
        cursor.execute(sql, values)
        with self.wrap_database_errors:
            return _all_rows(raw)

    def _cursor_of_prepared(self) -> "psycopg.RawCursor[Any]":
        if self._prepared is None or self._prepared.connection is not self.connection:
            self._prepared = psycopg.RawCursor(self.connection)
        return self._prepared

    def close_if_health_check_failed(self) -> None:
        """What the server has said a moment ago is believed, unless something has come from it since: that is how a server says goodbye."""
        if self.health_check_done:  # type: ignore[has-type]
            return
        raw = self.connection
        if raw is not None and not raw.closed and time.monotonic() < self._believed_until and not _has_something_to_say(raw):
            self.health_check_done = True
            return
        super().close_if_health_check_failed()

    _prepared: "psycopg.RawCursor[Any] | None" = None
    _believed_until = 0.0

    def is_usable(self) -> bool:
        """Asked at the first use in each request and task. One round trip, as Django's own question; it costs the server nothing, so it is soon answered."""
        raw, within_s = self.connection, settings.ANSWER_WITHIN_S
        try:
            _wait_at_most(raw, within_s and min(within_s, settings.CONNECT_TIMEOUT_S))
            with raw.cursor() as cursor:
                cursor.execute("SELECT current_setting('transaction_read_only')")
                can_write = bool(cursor.fetchone() == ("off",))
            self._believed_until = time.monotonic() + BELIEVED_FOR_S if can_write else 0.0
            return can_write
        except self.Database.Error as error:
            _server.heard_of(error)
            return False
        finally:
            _wait_at_most(raw, within_s)

    def set_autocommit(self, autocommit: bool, force_begin_transaction_with_broken_autocommit: bool = False) -> None:
        """How ``atomic`` ends, whatever happened. A transaction that is still open then was interrupted just before its COMMIT was sent: the server rolls it back.

        A connection that is closed needs nothing set back, as the next one begins in autocommit. Connecting here would hide why it was closed.
        """
        if autocommit and self.connection is not None and self.connection.info.transaction_status is not TransactionStatus.IDLE:
            self.give_up()
        if autocommit and self.connection is None:
            return
        super().set_autocommit(autocommit, force_begin_transaction_with_broken_autocommit)

    def was_interrupted(self) -> bool:
        """A command was sent, and its answer not read; or the line is dead."""
        raw = self.connection
        return raw is not None and raw.info.transaction_status in (TransactionStatus.ACTIVE, TransactionStatus.UNKNOWN)

    def owes_something(self) -> bool:
        """Whoever had it last has left a transaction open, or believes so."""
        believed = self.in_atomic_block or self.needs_rollback or bool(self.savepoint_ids) or bool(self.run_on_commit)
        raw = self.connection
        return believed or (raw is not None and not (self.autocommit and raw.info.transaction_status is TransactionStatus.IDLE))

    def give_up(self) -> None:
        """Closed at once. Inside ``atomic`` Django knows such a connection: nothing more can be done in the block, and the server rolls back."""
        if self.connection is not None:
            with suppress(self.Database.Error):
                self.connection.close()
            self.close()


def _all_rows(cursor: "psycopg.Cursor[Any]") -> list[tuple[Any, ...]]:
    """None, where the statement returns nothing at all."""
    result = cursor.pgresult
    return cursor.fetchall() if result is not None and result.nfields else []


def _has_something_to_say(raw: "psycopg.Connection[Any]") -> bool:
    """Of a session that is idle: a notice that it ends, or the end of the line."""
    waiting = select.poll()
    waiting.register(raw.fileno(), select.POLLIN | select.POLLRDHUP)
    return bool(waiting.poll(0))


def _wait_at_most(raw: "psycopg.Connection[Any]", seconds: float | None) -> None:
    """Whatever is asked on this connection. Raises psycopg.OperationalError without an SQLSTATE: no answer, so the connection is of no use."""
    raw.wait = functools.partial(type(raw).wait, raw, timeout=seconds)  # type: ignore[method-assign]


class _Server:
    """Of this process to its server."""

    def __init__(self) -> None:
        self._is_silent = False
        self._asks = threading.Lock()

    @contextmanager
    def asking(self) -> Iterator[None]:
        """For a connection. Raises psycopg.OperationalError: the server was silent, and another thread asks it right now."""
        alone = self._is_silent
        if alone and not self._asks.acquire(blocking=False):
            raise psycopg.OperationalError("The server does not answer, and another thread is asking it.")
        try:
            yield
            self._is_silent = False
        except psycopg.Error as error:
            self._is_silent = isinstance(error, SILENCE)
            raise
        finally:
            if alone:
                self._asks.release()

    def heard_of(self, error: BaseException | None) -> None:
        self._is_silent = self._is_silent or isinstance(error, SILENCE)


_server = _Server()


class _Watched(DatabaseErrorWrapper):
    wrapper: DatabaseWrapper

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if kind is None:
            return
        if isinstance(error, psycopg.Error):
            hide_values(error)
        try:
            super().__exit__(kind, error, trace)
        except Error as wrapped:
            _server.heard_of(wrapped.__cause__)
            if is_unusable(wrapped):
                self.wrapper.give_up()
            raise
        if self.wrapper.was_interrupted():
            self.wrapper.give_up()
