"""Promise: when the provider answers, all go on, a few each second, with the time that it took given back."""

import pytest

from fulfillment import recovery
from fulfillment.circuit import Circuit, CircuitState
from fulfillment.errors import Rejected
from fulfillment.recovery import circuits
from tests.fulfillment.circuits.conftest import Place, circuit, found, next_probe, opened, time_passes, tries
from tests.fulfillment.conftest import now_due


def test_the_time_that_it_took_is_given_back(place: Place) -> None:
    sagas = opened(place)
    before = found(sagas[0]).deadline_at
    time_passes(1000)
    assert tries(next_probe())
    now_due(sagas[1])

    assert recovery.inspect_saga(sagas[1]) is not None

    after = found(sagas[1])
    assert before is not None
    assert after.deadline_at is not None
    assert abs((after.deadline_at - before).total_seconds()) < 5, "as much time is left as when it began to wait"
    assert after.paused_s > 999
    assert (after.held_by, after.held_at) == ("", None)


def test_those_who_wait_come_back_a_few_each_second(place: Place) -> None:
    opened(place)
    waiting = [place(number) for number in range(10, 50)]
    for saga in waiting:
        tries(saga)
    assert tries(next_probe())

    list(recovery.launch_probes())

    due = sorted(found(saga).wake_at for saga in waiting)  # type: ignore[type-var]
    spread_s = (due[-1] - due[0]).total_seconds()  # type: ignore[operator]
    assert spread_s == pytest.approx((len(waiting) - 1) / circuits.WOKEN_PER_S, abs=0.2)


def test_a_success_on_a_closed_circuit_writes_nothing(place: Place) -> None:
    assert tries(place(1))

    assert not Circuit.objects.exists()


def test_a_refusal_is_an_answer(place: Place) -> None:
    """The provider works: it declines."""
    opened(place)

    assert tries(next_probe(), Rejected("declined", code="card_declined"))

    assert circuit().state == CircuitState.CLOSED
