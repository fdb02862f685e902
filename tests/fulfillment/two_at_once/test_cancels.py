"""Promise: a cancel and a worker at the same instant have one answer."""

from typing import Any

import pytest

from fulfillment import engine, recovery
from fulfillment.models import Reservation, SagaState, StepRecord, StepState
from orders.models import Order
from tests.fulfillment.driving import found, in_doubt, paid
from tests.fulfillment.two_at_once.sessions import in_one
from tests.sides import at_once

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_cancel_that_meets_the_outcome_of_shipping_is_too_late(saga: int, order: Order) -> None:
    paid(saga)
    engine.run_local(saga, 1, "inventory", compensating=False)
    claim = engine.start(saga, 1, "shipping", False)
    assert claim is not None

    recorded, answer = at_once(
        in_one(engine.record_success, claim, {"label_id": "l", "tracking": "t"}),
        "WITH mine",
        lambda: recovery.cancel(order.number, "web-shop"),
        must_wait=True,
    )

    assert (recorded.mine, answer) == (True, "too_late")
    order.refresh_from_db()
    assert (order.status, found(saga).cancel_requested_at) == ("fulfilled", None)


def test_an_outcome_that_meets_a_cancel_turns_back_and_schedules_nothing(saga: int, order: Order) -> None:
    claim = engine.start(saga, 1, "payment", False)
    assert claim is not None

    answer, recorded = at_once(
        lambda: recovery.cancel(order.number, "web-shop"),
        "FOR UPDATE",
        lambda: engine.record_success(claim, {"charge_id": "c", "amount_minor": 100}),
        must_wait=True,
    )

    assert answer == "accepted"
    assert recorded.turned is not None
    assert StepRecord.objects.get(name="payment").state == StepState.COMPENSATION_SCHEDULED
    assert StepRecord.objects.get(name="inventory").scheduled_at is None


@pytest.mark.parametrize("name", ["payment", "inventory"])
def test_a_start_that_meets_a_cancel_starts_nothing(saga: int, order: Order, name: str) -> None:
    if name == "inventory":
        paid(saga)

    def runs() -> Any:
        return (
            engine.start(saga, 1, "payment", False)
            if name == "payment"
            else engine.run_local(saga, 1, "inventory", compensating=False).mine
        )

    answer, started = at_once(lambda: recovery.cancel(order.number, "web-shop"), "FOR UPDATE", runs, must_wait=True)

    assert answer == "accepted"
    assert not started
    assert not Reservation.objects.exists()


def test_a_cancel_that_meets_a_start_is_honoured_by_its_outcome(saga: int, order: Order) -> None:
    claim, answer = at_once(
        in_one(engine.start, saga, 1, "payment", False), "WITH seen", lambda: recovery.cancel(order.number, "web-shop"), must_wait=True
    )

    assert answer == "accepted"
    assert engine.record_success(claim, {"charge_id": "c", "amount_minor": 100}).turned is not None


def test_two_errbacks_at_once_turn_back_once(saga: int, order: Order) -> None:
    in_doubt(saga)
    StepRecord.objects.filter(saga=saga, name="payment").update(state=StepState.REJECTED)

    one, other = at_once(lambda: engine.chain_stopped(saga, 1), "FOR UPDATE", lambda: engine.chain_stopped(saga, 1), must_wait=True)

    assert (one is not None or found(saga).state == SagaState.COMPENSATED, other) == (True, None)
    assert found(saga).epoch == 2
