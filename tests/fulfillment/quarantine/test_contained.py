"""Promise: one saga that nobody can work on costs the others nothing, and a person is notified of it, whatever is wrong with it."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.conf import settings

from fulfillment.models import Quarantine, Saga, StepRecord
from fulfillment.recovery.sweep import BATCH
from orders.incidents import Incident, IncidentKind
from orders.models import Order
from orders.timeline import TimelineEntry
from tests.fulfillment.conftest import now_due
from tests.fulfillment.driving import copy_of
from tests.fulfillment.quarantine.conftest import held_by_another_session, plan_is, rounds, sql

UNREADABLE: dict[str, Any] = {
    "a word": ["poison"],
    "null": None,
    "a number": 7,
    "an entry without a name": [{"version": 1}],
    "entries of another shape": [{"name": "payment", "role": ["payments"], "gateway": {}}],
}


@contextmanager
def cannot_be_written(table: str, row: int) -> Iterator[None]:
    """As a damaged page of the disk would answer."""
    sql(
        "CREATE OR REPLACE FUNCTION damaged() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE 'could not read block 7 in file base/5/16384' USING ERRCODE = 'XX001'; END $$"
    )
    sql(f"CREATE TRIGGER damaged BEFORE UPDATE ON {table} FOR EACH ROW WHEN (OLD.id = {row}) EXECUTE FUNCTION damaged()")
    try:
        yield
    finally:
        sql(f"DROP TRIGGER damaged ON {table}")


@contextmanager
def refuses_everything(table: str) -> Iterator[None]:
    sql(
        "CREATE OR REPLACE FUNCTION damaged() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE 'could not read block 7 in file base/5/16384' USING ERRCODE = 'XX001'; END $$"
    )
    sql(f"CREATE TRIGGER damaged BEFORE INSERT OR UPDATE ON {table} FOR EACH ROW EXECUTE FUNCTION damaged()")
    try:
        yield
    finally:
        sql(f"DROP TRIGGER damaged ON {table}")


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("what", UNREADABLE)
def test_a_plan_that_cannot_be_read_is_reported_and_costs_the_others_nothing(
    what: str, saga: int, order: Order, no_broker: list[str]
) -> None:
    """The customer whose order comes next is served, and somebody hears of the broken one, with its whole amount."""
    healthy = copy_of(order, "ORD-2")
    plan_is(saga, UNREADABLE[what])
    now_due(saga)
    now_due(healthy)

    rounds(settings.POISON_AFTER + 2)

    assert "ORD-2" in no_broker
    incident = Incident.objects.get()
    assert (incident.subject, incident.amount_minor, incident.currency) == ("ORD-1", 100, "EUR")
    assert incident.kind in (IncidentKind.QUARANTINED, IncidentKind.UNKNOWN_STEP)


@pytest.mark.django_db(transaction=True)
def test_records_that_are_missing_are_reported(saga: int, order: Order) -> None:
    """A saga that is due, and of which nothing is left to do, is not looked at for ever in silence."""
    StepRecord.objects.filter(saga=saga).delete()
    now_due(saga)

    rounds(settings.POISON_AFTER)

    assert Incident.objects.get().kind == IncidentKind.QUARANTINED


@pytest.mark.django_db(transaction=True)
def test_a_row_that_cannot_be_written_starves_nobody(saga: int, order: Order, no_broker: list[str]) -> None:
    """One damaged page of the disk is one order's trouble: nobody says that the database does not answer."""
    healthy = copy_of(order, "ORD-2")
    now_due(saga)
    now_due(healthy)

    with cannot_be_written("fulfillment_saga", saga):
        lines = rounds(settings.POISON_AFTER)

    assert no_broker == ["ORD-2"]
    assert not [line for line in lines if "does not answer" in line]
    assert Incident.objects.get().kind == IncidentKind.QUARANTINED
    assert Quarantine.objects.get().code == "XX001"


@pytest.mark.django_db(transaction=True)
def test_a_row_that_is_well_again_leaves_the_quarantine_and_its_incident_is_resolved(saga: int, order: Order, no_broker: list[str]) -> None:
    now_due(saga)
    with cannot_be_written("fulfillment_saga", saga):
        rounds(settings.POISON_AFTER)
    assert Incident.objects.get().is_open

    rounds(1)

    assert not Quarantine.objects.exists()
    assert Incident.objects.get().outcome == "worked_on"
    assert no_broker == ["ORD-1"]
    assert [entry.to_state for entry in TimelineEntry.objects.filter(kind="incident")] == ["open", "resolved"]


@pytest.mark.django_db(transaction=True)
def test_whoever_finished_a_saga_in_quarantine_ends_it(saga: int, order: Order) -> None:
    """A worker had its message all the while: nothing is left to look at, and nobody is bothered."""
    Quarantine.objects.create(
        saga_id=saga,
        order_id=order.pk,
        failures=1,
        code="XX001",
        first_at=order.placed_at,
        last_at=order.placed_at,
        inspect_at=order.placed_at,
    )

    rounds(1)

    assert not Quarantine.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_an_order_whose_own_row_is_damaged_is_reported_by_its_number_alone(saga: int, order: Order) -> None:
    """The incident cannot refer to it, and tells of it all the same."""
    plan_is(saga, ["poison"])
    now_due(saga)
    sql(
        "CREATE OR REPLACE FUNCTION damaged() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE 'could not read block 7' USING ERRCODE = 'XX001'; END $$"
    )
    sql("CREATE TRIGGER damaged BEFORE INSERT ON orders_incident FOR EACH ROW WHEN (NEW.order_id IS NOT NULL) EXECUTE FUNCTION damaged()")
    try:
        rounds(settings.POISON_AFTER)
    finally:
        sql("DROP TRIGGER damaged ON orders_incident")

    incident = Incident.objects.get()
    assert (incident.order_id, incident.subject, incident.amount_minor) == (None, "ORD-1", 100)
    saga_row = Saga.objects.get(pk=saga)
    plan_is(saga, engine_plan(order))
    assert saga_row.plan == ["poison"]
    rounds(1)
    assert not Incident.objects.get().is_open


def engine_plan(order: Order) -> Any:
    return Saga.objects.get(pk=copy_of(order, "ORD-9")).plan


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("table", ["fulfillment_quarantine", "orders_incident"])
def test_where_nothing_can_be_written_down_the_sweep_goes_on_and_says_so_once(
    table: str, saga: int, order: Order, no_broker: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    """The last resort has a last resort: one line, kept in memory, and the others are served."""
    healthy = copy_of(order, "ORD-2")
    plan_is(saga, ["poison"])
    now_due(saga)
    now_due(healthy)

    with refuses_everything(table), caplog.at_level(logging.ERROR):
        rounds(settings.POISON_AFTER + 5)

    assert no_broker == ["ORD-2"]
    assert len([line for line in caplog.messages if "cannot be written down" in line]) == 1


@pytest.mark.django_db(transaction=True)
def test_the_sweep_beyond_its_first_page(saga: int, order: Order, no_broker: list[str]) -> None:
    """Two hundred broken ones, an unwritable one and a locked one stand before the others: all the others are served in the same round."""
    plan_is(saga, ["poison"])
    broken = [copy_of(order, f"ORD-B{number}") for number in range(BATCH + 20)]
    healthy = [copy_of(order, f"ORD-H{number:03}") for number in range(BATCH + 20)]
    Saga.objects.filter(pk__in=broken).update(plan=["poison"])
    Saga.objects.update(wake_at="2020-01-01T00:00Z", launched_at=None)  # one instant: the page ends within it
    served = sorted(f"ORD-H{number:03}" for number in range(BATCH + 20) if number not in (3, 5))

    with cannot_be_written("fulfillment_saga", healthy[3]), held_by_another_session(healthy[5]):
        rounds(1)

    assert sorted(no_broker) == served
    assert Quarantine.objects.count() == len(broken) + 2
    rounds(1)
    assert sorted(no_broker) == sorted([*served, "ORD-H003", "ORD-H005"])
