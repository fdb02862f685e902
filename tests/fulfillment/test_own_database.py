"""Promise: what our own database cannot serve is nobody's failure: no try and no deadline is spent, nothing known is lost, and a person is notified if it lasts."""

import threading
import time
from datetime import timedelta
from typing import Any

import pytest
from django.conf import settings
from django.db import OperationalError, connection

from fulfillment import engine, own_database, recovery, tasks
from fulfillment.errors import Unavailable
from fulfillment.explanation import explain
from fulfillment.models import LedgerEntry, Saga, SagaState, StepRecord, StepState
from fulfillment.own_database import insist
from orders.models import Incident, Order
from orders.timeline import TimelineEntry, sentence
from tests.fulfillment.conftest import SandboxProcess, now_due
from tests.fulfillment.driving import paid
from tests.holding import held, outside

pytestmark = pytest.mark.django_db(transaction=True)
STOCK = "SELECT 1 FROM fulfillment_stocklevel WHERE sku = 'MUG' FOR UPDATE"
SAGA = "SELECT 1 FROM fulfillment_saga FOR UPDATE"
ORDER = "SELECT 1 FROM orders_order FOR UPDATE"
LEDGER = "LOCK TABLE fulfillment_ledgerentry IN ACCESS EXCLUSIVE MODE"


@pytest.fixture(autouse=True)
def limits_of_a_worker(transactional_db: None, sandbox: SandboxProcess, settings: Any) -> None:
    settings.SANDBOX_URL = sandbox.url
    with connection.cursor() as cursor:
        cursor.execute("SET lock_timeout = '200ms'")


def record(saga: int, name: str = "payment") -> StepRecord:
    return StepRecord.objects.get(saga=saga, name=name)


def found(saga: int) -> Saga:
    return Saga.objects.get(pk=saga)


def run(saga: int, name: str) -> str:
    """What a worker does with the message of this step."""
    result: str = tasks.TASKS[f"fulfillment.{name}"](saga=saga, epoch=found(saga).epoch, order="ORD-1")
    return result


def swept(saga: int) -> None:
    now_due(saga)
    recovery.inspect_saga(saga)


# --- a step on our own rows ----------------------------------------------------------------------------------------------


def test_a_stock_row_that_somebody_holds_costs_time_only(saga: int, order: Order) -> None:
    """Somebody counts stock and goes for lunch: my order waits, and goes on when they are back."""
    paid(saga)
    with held(STOCK):
        result = run(saga, "inventory")

        assert "waits for our own database" in result
        assert (record(saga, "inventory").state, record(saga, "inventory").tries, found(saga).epoch) == (StepState.SCHEDULED, 0, 1)
        assert explain(order).sentence == (
            "Inventory waits for our own database (Another session holds rows or tables that it needs). It goes on by itself; no try is spent."
        )
        assert explain(order).blocked_on == "our own database"
        assert engine.waiting_for_our_database() == 1
        for _ in range(settings.STEP_TRIES + 1):
            swept(saga)
            run(saga, "inventory")

    assert TimelineEntry.objects.filter(name="inventory", code="own_database").count() == 1, "recorded once, however often it is put off"
    entry = TimelineEntry.objects.get(name="inventory", code="own_database")
    assert sentence(entry) == (
        "Inventory waits for our own database, and spends neither tries nor time: Another session holds rows or tables that it needs"
    )
    assert sentence(entry, inside=False) == "Inventory waits, and goes on by itself"
    swept(saga)
    run(saga, "inventory")
    assert (record(saga, "inventory").state, found(saga).state) == (StepState.SUCCEEDED, SagaState.RUNNING)
    assert engine.waiting_for_our_database() == 0


def test_it_is_inspected_again_soon_and_then_less_and_less_often(saga: int) -> None:
    paid(saga)
    waits = []
    with held(STOCK):
        for _ in range(9):
            begun = Saga.objects.values_list("wake_at", flat=True)
            run(saga, "inventory")
            with connection.cursor() as cursor:
                cursor.execute("SELECT extract(epoch FROM wake_at - shop_now())::float FROM fulfillment_saga")
                waits.append(cursor.fetchone()[0])
            assert begun is not None
            swept(saga)

    assert 0 < waits[0] <= 2.5 * settings.BACKOFF_S
    assert waits[0] < waits[2] < waits[4]
    assert max(waits) <= 1.2 * settings.BACKOFF_CAP_S


def test_many_orders_that_wait_for_one_row_do_not_keep_the_workers_from_the_others(saga: int) -> None:
    """The second time it is known that the row is held: it is hardly waited for."""
    paid(saga)
    with held(STOCK):
        run(saga, "inventory")
        swept(saga)
        began = time.monotonic()
        run(saga, "inventory")

    assert time.monotonic() - began < 0.18


def test_a_person_is_notified_if_it_lasts_and_no_longer_than_it_lasts(saga: int, order: Order) -> None:
    paid(saga)
    with held(STOCK):
        for _ in range(settings.POISON_AFTER + 2):
            run(saga, "inventory")
            swept(saga)

        (incident,) = Incident.objects.all()
        assert (incident.kind, incident.step, incident.code, incident.amount_minor) == ("stuck", "inventory", "own_database", 100)
        assert found(saga).state == SagaState.RUNNING, "it does not wait for that person"

    run(saga, "inventory")
    incident.refresh_from_db()
    assert (record(saga, "inventory").state, incident.state, incident.outcome) == (StepState.SUCCEEDED, "resolved", "went_on")


def test_a_cancel_is_honoured_while_it_waits(saga: int, order: Order) -> None:
    paid(saga)
    with held(STOCK):
        for _ in range(settings.POISON_AFTER + 2):
            run(saga, "inventory")
            swept(saga)
        assert recovery.cancel(order.number, "amara") == "accepted"
        swept(saga)

        assert found(saga).state == SagaState.COMPENSATING
        assert Incident.objects.get().state == "resolved"


def test_deadlines_do_not_run_while_our_own_database_keeps_an_order_waiting(saga: int) -> None:
    paid(saga)
    was = found(saga).deadline_at
    Saga.objects.update(launched_at=found(saga).launched_at - timedelta(hours=3))  # type: ignore[operator]
    with held(STOCK):
        run(saga, "inventory")

    now = found(saga).deadline_at
    assert was is not None
    assert now is not None
    assert timedelta(hours=3) < now - was < timedelta(hours=3, minutes=1)


# --- a step at a provider --------------------------------------------------------------------------------------------------


def test_an_order_that_somebody_holds_starts_nothing_and_spends_nothing(saga: int) -> None:
    with held(ORDER):
        assert "waits for our own database" in run(saga, "payment")

    assert (record(saga).state, record(saga).tries) == (StepState.SCHEDULED, 0)


def test_what_a_provider_has_answered_is_recorded_as_soon_as_the_rows_are_free(
    saga: int, sandbox: SandboxProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The charge has happened; a colleague's open transaction does not make us forget it."""
    monkeypatch.setattr(own_database, "HELD_S", 50)
    free = threading.Timer(0.5, lambda: holder.rollback())
    with outside() as holder:
        holder.execute(LEDGER)
        free.start()
        result = run(saga, "payment")
        free.join()

    assert result == "ORD-1: payment done"
    assert (record(saga).state, record(saga).tries, LedgerEntry.objects.count()) == (StepState.SUCCEEDED, 1, 1)
    assert len(sandbox.effects("ORD-1")) == 1


def test_what_cannot_be_recorded_in_time_is_in_doubt_and_asked_again_under_its_key(
    saga: int, order: Order, sandbox: SandboxProcess
) -> None:
    with held(LEDGER):
        for _ in range(settings.STEP_TRIES + 1):
            assert "could not be written" in run(saga, "payment")
            assert (record(saga).state, record(saga).tries, record(saga).doubt) == (StepState.IN_DOUBT, 0, True)
            assert explain(order).sentence.endswith("It may or may not have happened. It goes on by itself; no try is spent.")
            swept(saga)

    assert run(saga, "payment") == "ORD-1: payment done"
    assert [effect[0] for effect in sandbox.effects("ORD-1")].count("charge") == 1


def test_what_cannot_even_be_noted_is_left_to_the_lease_and_spends_no_try(saga: int) -> None:
    claim = engine.start(saga, 1, "payment", compensating=False)
    assert claim is not None
    with held(SAGA):
        with pytest.raises(OperationalError):
            insist(claim, time.monotonic(), lambda: engine.record_failure(claim, Unavailable("down")))
        assert not engine.put_off(saga, 1, "payment", False, claim.claim, True)

    swept(saga)
    assert (record(saga).state, record(saga).tries, found(saga).epoch) == (StepState.SCHEDULED, 0, 2)


def test_an_errback_that_meets_a_held_row_ends_in_a_sentence(saga: int) -> None:
    with held(SAGA):
        assert "the sweep inspects it" in tasks.failed(saga=saga, epoch=1, order="ORD-1")


def test_a_doubled_message_puts_nothing_off_that_another_worker_has_started(saga: int) -> None:
    claim = engine.start(saga, 1, "payment", compensating=False)
    assert claim is not None

    assert not engine.put_off(saga, 1, "payment", False, None, True)
    assert engine.record_success(claim, {"charge_id": "c", "amount_minor": 100}).mine


# --- workers that are lost -----------------------------------------------------------------------------------------------------


def test_workers_that_are_lost_spend_no_budget_and_in_the_end_a_person_is_notified(saga: int) -> None:
    """Whoever dies, stands still or cannot write says nothing about the bank: my order is not given back for it."""
    for _ in range(settings.POISON_AFTER):
        assert engine.start(saga, found(saga).epoch, "payment", compensating=False) is not None
        StepRecord.objects.update(first_started_at="2020-01-01T00:00Z", started_at="2020-01-01T00:00Z")
        swept(saga)
        assert (record(saga).state, record(saga).tries, found(saga).state) == (StepState.SCHEDULED, 0, SagaState.RUNNING)
    swept(saga)

    assert found(saga).state == SagaState.NEEDS_ATTENTION
    assert Incident.objects.get().code == "poison"
