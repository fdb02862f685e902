"""Whoever begins something new (a request, a task, a round) begins on a connection that owes nothing."""

import logging
from contextlib import suppress

from django.db import connections

from orders.postgresql.base import DatabaseWrapper

log = logging.getLogger(__name__)


def start_clean() -> None:
    """A connection that an interrupted transaction has left behind is thrown away whole, with all that Django believes about it. One that the server has closed,
    that is too old, or that cannot write, is dropped too; the next statement opens another.
    """
    for connection in connections.all(initialized_only=True):
        if isinstance(connection, DatabaseWrapper) and connection.owes_something():
            _throw_away(connection)
        else:
            connection.close_if_unusable_or_obsolete()


def _throw_away(connection: DatabaseWrapper) -> None:
    log.warning("A connection was left inside a transaction that had been interrupted: it is thrown away")
    if connections[connection.alias] is connection:
        del connections[connection.alias]
    if connection.connection is not None:
        with suppress(connection.Database.Error):
            connection.connection.close()
