"""Promise: what the journal says is what happens: fenced, claimed, explained in every state; what the code does not know waits and says so."""

from typing import Any

import pytest

from fulfillment import engine, recovery, stock
from fulfillment.checks import wrong_order
from fulfillment.errors import InDoubt, Rejected, Unavailable
from fulfillment.explanation import explain
from fulfillment.models import Reservation, Saga, SagaState, StepRecord, StepState, StockLevel
from fulfillment.step import Kind, Step
from orders.models import Incident, Order
from orders.timeline import TimelineEntry
from tests.fulfillment.conftest import now_due


def state(saga: int, name: str = "payment") -> str:
    return StepRecord.objects.get(saga=saga, name=name).state


def test_a_doubled_message_starts_once(saga: int) -> None:
    assert engine.start(saga, 1, "payment", compensating=False) is not None
    assert engine.start(saga, 1, "payment", compensating=False) is None


@pytest.mark.parametrize(("epoch", "name"), [(2, "payment"), (0, "payment"), (1, "shipping"), (1, "inventory")])
def test_a_message_of_another_epoch_or_of_a_step_not_scheduled_starts_nothing(saga: int, epoch: int, name: str) -> None:
    assert engine.start(saga, epoch, name, compensating=False) is None


def test_a_worker_that_was_taken_over_records_nothing_and_history_says_so(saga: int) -> None:
    late = engine.start(saga, 1, "payment", compensating=False)
    assert late is not None
    now_due(saga)
    launch = recovery.inspect_saga(saga)
    assert launch is not None
    before = StepRecord.objects.filter(saga=saga).values().order_by("id")[0]

    assert not engine.record_success(late, {"charge_id": "c"}).mine
    assert not engine.record_failure(late, InDoubt("?")).mine

    assert StepRecord.objects.filter(saga=saga).values().order_by("id")[0] == before
    assert (launch.epoch, launch.steps) == (2, ("payment", "inventory", "shipping"))
    assert TimelineEntry.objects.filter(kind="late", name="payment", epoch=1).count() == 2


def test_two_starts_in_one_epoch_are_told_apart_by_their_claim(saga: int) -> None:
    """A start lost with a database crash, and a doubled message: two workers in one epoch, one of which may record an outcome."""
    first = engine.start(saga, 1, "payment", compensating=False)
    StepRecord.objects.filter(saga=saga, name="payment").update(state=StepState.SCHEDULED, claim=None)
    second = engine.start(saga, 1, "payment", compensating=False)
    assert first is not None
    assert second is not None

    assert not engine.record_success(first, {}).mine
    assert engine.record_success(second, {}).mine


@pytest.mark.parametrize(("error", "becomes"), [(Unavailable("down"), "retry_wait"), (InDoubt("?"), "in_doubt")])
def test_what_may_be_tried_again_waits_and_keeps_its_key(saga: int, error: Any, becomes: str) -> None:
    first = engine.start(saga, 1, "payment", compensating=False)
    assert first is not None
    assert engine.record_failure(first, error).mine
    assert state(saga) == becomes
    now_due(saga)
    launch = recovery.inspect_saga(saga)
    assert launch is not None

    again = engine.start(saga, launch.epoch, "payment", compensating=False)

    assert again is not None
    assert (again.key, again.tries) == (first.key, 2)


def test_a_local_step_that_is_rejected_leaves_no_reservation(saga: int) -> None:
    StockLevel.objects.update(on_hand=1)
    claim = engine.start(saga, 1, "payment", compensating=False)
    assert claim is not None
    engine.record_success(claim, {"charge_id": "c", "amount_minor": 100})

    with pytest.raises(Rejected):
        engine.run_local(saga, 1, "inventory", compensating=False)

    assert state(saga, "inventory") == "rejected"
    assert not Reservation.objects.exists()
    back = engine.chain_stopped(saga, 1)
    assert back is not None
    assert (back.compensating, back.epoch, back.steps) == (True, 2, ("payment",))
    assert engine.chain_stopped(saga, 1) is None, "a second errback of the old epoch does nothing"


def test_an_errback_that_finds_the_step_succeeded_publishes_the_rest_once(saga: int) -> None:
    claim = engine.start(saga, 1, "payment", compensating=False)
    assert claim is not None
    engine.record_success(claim, {"charge_id": "c", "amount_minor": 100})

    first, second = engine.chain_stopped(saga, 1), engine.chain_stopped(saga, 1)

    assert first is not None
    assert first.steps == ("inventory", "shipping")
    assert second is None


def test_a_step_that_this_code_does_not_know_is_a_person_s(saga: int, order: Order) -> None:
    StepRecord.objects.filter(saga=saga, name="payment").update(name="gift_wrap")
    now_due(saga)
    assert recovery.inspect_saga(saga) is None
    assert Saga.objects.get(pk=saga).state == SagaState.RUNNING, "in a rolling deploy a process that has the step may stand beside us"

    Saga.objects.filter(pk=saga).update(left_since="2020-01-01T00:00Z")
    now_due(saga)
    assert recovery.inspect_saga(saga) is None

    found = Saga.objects.get(pk=saga)
    assert (found.state, found.wake_at, found.epoch) == (SagaState.NEEDS_ATTENTION, None, 2)
    assert Incident.objects.get().kind == "unknown_step"
    assert "gift_wrap" in explain(order).sentence
    assert recovery.inspect_saga(saga) is None, "it waits for a person"


def test_a_broker_that_is_down_does_not_grow_patience(saga: int) -> None:
    now_due(saga)
    launch = recovery.inspect_saga(saga)
    assert launch is not None

    recovery.not_published(launch)

    assert Saga.objects.get(pk=saga).relaunches == 0


def test_the_sweep_takes_what_is_due_and_nothing_else(saga: int) -> None:
    assert not any(recovery.due())
    now_due(saga)
    assert [launch.order for found in recovery.due() for launch in found] == ["ORD-1"]
    assert not any(recovery.due())


@pytest.mark.parametrize("step_state", StepState.values)
def test_every_state_of_a_step_has_a_sentence(order: Order, saga: int, step_state: str) -> None:
    """Nobody looks at an order and learns nothing."""
    compensating = step_state.startswith("compensation") and step_state != "compensated"
    Saga.objects.update(
        state=SagaState.COMPENSATING if compensating else SagaState.RUNNING, failure="shipping_failed" if compensating else ""
    )
    StepRecord.objects.filter(saga=saga, name="payment").update(state=step_state, error_message="because")

    explanation = explain(order)

    assert len(explanation.sentence) > 15
    assert "_" not in explanation.sentence


@pytest.mark.parametrize(("saga_state", "failure"), [("completed", ""), ("compensated", "cancelled"), ("compensated", "payment_failed")])
def test_every_end_of_a_saga_has_a_sentence(order: Order, saga: int, saga_state: str, failure: str) -> None:
    Saga.objects.update(state=saga_state, failure=failure, wake_at=None)

    assert explain(order).next_at is None
    assert "_" not in explain(order).sentence


def test_stock_is_reserved_released_and_consumed_once(order: Order) -> None:
    held = stock.reserve("ORD-1", {"MUG": 2})
    with pytest.raises(stock.OutOfStock):
        stock.reserve("ORD-2", {"MUG": 2})
    stock.release(held)
    stock.release(held)
    assert StockLevel.objects.values_list("on_hand", "reserved").get() == (3, 0)

    Reservation.objects.all().delete()
    stock.reserve("ORD-1", {"MUG": 2})
    stock.consume("ORD-1")
    stock.consume("ORD-1")
    assert StockLevel.objects.values_list("on_hand", "reserved").get() == (1, 0)


def test_after_a_pivot_only_retriable_steps_are_allowed() -> None:
    def step(name: str, kind: Kind) -> Step:
        made: Step = type(name, (Step,), {"name": name, "kind": kind})()
        return made

    wrong = list(wrong_order([step("ship", Kind.PIVOT), step("pay", Kind.COMPENSABLE), step("pay", Kind.RETRIABLE)]))

    assert [error.id for error in wrong] == ["fulfillment.E002", "fulfillment.E003"]
