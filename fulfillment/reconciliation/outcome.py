"""How a reconciliation ended."""

from collections.abc import Callable
from contextlib import suppress

from django.db import DatabaseError, InterfaceError

from fulfillment import recovery
from fulfillment.reconciliation.finding import Report
from orders.database import sqlstate
from orders.turns import TurnLost


def recorded(run: Callable[[], Report]) -> Report:
    """Record the outcome of this reconciliation, whatever ended it: ``doctor`` and ``/status`` show it. If it has lost its turn, another one is at work."""
    recovery.reconciliation_begins()
    try:
        report = run()
    except TurnLost:
        raise
    except BaseException as error:
        with suppress(DatabaseError, InterfaceError):  # where the database is the trouble, whoever has started this process records it
            recovery.reconciliation_failed(f"{type(error).__name__} {sqlstate(error)}".strip())
        raise
    unexplained = {one.currency: one.unexplained for one in report.money if one.unexplained}
    recovery.reconciliation_ended(report.sentence, len(report.findings), unexplained, report.is_whole)
    return report
