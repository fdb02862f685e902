"""What the engine's surroundings are replaced by while the simulation runs: the clock, the broker, the providers, the boundaries."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

from django.db import connection
from psycopg.adapt import Loader

from fulfillment import crashpoints, gateways, keys, tasks
from fulfillment.engine import tries
from fulfillment.gateways import lease
from fulfillment.recovery import clock_jumps
from orders import clock_watch
from sideeffects import tasks as side_effects
from tests.proofs.durability import may_be_lost
from tests.proofs.simulation.provider import VirtualCarrier, VirtualPayments

START = datetime(2030, 1, 1, tzinfo=UTC).timestamp()
GATEWAY = "simulated"
STATEMENTS = 1000


class Clock:
    """Virtual seconds. ``now`` is true, and what every monotonic clock goes by; the database's may have been set ``ahead_s``, or back.
    Each thread sets it in its database connection before it goes on.
    """

    def __init__(self) -> None:
        self.now = START
        self.ahead_s = 0.0
        self.is_shared = False  # the workers stand on the database's machine: what sets its clock sets theirs
        self._set = threading.local()

    def jump(self, to: float) -> None:
        self.now = max(self.now, to)

    @property
    def of_the_database(self) -> datetime:
        return datetime.fromtimestamp(self.now + self.ahead_s, UTC)

    @property
    def of_the_workers(self) -> float:
        return self.now + (self.ahead_s if self.is_shared else 0.0)

    def set_in_the_database(self) -> None:
        now = self.of_the_database
        if getattr(self._set, "now", None) != now or connection.connection is None:
            with connection.cursor() as cursor:
                if connection.connection is not getattr(self._set, "connection", None):
                    _make_fast(cursor)
                    self._set.connection = connection.connection
                cursor.execute("SELECT set_config('shop.now', %s, false)", [now.isoformat()])
            self._set.now = now

    def set_in_a_new_connection(self, **_: Any) -> None:
        """One that is opened within a move, after the last one was lost."""
        self._set.now = None
        self.set_in_the_database()


class _Instant(Loader):
    """Django's own takes longer than the server does. ``timezone``: by it Django sees that it fits the connection."""

    timezone = UTC

    def load(self, data: Any) -> datetime:
        return datetime.fromisoformat(str(data, "ascii"))


def _make_fast(cursor: Any) -> None:
    """For a new connection. What a crash may take is simulated: the real disk is not waited for. The engine's statements are more than the 100 that are kept."""
    cursor.execute("SET synchronous_commit = off")
    setattr(connection, "health_check_enabled", False)  # noqa: B010
    connection.connection.prepared_max = STATEMENTS
    connection.connection.adapters.register_loader("timestamptz", _Instant)


class Commits:
    """What the statements since ``forget`` were: whether any wrote, and whether its transaction may be lost (one that may says so in SQL)."""

    def __init__(self) -> None:
        self.may_be_lost = False
        self.wrote = False

    def __call__(self, execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        result = execute(sql, params, many, context)
        self.may_be_lost = self.may_be_lost or may_be_lost(sql, context)
        if not sql.startswith(("SELECT", "SET", "SAVEPOINT", "RELEASE")):
            self.wrote = True
        return result

    def forget(self) -> None:
        self.may_be_lost = self.wrote = False


@contextmanager
def replaced(clock: Clock, listener: Any) -> Iterator["Surroundings"]:
    """Everything outside the engine is ours in the block, and put back after it."""
    surroundings = Surroundings()
    was = (tasks.publish, side_effects.publish, crashpoints.listener, tries.watch, keys.new_nonce, dict(gateways.ROLES))
    times = {module: vars(module)["time"] for module in (lease, clock_watch, tries, clock_jumps, tasks)}
    vars(tasks)["publish"] = lambda what: surroundings.broker.publish(what)
    vars(side_effects)["publish"] = lambda messages: []
    vars(keys)["new_nonce"] = lambda: "simulated"  # each order has a number of its own, and a history is repeated to the letter
    for module in times:
        vars(module)["time"] = SimpleNamespace(monotonic=lambda: clock.now, time=lambda: clock.of_the_workers)
    crashpoints.listener = listener
    payments, carrier = gateways.ROLES["payments"], gateways.ROLES["carrier"]
    gateways.ROLES["payments"] = payments._replace(
        providers={**payments.providers, GATEWAY: lambda: VirtualPayments(surroundings.provider)}
    )
    gateways.ROLES["carrier"] = carrier._replace(providers={**carrier.providers, GATEWAY: lambda: VirtualCarrier(surroundings.provider)})
    try:
        yield surroundings
    finally:
        vars(tasks)["publish"], vars(side_effects)["publish"], crashpoints.listener, tries.watch, vars(keys)["new_nonce"], roles = was
        for module, time in times.items():
            vars(module)["time"] = time
        gateways.ROLES.update(roles)


class Surroundings:
    """The broker and the provider of the history that runs now."""

    broker: Any = None
    provider: Any = None
