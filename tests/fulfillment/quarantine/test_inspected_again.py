"""Promise: what is in quarantine is inspected again with patience, and no trouble of one saga ends a round."""

import signal
import subprocess
from collections import OrderedDict
from datetime import timedelta
from typing import Any

import pytest
from django.conf import settings

from config.management.commands.sweep import Sweep
from fulfillment import recovery
from fulfillment.clock import shop_now
from fulfillment.models import Quarantine, Saga
from fulfillment.recovery.containment import PATIENT
from orders.incidents import Incident
from orders.models import Order
from orders.turns import Turn
from tests.fulfillment.conftest import now_due
from tests.fulfillment.driving import copy_of
from tests.fulfillment.quarantine.conftest import held_by_another_session, make_inspections_due, plan_is, rounds, sql


@pytest.mark.django_db(transaction=True)
def test_a_row_that_nobody_lets_go_is_reported_in_the_end(saga: int, order: Order, caplog: pytest.LogCaptureFixture) -> None:
    """Somebody has forgotten a console: the order behind it is not passed over in silence for ever."""
    now_due(saga)

    with held_by_another_session(saga):
        sweep = Sweep(lambda _: None)
        for _ in range(PATIENT + settings.POISON_AFTER):
            sweep.memory.aside = OrderedDict((key, (times, 0.0)) for key, (times, _) in sweep.memory.aside.items())  # the waits have passed
            make_inspections_due()
            sweep.round()
        sweep.end()

    assert Incident.objects.get().message == "somebody holds rows that it needs, and does not let go"
    assert len([line for line in caplog.messages if "held by somebody else" in line]) == 1


@pytest.mark.django_db(transaction=True)
def test_one_traceback_for_many_inspections(saga: int, order: Order, caplog: pytest.LogCaptureFixture) -> None:
    """A hundred broken orders, looked at again and again, do not fill the disk."""
    sagas = [saga, *(copy_of(order, f"ORD-B{number}") for number in range(99))]
    Saga.objects.filter(pk__in=sagas).update(plan=["poison"])
    Saga.objects.update(wake_at="2020-01-01T00:00Z", launched_at=None)

    lines = rounds(5)

    assert len([record for record in caplog.records if record.exc_info]) == 1
    assert len(lines) == 1
    assert "100 inspections of sagas failed" in lines[0]


@pytest.mark.django_db(transaction=True)
def test_the_wait_grows_and_is_capped(saga: int, order: Order) -> None:
    """Nobody looks at a broken order every second for ever."""
    plan_is(saga, ["poison"])
    now_due(saga)
    waits = []
    for _ in range(settings.POISON_AFTER + 8):
        rounds(1)
        held = Quarantine.objects.get()
        waits.append((held.inspect_at - held.last_at).total_seconds())

    assert 0.8 * settings.BACKOFF_S <= waits[0] <= 1.2 * settings.BACKOFF_S
    assert max(waits[: settings.POISON_AFTER - 1]) <= 1.2 * settings.BACKOFF_CAP_S
    assert 0.8 * settings.PATIENCE_CAP_S <= waits[-1] <= 1.2 * settings.PATIENCE_CAP_S
    assert Incident.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_what_is_in_quarantine_is_left_alone_until_its_next_inspection(saga: int, order: Order) -> None:
    """Due as it is, it costs nothing in between."""
    plan_is(saga, ["poison"])
    now_due(saga)
    rounds(1)
    Quarantine.objects.update(inspect_at=shop_now() + timedelta(seconds=20))

    sweep = Sweep(lambda _: None)
    for _ in range(3):
        sweep.round()
    sweep.end()

    assert Quarantine.objects.get().failures == 1


@pytest.mark.django_db(transaction=True)
def test_a_round_survives_whatever_goes_wrong_in_it(saga: int, monkeypatch: pytest.MonkeyPatch, no_broker: list[str]) -> None:
    """Probes and reconciliation each fail alone, and the log gets a line once a minute."""
    now_due(saga)

    def broken(*_: Any) -> Any:
        raise KeyError("a bug")

    monkeypatch.setattr(recovery, "reconciliation_is_due", broken)
    monkeypatch.setattr(recovery.probes, "due", broken)

    lines = rounds(20)

    assert no_broker == ["ORD-1"]
    assert len([line for line in lines if "failed" in line]) == 2


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
    lines: list[str] = []
    sweep = Sweep(lines.append)
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
    assert "stands still and is ended" in lines[0]
