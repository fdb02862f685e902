"""Any statement, and any COMMIT, may be the last that a process does: it is killed, or its line to the database breaks. Before a COMMIT, or after it."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import OperationalError, connection
from django.db.backends.base import base

from orders.postgresql.base import DatabaseWrapper
from tests.proofs.simulation.threads import Killed

ODDS = 0.03  # of each statement and each side of a COMMIT, times how faulty a history is: a transition is few statements


class ConnectionBroke(OperationalError):
    """As the driver raises it."""


class Interruptions:
    """An execute wrapper, with a die of its own: what else a seed draws stays the same until something is interrupted."""

    def __init__(self) -> None:
        self.die = random.Random()
        self.odds = 0.0

    def begin(self, seed: int) -> None:
        self.die, self.odds = random.Random(f"{seed} interruptions"), 0.0

    @contextmanager
    def possible(self, faultiness: float) -> Iterator[None]:
        """In the block, which is one move."""
        self.odds = ODDS * faultiness
        try:
            yield
        finally:
            self.odds = 0.0

    def __call__(self, execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if "shop.now" in sql:
            return execute(sql, params, many, context)
        self.perhaps()
        result = execute(sql, params, many, context)
        if not connection.in_atomic_block and not sql.startswith("SELECT"):
            self.perhaps()  # it is a transaction by itself, and its answer is lost
        return result

    def perhaps(self) -> None:
        """Raises Killed, ConnectionBroke."""
        if self.die.random() >= self.odds:
            return
        if self.die.random() < 0.5:
            raise Killed
        with connection.wrap_database_errors:  # as whatever the driver raises
            if connection.connection is not None:
                connection.connection.close()
            raise ConnectionBroke("the connection was closed in the middle")

    @contextmanager
    def of_commits(self) -> Iterator[None]:
        """Django's wrappers of statements do not see a COMMIT."""
        commit = vars(base.BaseDatabaseWrapper)["_commit"]

        def interrupted(wrapper: DatabaseWrapper) -> None:
            self.perhaps()
            commit(wrapper)
            self.perhaps()

        setattr(DatabaseWrapper, "_commit", interrupted)  # noqa: B010  (a method is replaced)
        try:
            yield
        finally:
            delattr(DatabaseWrapper, "_commit")
