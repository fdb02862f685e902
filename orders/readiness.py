"""Readiness: can this web process take orders? A backlog, a dead broker or a stopped sweep is no reason to send its customers away."""

import threading

from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor

from orders import database

WITHIN_S = 1.0
_is_migrated = threading.Event()  # for as long as this process lives: reading all migrations takes a while


def why_not() -> str:
    """Empty: it can. Else a sentence without the database's own words, because whoever asks has shown no token."""
    try:
        database.write(WITHIN_S)
        pending = pending_migrations()
    except DatabaseError as error:
        code = database.sqlstate(error)
        return f"the database takes no writes (SQLSTATE {code})" if code else "the database does not answer"
    if pending:
        return f"{pending} migrations are not applied"
    return ""


def pending_migrations() -> int:
    """Of those that this code knows; what newer code has applied beyond them is no reason to wait. Read until there are none."""
    if _is_migrated.is_set():
        return 0
    executor = MigrationExecutor(connection)
    pending = len(executor.migration_plan(executor.loader.graph.leaf_nodes()))
    if not pending:
        _is_migrated.set()
    return pending
