"""What a person closes, and what a process leaves behind."""

import contextlib
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace

from fulfillment.engine import operator_actions
from orders.connections import start_clean
from orders.postgresql.base import DatabaseWrapper
from tests.proofs.simulation import equipment
from tests.proofs.simulation.mutations.replacement import replacing

# --- what a person closes ---------------------------------------------------------------------------------------------------


def closing_writes_nothing_off() -> contextlib.AbstractContextManager[None]:
    """A person closes an order, and what remains captured goes on as nobody's."""
    close = operator_actions.close
    return replacing(operator_actions, close=lambda saga, amount_minor: close(saga, 0))


def closing_keeps_the_stock() -> contextlib.AbstractContextManager[None]:
    """What an order that was closed has reserved stays reserved."""
    return replacing(operator_actions, stock=SimpleNamespace(consume=lambda number: None, release_all=lambda number: None))


# --- between two tasks -----------------------------------------------------------------------------------------------------


def dirty_connection_kept() -> contextlib.AbstractContextManager[None]:
    """What is interrupted in its COMMIT leaves its connection to whatever its process does next."""
    give_up = DatabaseWrapper.give_up

    @contextmanager
    def both() -> Iterator[None]:
        setattr(DatabaseWrapper, "give_up", lambda wrapper: None)  # noqa: B010
        try:
            with replacing(equipment, start_clean=lambda: None):
                yield
        finally:
            setattr(DatabaseWrapper, "give_up", give_up)  # noqa: B010
            start_clean()

    return both()
