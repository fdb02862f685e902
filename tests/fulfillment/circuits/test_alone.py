"""Promise: an order that waits alone before an open circuit does not ask for ever: an answer closes the circuit, and what is our own trouble spends its tries."""

import pytest
from django.conf import settings

from fulfillment import engine, recovery
from fulfillment.circuit import CircuitState
from fulfillment.errors import Changed, CircuitSignal, InDoubt, StepError, Throttled
from fulfillment.gateways import http
from fulfillment.models import SagaState, StepState
from orders.models import Incident
from tests.fulfillment.circuits.conftest import SILENCE, Place, circuit, found, next_probe, opened, record, time_passes, tries
from tests.fulfillment.conftest import now_due

ENOUGH = 2 * settings.POISON_AFTER


def http_answer(status: int, code: str) -> StepError:
    error = http.outcome(status, {"error": {"code": code}}, ())
    assert error is not None
    return error


ANSWERS = {
    "an effect of which a part was reversed": InDoubt("part of it", code="partly_reversed_elsewhere", signal=CircuitSignal.SUCCESS),
    "a status that nobody knows": http_answer(404, "odd"),
    "still at work": http_answer(409, "in_progress"),
    "an amount that has changed": Changed("less", "remainder_changed", 10),
    "a receipt that cannot be kept": InDoubt("odd", code="receipt_unusable", signal=CircuitSignal.SUCCESS),
}


@pytest.fixture
def alone(place: Place) -> int:
    """Three have opened the circuit, and two of them are gone."""
    one, *others = opened(place, SILENCE)
    for other in others:
        recovery.cancel(found(other).order.number, "amara")
        recovery.inspect_saga(other)
    return one


@pytest.mark.parametrize("error", ANSWERS.values(), ids=ANSWERS.keys())
def test_whatever_the_provider_answers_about_this_request_closes_the_circuit(alone: int, error: StepError) -> None:
    assert tries(next_probe(), error)

    assert circuit().state == CircuitState.CLOSED
    assert (found(alone).held_by, record(alone).state) == ("", StepState.IN_DOUBT)


def test_who_asks_for_patience_has_not_answered(alone: int) -> None:
    """All who wait would come at once."""
    assert tries(next_probe(), Throttled("slowly"))

    assert circuit().state == CircuitState.OPEN


@pytest.mark.parametrize("code", ["unknown_error", "time_limit", "past_lease"])
def test_our_own_trouble_spends_the_probe_s_tries_and_then_it_turns_back(alone: int, code: str) -> None:
    for _ in range(ENOUGH):
        if found(alone).state != SagaState.RUNNING:
            break
        assert tries(next_probe(), InDoubt("our own", code=code, signal=CircuitSignal.IGNORED))
        now_due(alone)
        recovery.inspect_saga(alone)

    assert found(alone).state == SagaState.COMPENSATING
    assert circuit().state == CircuitState.OPEN, "nobody has heard anything of the provider"


def test_an_outage_spends_nothing_of_who_waits_alone(alone: int) -> None:
    for _ in range(ENOUGH):
        assert tries(next_probe(), SILENCE)
        now_due(alone)
        recovery.inspect_saga(alone)

    assert (found(alone).state, record(alone).tries) == (SagaState.RUNNING, 1)


def test_a_probe_whose_worker_dies_each_time_is_parked(alone: int) -> None:
    """It may be this order that kills them."""
    for _ in range(ENOUGH):
        if found(alone).state != SagaState.RUNNING:
            break
        probe = next_probe()
        assert engine.start(probe, found(probe).epoch, "payment", compensating=False) is not None
        time_passes(2 * settings.LEASE_S)
        now_due(probe)
        recovery.inspect_saga(probe)

    assert found(alone).state == SagaState.NEEDS_ATTENTION
    assert Incident.objects.get(order=found(alone).order).code == "poison"
