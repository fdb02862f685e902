"""Promise: two sweeps at once send one probe, publish one message and open one incident, and both failures count."""

from datetime import UTC, datetime
from typing import Any

import pytest
from django.conf import settings

from fulfillment import engine, recovery
from fulfillment.circuit import Circuit, CircuitState
from fulfillment.models import Quarantine, StepRecord, StepState
from fulfillment.recovery import circuits, quarantine
from orders.incidents import Incident
from orders.models import Order
from orders.timeline import TimelineEntry
from tests.actors import AMARA
from tests.fulfillment.conftest import now_due
from tests.fulfillment.driving import copy_of, found
from tests.fulfillment.two_at_once.sessions import DOWN, PAY, in_one
from tests.sides import at_once

pytestmark = pytest.mark.django_db(transaction=True)
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)

# --- circuits ------------------------------------------------------------------------------------------------------------------


def fails(saga: int) -> Any:
    claim = engine.start(saga, found(saga).epoch, "payment", False)
    assert claim is not None
    return lambda: engine.record_failure(claim, DOWN)


def test_two_orders_that_fail_at_once_are_both_counted(saga: int, order: Order) -> None:
    second = copy_of(order, "ORD-2")
    Circuit.objects.create(name=PAY)

    at_once(fails(saga), '"fulfillment_circuit"."name" ASC LIMIT 1 FOR UPDATE', fails(second), True)

    assert sorted(Circuit.objects.get().failures) == ["ORD-1", "ORD-2"]


def test_the_first_two_failures_ever_are_both_counted(saga: int, order: Order) -> None:
    """There is no row yet that they could lock."""
    at_once(fails(saga), 'INSERT INTO "fulfillment_circuit"', fails(copy_of(order, "ORD-2")), must_wait=True)

    assert sorted(Circuit.objects.get().failures) == ["ORD-1", "ORD-2"]


def opened(order: Order) -> list[int]:
    sagas = [copy_of(order, f"ORD-F{number}") for number in range(3)]
    for saga in sagas:
        fails(saga)()
    for saga in sagas:
        now_due(saga)
        recovery.inspect_saga(saga)
    assert Circuit.objects.get().state == CircuitState.OPEN
    return sagas


def test_two_sweeps_send_one_probe(order: Order) -> None:
    """However they meet: an order that is called is called as the only one."""
    first, second, _ = opened(order)
    Circuit.objects.update(next_probe_at=LONG_AGO)

    launches = at_once(
        lambda: circuits._probe(PAY, first), 'FROM "fulfillment_circuit"', lambda: circuits._probe(PAY, second), must_wait=True
    )

    assert [launch.saga for launch in launches if launch] == [first]
    assert Circuit.objects.get().probe == first
    assert StepRecord.objects.filter(name="payment", state=StepState.SCHEDULED).count() == 1


def test_two_rounds_at_once_send_one_probe(order: Order) -> None:
    opened(order)
    Circuit.objects.update(next_probe_at=LONG_AGO)

    one, other = at_once(
        lambda: list(recovery.launch_probes()), 'UPDATE "fulfillment_circuit"', lambda: list(recovery.launch_probes()), None
    )

    assert len(one) + len(other) == 1


def test_who_begins_to_wait_while_a_circuit_closes_is_woken(order: Order) -> None:
    """Closing waits until the hold is written, so that whoever wakes them finds it."""
    opened(order)
    late = copy_of(order, "ORD-9")

    def closes() -> None:
        circuits.release(PAY, AMARA, "it is back")
        list(recovery.launch_probes())

    at_once(lambda: engine.could_not_start(late, 1), "FOR SHARE", closes, must_wait=True)

    it = found(late)
    assert it.held_by == PAY
    assert it.wake_at is not None
    assert (it.wake_at - it.held_at).total_seconds() < 5  # type: ignore[operator]


def test_the_answer_of_a_probe_and_a_hold_by_a_person_at_once_end_as_the_later_one_says(order: Order) -> None:
    opened(order)
    Circuit.objects.update(next_probe_at=LONG_AGO)
    (launch,) = recovery.launch_probes()
    claim = engine.start(launch.saga, launch.epoch, "payment", False)
    assert claim is not None

    at_once(
        lambda: engine.record_success(claim, {"charge_id": "c", "amount_minor": 100}),
        'FROM "fulfillment_circuit"',
        lambda: circuits.hold(PAY, AMARA, "audit"),
        must_wait=True,
    )

    circuit = Circuit.objects.get()
    assert (circuit.state, circuit.held_by, circuit.wakes) == (CircuitState.OPEN, "amara", False)


# --- two sweeps ---------------------------------------------------------------------------------------------------------------


def test_two_sweeps_publish_one_message(saga: int) -> None:
    now_due(saga)

    launches = at_once(lambda: recovery.inspect_saga(saga), "FOR UPDATE", lambda: list(recovery.due()), must_wait=False)

    assert launches[0] is not None
    assert launches[1] == [[]]
    assert (found(saga).relaunches, found(saga).epoch) == (1, 1)


def test_two_sweeps_on_one_row_of_the_quarantine_count_both_inspections(saga: int, order: Order) -> None:
    add = in_one(quarantine.add, saga, order.pk, "KeyError", 1.0)

    at_once(add, "INSERT INTO fulfillment_quarantine", add, must_wait=True)

    assert Quarantine.objects.get().failures == 2


def test_two_sweeps_that_notify_at_once_notify_once(saga: int, order: Order) -> None:
    for _ in range(settings.POISON_AFTER):
        quarantine.add(saga, order.pk, "KeyError", 1.0)

    at_once(
        lambda: quarantine.open_incident_of(saga, order.pk, "KeyError"),
        'INSERT INTO "orders_incident"',
        lambda: quarantine.open_incident_of(saga, order.pk, "KeyError"),
    )

    assert Incident.objects.count() == 1
    assert TimelineEntry.objects.filter(kind="incident").count() == 1


def test_what_has_healed_is_worked_on_once_by_two_sweeps_and_leaves_the_quarantine(saga: int, order: Order) -> None:
    quarantine.add(saga, order.pk, "KeyError", 1.0)
    Quarantine.objects.update(inspect_at=LONG_AGO)
    now_due(saga)

    one, other = at_once(lambda: list(recovery.due()), 'UPDATE "fulfillment_saga"', lambda: list(recovery.due()))
    assert len([launch for published in (*one, *other) for launch in published]) == 1

    Quarantine.objects.update(inspect_at=LONG_AGO)
    list(recovery.due())
    assert not Quarantine.objects.exists()
    assert found(saga).relaunches == 1
