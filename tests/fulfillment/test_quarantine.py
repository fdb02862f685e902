"""Promise: one saga that nobody can work on costs the others nothing, and a person is told of it, whatever is wrong with it."""

import json
import logging
import signal
import subprocess
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from django.conf import settings
from django.db import connection

from config.management.commands.sweep import Sweep
from fulfillment import recovery
from fulfillment.engine import Launch
from fulfillment.models import Quarantine, Saga, StepRecord
from fulfillment.recovery.containment import PATIENT
from fulfillment.recovery.sweep import BATCH
from orders.attention import Incident, IncidentKind
from orders.models import Order
from orders.timeline import TimelineEntry
from orders.turns import Turn
from tests.fulfillment.conftest import now_due
from tests.fulfillment.driving import copy_of

UNREADABLE: dict[str, Any] = {
    "a word": ["poison"],
    "null": None,
    "a number": 7,
    "an entry without a name": [{"version": 1}],
    "entries of another shape": [{"name": "payment", "role": ["payments"], "gateway": {}}],
}


def sql(statement: str, *values: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement, values)


def plan_is(saga: int, plan: Any) -> None:
    sql("UPDATE fulfillment_saga SET plan = %s WHERE id = %s", json.dumps(plan), saga)


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
def held_by_another_session(saga: int) -> Iterator[None]:
    at = {name: value for name, value in connection.get_connection_params().items() if name in ("host", "port", "user", "dbname")}
    with psycopg.connect(**at) as other:
        other.execute("SELECT FROM fulfillment_saga WHERE id = %s FOR UPDATE", [saga])
        yield


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


def look_due() -> None:
    """The next look at whatever is in quarantine has come."""
    Quarantine.objects.update(look_at="2020-01-01T00:00Z")


def rounds(count: int) -> list[str]:
    """What a sweep tells in ``count`` rounds."""
    told: list[str] = []
    sweep = Sweep(told.append)
    for _ in range(count):
        look_due()
        sweep.round()
    sweep.end()
    return told


@pytest.fixture(autouse=True)
def no_broker(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The broker is not this file's business: what would be published, by order."""
    published: list[str] = []

    def launch(what: Launch) -> bool:
        published.append(what.order)
        return True

    monkeypatch.setattr("fulfillment.tasks.launch", launch)
    monkeypatch.setattr("fulfillment.tasks.send_probe", lambda queue, stamp: True)
    monkeypatch.setattr(recovery, "reconciliation_is_due", lambda: False)
    yield published


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("what", UNREADABLE)
def test_a_plan_that_cannot_be_read_is_told_and_costs_the_others_nothing(what: str, saga: int, order: Order, no_broker: list[str]) -> None:
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
def test_records_that_are_missing_are_told(saga: int, order: Order) -> None:
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
        told = rounds(settings.POISON_AFTER)

    assert no_broker == ["ORD-2"]
    assert not [line for line in told if "does not answer" in line]
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
        look_at=order.placed_at,
    )

    rounds(1)

    assert not Quarantine.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_an_order_whose_own_row_is_damaged_is_told_by_its_number_alone(saga: int, order: Order) -> None:
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


@pytest.mark.django_db(transaction=True)
def test_a_row_that_nobody_lets_go_is_told_in_the_end(saga: int, order: Order, caplog: pytest.LogCaptureFixture) -> None:
    """Somebody has forgotten a console: the order behind it is not passed over in silence for ever."""
    now_due(saga)

    with held_by_another_session(saga):
        sweep = Sweep(lambda _: None)
        for _ in range(PATIENT + settings.POISON_AFTER):
            sweep.memory.aside = OrderedDict((key, (times, 0.0)) for key, (times, _) in sweep.memory.aside.items())  # the waits have passed
            look_due()
            sweep.round()
        sweep.end()

    assert Incident.objects.get().message == "somebody holds rows that it needs, and does not let go"
    assert len([line for line in caplog.messages if "held by somebody else" in line]) == 1


@pytest.mark.django_db(transaction=True)
def test_one_traceback_for_many_looks(saga: int, order: Order, caplog: pytest.LogCaptureFixture) -> None:
    """A hundred broken orders, looked at again and again, do not fill the disk."""
    sagas = [saga, *(copy_of(order, f"ORD-B{number}") for number in range(99))]
    Saga.objects.filter(pk__in=sagas).update(plan=["poison"])
    Saga.objects.update(wake_at="2020-01-01T00:00Z", launched_at=None)

    told = rounds(5)

    assert len([record for record in caplog.records if record.exc_info]) == 1
    assert len(told) == 1
    assert "100 looks at sagas failed" in told[0]


@pytest.mark.django_db(transaction=True)
def test_the_wait_grows_and_is_capped(saga: int, order: Order) -> None:
    """Nobody looks at a broken order every second for ever."""
    plan_is(saga, ["poison"])
    now_due(saga)
    waits = []
    for _ in range(settings.POISON_AFTER + 8):
        rounds(1)
        held = Quarantine.objects.get()
        waits.append((held.look_at - held.last_at).total_seconds())

    assert 0.8 * settings.BACKOFF_S <= waits[0] <= 1.2 * settings.BACKOFF_S
    assert max(waits[: settings.POISON_AFTER - 1]) <= 1.2 * settings.BACKOFF_CAP_S
    assert 0.8 * settings.PATIENCE_CAP_S <= waits[-1] <= 1.2 * settings.PATIENCE_CAP_S
    assert Incident.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_what_is_in_quarantine_is_left_alone_until_its_next_look(saga: int, order: Order) -> None:
    """Due as it is, it costs nothing in between."""
    plan_is(saga, ["poison"])
    now_due(saga)
    rounds(1)
    Quarantine.objects.update(look_at="2100-01-01T00:00Z")

    sweep = Sweep(lambda _: None)
    for _ in range(3):
        sweep.round()
    sweep.end()

    assert Quarantine.objects.get().failures == 1


@pytest.mark.django_db(transaction=True)
def test_a_round_survives_whatever_goes_wrong_in_it(saga: int, monkeypatch: pytest.MonkeyPatch, no_broker: list[str]) -> None:
    """Probes and reconciliation each fail alone, and the log is told once a minute."""
    now_due(saga)

    def broken(*_: Any) -> Any:
        raise KeyError("a bug")

    monkeypatch.setattr(recovery, "reconciliation_is_due", broken)
    monkeypatch.setattr(recovery, "probes_due", broken)

    told = rounds(20)

    assert no_broker == ["ORD-1"]
    assert len([line for line in told if "failed" in line]) == 2


@pytest.mark.django_db(transaction=True)
def test_a_saga_that_takes_the_connection_with_it_does_not_hold_up_the_others(saga: int, order: Order, no_broker: list[str]) -> None:
    """Three times in a row, and it is not looked at a fourth time before the others were."""
    healthy = copy_of(order, "ORD-2")
    sql(
        "CREATE OR REPLACE FUNCTION hangs_up() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NEW; END $$"
    )
    sql(f"CREATE TRIGGER hangs_up BEFORE UPDATE ON fulfillment_saga FOR EACH ROW WHEN (OLD.id = {saga}) EXECUTE FUNCTION hangs_up()")
    try:
        sql("UPDATE fulfillment_saga SET wake_at = '2020-01-02T00:00Z', launched_at = NULL WHERE id = %s", healthy)
        sql("UPDATE fulfillment_saga SET wake_at = '2020-01-01T00:00Z', launched_at = NULL WHERE id = %s", healthy)
        sql("ALTER TABLE fulfillment_saga DISABLE TRIGGER hangs_up")
        now_due(saga)
        sql("ALTER TABLE fulfillment_saga ENABLE TRIGGER hangs_up")
        sql("UPDATE fulfillment_saga SET wake_at = '2020-01-02T00:00Z' WHERE id = %s", healthy)

        rounds(4)
    finally:
        sql("DROP TRIGGER hangs_up ON fulfillment_saga")

    assert no_broker == ["ORD-2"]
    assert Quarantine.objects.get().code == "connection_lost"


@pytest.mark.django_db(transaction=True)
def test_a_reconciliation_that_stands_still_is_ended(saga: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A frozen one would be the last one for ever."""
    told: list[str] = []
    sweep = Sweep(told.append)
    sweep.reconciling = subprocess.Popen(["/bin/sleep", "60"])
    sweep.reconciling.send_signal(signal.SIGSTOP)
    turn = Turn("reconcile", 1, 60.0)
    assert turn.take()
    monkeypatch.setattr("config.management.commands.sweep.RECONCILE_BEGINS_WITHIN_S", 0.0)

    sweep._reconcile()
    assert sweep.reconciling.poll() is None
    turn.give_back()
    sweep._reconcile()

    assert sweep.reconciling.wait(5) == -signal.SIGKILL
    assert "stands still and is ended" in told[0]
