"""Promise: a circuit opens when different orders fail, and not for one that fails again and again."""

import pytest
from django.conf import settings

from fulfillment import engine, recovery
from fulfillment.circuit import Circuit, CircuitState
from fulfillment.errors import Busy, CircuitSignal, InDoubt, Rejected, StepError, Throttled
from fulfillment.models import SagaState, StepRecord, StepState
from tests.fulfillment.circuits.conftest import DOWN, REFUND, SILENCE, Place, circuit, found, opened, record, tries
from tests.fulfillment.conftest import now_due


def test_one_order_that_fails_again_and_again_does_not_open_it(place: Place) -> None:
    """It may be the order that is poisonous: its own budget is spent, as ever."""
    saga = place(1)
    for _ in range(settings.STEP_TRIES):
        assert tries(saga, SILENCE)
        now_due(saga)
        recovery.inspect_saga(saga)

    assert circuit().state == CircuitState.CLOSED
    assert found(saga).state == SagaState.COMPENSATING


def test_three_different_orders_open_it_and_a_success_between_them_forgets(place: Place) -> None:
    a, b, c, d = (place(number) for number in range(1, 5))
    tries(a, DOWN)
    tries(b, DOWN)
    assert tries(c)
    assert circuit().failures == []

    tries(d, DOWN)
    assert circuit().state == CircuitState.CLOSED


@pytest.mark.parametrize(
    "error",
    [
        Rejected("no", code="card_declined"),
        Busy("working on it"),
        Throttled("slowly", retry_after_s=7),
        InDoubt("late", code="past_lease", signal=CircuitSignal.IGNORED),
    ],
    ids=["rejected", "busy", "429", "our own trouble"],
)
def test_an_answer_and_our_own_trouble_do_not_count(place: Place, error: StepError) -> None:
    for number in range(1, 6):
        assert tries(place(number), error)

    assert not Circuit.objects.filter(state=CircuitState.OPEN).exists()


def test_a_provider_that_asks_for_patience_gets_it_and_no_try_is_spent(place: Place) -> None:
    saga = place(1)
    for _ in range(settings.STEP_TRIES + 2):
        assert tries(saga, Throttled("slowly", retry_after_s=7))
        assert (found(saga).wake_at - record(saga).outcome_at).total_seconds() > 6.9  # type: ignore[operator]
        now_due(saga)
        recovery.inspect_saga(saga)

    assert (record(saga).tries, found(saga).state) == (0, SagaState.RUNNING)


def test_while_one_provider_is_out_another_one_needs_one_failure(place: Place) -> None:
    """What takes away one may take away all: two orders at the carrier are not turned back because there are only two of them."""
    at_refund = place(9)
    tries(at_refund)
    StepRecord.objects.filter(saga=at_refund, name="inventory").update(state=StepState.REJECTED, error_message="none")
    engine.chain_stopped(at_refund, 1)
    opened(place)

    assert tries(at_refund, DOWN, compensating=True)

    assert circuit(REFUND).state == CircuitState.OPEN
    assert found(at_refund).held_by == REFUND
