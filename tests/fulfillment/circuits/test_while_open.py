"""Promise: a provider's outage spends nobody's budget. Orders wait, and one of them asks now and then."""

import pytest
from django.conf import settings

from fulfillment import engine, recovery
from fulfillment.circuit import Circuit, CircuitState
from fulfillment.code_release import RELEASE
from fulfillment.errors import StepError
from fulfillment.models import Quarantine, Saga, SagaState, StepRecord, StepState
from orders.models import Incident
from tests.fulfillment.circuits.conftest import (
    DOWN,
    PAY,
    REFUND,
    SILENCE,
    Place,
    circuit,
    found,
    next_probe,
    opened,
    record,
    time_passes,
    tries,
)
from tests.fulfillment.conftest import now_due


@pytest.mark.parametrize("error", [DOWN, SILENCE], ids=["unavailable", "in doubt"])
def test_an_outage_of_hours_spends_nothing(place: Place, error: StepError) -> None:
    """Neither tries, nor time, nor the count of launches; and nobody is turned back."""
    sagas = opened(place, error)
    for _ in range(3 * settings.STEP_TRIES):
        time_passes(settings.SAGA_DEADLINE_S)
        probe = next_probe()
        assert tries(probe, error)
        for saga in sagas:
            now_due(saga)
            recovery.inspect_saga(saga)

    for saga in sagas:
        assert (found(saga).state, record(saga).tries, found(saga).relaunches) == (SagaState.RUNNING, 1, 0)

    assert tries(next_probe())
    assert circuit().state == CircuitState.CLOSED
    list(recovery.launch_probes())
    for saga in sagas:
        if record(saga).state != StepState.SUCCEEDED:
            now_due(saga)
            assert recovery.inspect_saga(saga) is not None
            assert tries(saga)
    assert {record(saga).state for saga in sagas} == {StepState.SUCCEEDED}


def test_nothing_starts_before_an_open_circuit(place: Place) -> None:
    opened(place)
    saga = place(4)

    assert not tries(saga)

    assert found(saga).held_by == PAY
    assert found(saga).wake_at is not None
    assert record(saga).tries == 0


def test_a_compensation_waits_too_and_is_never_exhausted(place: Place) -> None:
    sagas = [place(number) for number in range(1, 4)]
    for saga in sagas:
        tries(saga)
        StepRecord.objects.filter(saga=saga, name="inventory").update(state=StepState.REJECTED, error_message="none")
        engine.chain_stopped(saga, 1)
    for _ in range(2 * settings.COMPENSATION_TRIES):
        for saga in sagas:
            tries(saga, DOWN, compensating=True)
            now_due(saga)
            recovery.inspect_saga(saga)
        time_passes(settings.COMPENSATION_DEADLINE_S)
        probe = next_probe()
        assert tries(probe, DOWN, compensating=True)

    assert {found(saga).state for saga in sagas} == {SagaState.COMPENSATING}
    list(recovery.launch_probes())
    assert [(incident.subject, incident.amount_minor) for incident in Incident.objects.all()] == [(REFUND, 300)], (
        "what is captured is at risk"
    )


def test_a_worker_that_dies_as_the_probe_burns_nothing_and_does_not_hold_it(place: Place) -> None:
    sagas = opened(place)
    probe = next_probe()
    assert engine.start(probe, found(probe).epoch, "payment", compensating=False) is not None
    assert list(recovery.launch_probes()) == [], "one probe at a time"

    time_passes(2 * settings.LEASE_S)
    now_due(probe)
    recovery.inspect_saga(probe)

    assert (record(probe).state, record(probe).tries) == (StepState.IN_DOUBT, 1)
    assert next_probe() in set(sagas) - {probe}


def test_the_probe_rotates(place: Place) -> None:
    """One order that fails for reasons of its own cannot keep it open."""
    sagas = opened(place)
    probes = []
    for _ in range(6):
        probes.append(next_probe())
        assert tries(probes[-1], DOWN)

    assert probes == sagas * 2


@pytest.mark.django_db(transaction=True)
def test_an_order_on_which_nobody_can_work_does_not_hold_it_open(place: Place) -> None:
    """The oldest of those who wait cannot even be read: the next one asks in its place, in the same round."""
    first, second, *_ = opened(place)
    Saga.objects.filter(pk=first).update(plan=["poison"])

    assert next_probe() == second
    assert Quarantine.objects.get().saga_id == first


def test_those_of_a_newer_release_do_not_stand_in_the_probe_s_way(place: Place) -> None:
    """A deploy was taken back: more of its orders than are looked at for one probe come next in turn, and this code may not judge them."""
    sagas = opened(place)
    newer = [place(number) for number in range(10, 16)]
    for saga in newer:
        tries(saga)
    Saga.objects.filter(pk__in=newer).update(release=RELEASE + 1)
    Circuit.objects.update(probe=sagas[-1])

    assert next_probe() == sagas[0]


def test_an_open_circuit_before_which_only_newer_orders_wait_stays_open(place: Place) -> None:
    """This code has nobody to send ahead, and somebody waits all the same."""
    opened(place)
    Saga.objects.update(release=RELEASE + 1)
    Circuit.objects.update(next_probe_at="2020-01-01T00:00Z")

    assert list(recovery.launch_probes()) == []
    assert circuit().state == CircuitState.OPEN


def test_a_probe_that_fails_waits_longer_each_time(place: Place) -> None:
    opened(place)
    waits = []
    for _ in range(4):
        assert tries(next_probe(), DOWN)
        now = circuit()
        assert now.next_probe_at is not None
        waits.append((now.next_probe_at - record(now.probe or 0).outcome_at).total_seconds())  # type: ignore[operator]

    assert waits == sorted(waits)
    assert waits[-1] > 4 * waits[0]
