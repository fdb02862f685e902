"""Open circuits, and the way from step to step."""

import contextlib
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

from django.db import transaction

from fulfillment.clock import ShopNow
from fulfillment.crashpoints import crash_point
from fulfillment.engine import circuit_probes, compensation, journal, progress, public_events, tries
from fulfillment.models import Saga
from orders.durability import may_be_lost
from tests.proofs.simulation.mutations.replacement import edited, replacing, without_the_hot_path

FAR_FUTURE = "9999-01-01T00:00Z"

# --- before an open circuit ------------------------------------------------------------------------------------------------


def withdraws_anything_scheduled() -> contextlib.AbstractContextManager[None]:
    """Before an open circuit, whatever was scheduled and is not known to have started counts as never asked for."""
    return replacing(circuit_probes, was_never_asked=lambda record, circuit: True)


def probe_does_not_wait() -> contextlib.AbstractContextManager[None]:
    """The start of a probe may be lost with the database."""
    start = tries._start

    def lossy(saga_id: int, epoch: int, name: str, compensating: bool) -> Any:
        with transaction.atomic():
            claim = start(saga_id, epoch, name, compensating)
            may_be_lost()
        return claim

    return replacing(tries, _start=lossy)


# --- the walk --------------------------------------------------------------------------------------------------------------


def scheduled_without_wake_at() -> contextlib.AbstractContextManager[None]:
    """What is scheduled relies on its message alone."""

    def forgets(saga: Saga) -> None:
        journal.save(saga, relaunches=0, wake_at=FAR_FUTURE, launched_at=ShopNow())

    in_sql = edited("succeed_and_schedule", "wake_at = shop_now() + %(patience)s", f"wake_at = '{FAR_FUTURE}'")

    @contextlib.contextmanager
    def both() -> Iterator[None]:
        with replacing(progress, await_start=forgets), in_sql:
            yield

    return both()


def compensation_blocks_ignored() -> contextlib.AbstractContextManager[None]:
    """The refund goes out although the parcel may still leave."""
    planned = vars(compensation)["planned"]
    return replacing(compensation, planned=lambda saga, name: planned(saga, name) | {"compensation_blocks": False})


def event_in_its_own_commit() -> contextlib.AbstractContextManager[None]:
    """The fact is recorded after the order is fulfilled, not with it."""
    facts = vars(public_events)["facts"]

    def later(*fact: Any) -> None:
        transaction.on_commit(lambda: _record(*fact))

    def _record(*fact: Any) -> None:
        crash_point("after_outcome_commit")
        with transaction.atomic():
            facts.record(*fact)

    @contextlib.contextmanager
    def both() -> Iterator[None]:
        with replacing(public_events, facts=SimpleNamespace(record=later, announce=facts.announce)), without_the_hot_path():
            yield

    return both()
