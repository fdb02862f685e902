"""Promise: nothing is tried for ever. A step out of its budget turns the order back, an undo out of its budget is told to a person, with the amount."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.conf import settings

from fulfillment import engine, ledger, recovery, steps, stock, tasks
from fulfillment.answers import storable
from fulfillment.engine.compensation import turn_back
from fulfillment.errors import Busy, Changed, InDoubt, Rejected, StepError, Unavailable
from fulfillment.explanation import explain
from fulfillment.ledger import LedgerEntry
from fulfillment.models import QueueProbe, Saga, SagaState, StepRecord, StepState, StockLevel
from fulfillment.recovery import probes
from fulfillment.step import Kind, Receipt, Step, Undo
from orders.models import Incident, Order
from orders.timeline import TimelineEntry
from tests.actors import AMARA
from tests.fulfillment.conftest import now_due
from tests.fulfillment.driving import found, paid, record

PAID = {"charge_id": "ch_1", "amount_minor": 100}


def tried(saga: int, name: str, error: StepError, undo: bool = False) -> None:
    """One start, and its failure."""
    claim = engine.start(saga, found(saga).epoch, name, undo)
    assert claim is not None, record(saga, name).state
    assert engine.settle_failure(claim, error).mine
    now_due(saga)


def paid_and_refused(saga: int) -> None:
    """Payment succeeded, stock was short: the undo of payment is granted."""
    claim = engine.start(saga, 1, "payment", undo=False)
    assert claim is not None
    engine.settle_success(claim, PAID)
    StepRecord.objects.filter(saga=saga, name="inventory").update(state=StepState.REJECTED, error_message="MUG is out of stock")
    assert engine.chain_stopped(saga, 1) is not None


# --- budgets -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [Unavailable("down"), InDoubt("silence")], ids=["unavailable", "in doubt"])
def test_a_step_out_of_tries_turns_the_order_back_and_is_undone_blind(saga: int, error: StepError) -> None:
    """Unavailable says nothing about earlier tries: both are perhaps called."""
    for _ in range(settings.STEP_TRIES):
        tried(saga, "payment", error)
        launch = recovery.look(saga)

    assert launch is not None
    assert launch.undo
    assert launch.steps == ("payment",)
    assert (found(saga).state, record(saga).state) == (SagaState.COMPENSATING, StepState.UNDO_GRANTED)


def test_an_answer_that_the_provider_is_busy_spends_no_try_but_its_deadline_runs(saga: int) -> None:
    for _ in range(settings.STEP_TRIES + 3):
        tried(saga, "payment", Busy("working on it"))
        recovery.look(saga)
    assert (found(saga).state, record(saga).tries) == (SagaState.RUNNING, 0)

    tried(saga, "payment", Busy("still working"))
    StepRecord.objects.filter(saga=saga, name="payment").update(first_started_at="2020-01-01T00:00Z")
    recovery.look(saga)

    assert found(saga).state == SagaState.COMPENSATING


def test_an_order_that_takes_too_long_turns_back(saga: int) -> None:
    Saga.objects.filter(pk=saga).update(deadline_at="2020-01-01T00:00Z")
    now_due(saga)

    recovery.look(saga)

    assert found(saga).state == SagaState.COMPENSATING


def test_an_undo_out_of_tries_is_told_with_the_amount_and_never_called_done(saga: int, order: Order) -> None:
    paid_and_refused(saga)

    for _ in range(settings.UNDO_TRIES):
        tried(saga, "payment", Unavailable("down", code="http_503"), undo=True)
        recovery.look(saga)

    assert (found(saga).state, found(saga).wake_at) == (SagaState.NEEDS_ATTENTION, None)
    assert record(saga).state == StepState.UNDO_FAILED
    incident = Incident.objects.get()
    assert (incident.kind, incident.step, incident.code, incident.amount_minor) == ("undo_exhausted", "payment", "http_503", 100)
    assert "€1.00 at risk" in incident.sentence
    order.refresh_from_db()
    assert (order.status, order.attention) == ("compensating", True)
    assert "Someone has to decide." in explain(order).sentence


@pytest.mark.parametrize(("name", "blocks"), [("shipping", True), ("inventory", False)])
def test_a_failed_undo_stops_the_walk_only_where_it_blocks(saga: int, name: str, blocks: bool) -> None:
    """A parcel that may still leave holds the refund back; a stock problem does not."""
    claim = engine.start(saga, 1, "payment", undo=False)
    assert claim is not None
    engine.settle_success(claim, PAID)
    StepRecord.objects.filter(saga=saga, name="inventory").update(state=StepState.SUCCEEDED, receipt={"reservations": []})
    StepRecord.objects.filter(saga=saga, name="shipping").update(state=StepState.IN_DOUBT, granted_at="2026-01-01T00:00Z")
    turning = engine.locking(Saga.objects.filter(pk=saga)).get()
    turn_back(turning)
    if name == "inventory":
        undone = engine.start(saga, 2, "shipping", undo=True)
        assert undone is not None
        engine.settle_success(undone, {"label_id": None})
        StepRecord.objects.filter(saga=saga, name="inventory").update(undo_tries=settings.UNDO_TRIES)
        now_due(saga)
        recovery.look(saga)
    else:
        tried(saga, "shipping", Rejected("The parcel has left", code="handed_over"), undo=True)

    assert record(saga, name).state == StepState.UNDO_FAILED
    assert record(saga, "payment").state == (StepState.UNDO_PENDING if blocks else StepState.UNDO_GRANTED)
    assert found(saga).state == (SagaState.NEEDS_ATTENTION if blocks else SagaState.COMPENSATING)
    if not blocks:
        refunded = engine.start(saga, found(saga).epoch, "payment", undo=True)
        assert refunded is not None
        engine.settle_success(refunded, {"amount_minor": 100})
        assert found(saga).state == SagaState.NEEDS_ATTENTION, "never compensated while an undo has failed"


def test_a_launch_without_any_progress_is_capped(saga: int) -> None:
    for _ in range(settings.POISON_AFTER + 1):
        now_due(saga)
        recovery.look(saga)

    assert found(saga).state == SagaState.NEEDS_ATTENTION
    assert Incident.objects.get().code == "poison"


def test_an_order_is_never_fulfilled_because_a_record_is_gone(saga: int) -> None:
    """Somebody has deleted the row that says "to be shipped": I am not told that my parcel is on its way."""
    StepRecord.objects.filter(saga=saga, name="shipping").delete()
    paid(saga)

    engine.run_local(saga, 1, "inventory", undo=False)

    assert found(saga).state == SagaState.NEEDS_ATTENTION
    incident = Incident.objects.get()
    assert (incident.kind, incident.code, incident.amount_minor) == ("stuck", "record_lost", 100)


# --- amounts -------------------------------------------------------------------------------------------------------------


def test_the_ledger_knows_what_remains_and_a_refund_is_entered_with_its_settle(saga: int, order: Order) -> None:
    paid_and_refused(saga)
    assert ledger.remaining(order.pk) == record(saga).undo_amount_minor == 100

    claim = engine.start(saga, 2, "payment", undo=True)
    assert claim is not None
    engine.settle_success(claim, {"amount_minor": 100})

    assert ledger.remaining(order.pk) == 0
    assert found(saga).state == SagaState.COMPENSATED


def test_what_somebody_else_gave_back_makes_a_new_business_attempt(saga: int, order: Order) -> None:
    """Key and amount are fixed together: 40 of 100 were given back elsewhere, so 60 are refunded under another key."""
    paid_and_refused(saga)
    first = engine.start(saga, 2, "payment", undo=True)
    assert first is not None

    engine.settle_failure(first, Changed("40 were given back", "remainder_changed", 40))

    now = record(saga)
    assert (now.undo_key, now.undo_amount_minor) == ("ORD-1:payment:undo:2:testsnonce", 60)
    assert first.key == "ORD-1:payment:undo:1:testsnonce"
    now_due(saga)
    assert recovery.look(saga) is not None
    again = engine.start(saga, 3, "payment", undo=True)
    assert again is not None
    assert (again.key, again.undo_amount_minor) == ("ORD-1:payment:undo:2:testsnonce", 60)


def test_a_blind_undo_that_gave_something_back_enters_what_it_had_found(saga: int, order: Order) -> None:
    tried(saga, "payment", InDoubt("silence"))
    engine.request_cancel(engine.locking(Saga.objects.filter(pk=saga)).get(), "amara")
    recovery.look(saga)
    claim = engine.start(saga, 2, "payment", undo=True)
    assert claim is not None
    assert claim.receipt is None

    engine.settle_success(claim, {"amount_minor": 100})

    assert list(LedgerEntry.objects.values_list("operation", "amount_minor")) == [("captured", 100), ("refunded", 100)]


# --- backlog is not loss ---------------------------------------------------------------------------------------------------


def test_a_message_that_may_still_wait_in_its_queue_is_not_published_again(saga: int) -> None:
    Saga.objects.filter(pk=saga).update(wake_at="2020-01-01T00:00Z")

    assert recovery.look(saga) is None

    assert found(saga).relaunches == 0
    ((queue, stamp),) = recovery.probes_due()
    assert queue == "saga"
    assert recovery.probes_due() == [], "one probe is under way"
    assert recovery.unanswered_for_s() != {}
    recovery.probe_came_out(queue, stamp)
    assert recovery.unanswered_for_s() == {}
    assert not probes.proves_lost("saga", stamp), "it may have been prefetched"


def test_what_was_launched_before_the_newest_probe_that_came_out_is_lost(saga: int) -> None:
    Saga.objects.filter(pk=saga).update(wake_at="2020-01-01T00:00Z", launched_at="2020-01-01T00:00Z")
    QueueProbe.objects.create(queue="saga", sent_at="2020-01-02T00:00Z", out_at="2020-01-02T00:00Z")

    launch = recovery.look(saga)

    assert launch is not None
    assert (launch.epoch, found(saga).relaunches) == (1, 1)


# --- after the pivot --------------------------------------------------------------------------------------------------------


class Survey(Step):
    """A step after the pivot."""

    name = "survey"
    kind = Kind.RETRIABLE
    skippable = True

    def execute(self, order: Order, key: str) -> Receipt:
        return {}

    def compensate(self, order: Order, undo: Undo) -> None:
        return None


@pytest.fixture
def stuck_after_the_pivot(monkeypatch: pytest.MonkeyPatch, order: Order) -> Iterator[int]:
    monkeypatch.setattr(steps, "STEPS", (*steps.STEPS, Survey()))
    monkeypatch.setattr(engine.creation, "STEPS", steps.STEPS)
    saga = engine.open_saga(order).saga
    StepRecord.objects.filter(saga=saga).exclude(name="survey").update(state=StepState.SUCCEEDED)
    StepRecord.objects.filter(saga=saga, name="survey").update(state=StepState.GRANTED, granted_at="2026-01-01T00:00Z")
    for _ in range(settings.STEP_TRIES):
        tried(saga, "survey", Unavailable("down"))
        recovery.look(saga)
    yield saga


def test_after_the_pivot_nothing_turns_back_and_a_person_may_do_without_the_step(stuck_after_the_pivot: int, order: Order) -> None:
    saga = stuck_after_the_pivot
    assert (found(saga).state, Incident.objects.get().kind) == (SagaState.NEEDS_ATTENTION, "stuck")
    assert engine.request_cancel(engine.locking(Saga.objects.filter(pk=saga)).get(), "amara") == "too_late"
    assert {choice.verb for choice in explain(order).choices} >= {"retry", "skip"}
    assert "start_undo" not in {choice.verb for choice in explain(order).choices}

    version = recovery.version_of(order.pk)
    recovery.decide(
        recovery.Request(order="ORD-1", verb="skip", version=version, actor=AMARA, reason="no survey needed", evidence="ticket 7")
    )

    order.refresh_from_db()
    assert (found(saga).state, record(saga, "survey").state) == (SagaState.COMPLETED, StepState.SKIPPED)


# --- bad input ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "receipt",
    [{"at": object()}, {"n": float("nan")}, {"text": "a\x00b"}, ["a", "list"], {"long": "x" * 30_000}],
    ids=["object", "nan", "null character", "list", "long"],
)
def test_a_receipt_that_cannot_be_stored_is_in_doubt(receipt: object) -> None:
    """It took place; the same key asks again, and nothing is stranded."""
    with pytest.raises(InDoubt) as doubt:
        storable(receipt)
    assert doubt.value.code == "receipt_unusable"


@pytest.mark.parametrize(
    ("message", "wrong"),
    [
        ({}, "saga is missing or is no int; epoch is missing or is no int; order is missing or is no str"),
        ({"saga": 1, "epoch": "2", "order": "ORD-1"}, "epoch is missing or is no int"),
        ({"saga": 1, "epoch": 2, "order": "ORD-1", "amount": 3}, "amount is not known"),
    ],
)
def test_a_message_with_wrong_arguments_is_refused_in_a_sentence(message: dict[str, Any], wrong: str) -> None:
    for task in (*tasks.TASKS.values(), tasks.failed):
        assert task(**message) == f"refused: {wrong}"
        assert task(1, **message) == "refused: its arguments must be named: saga, epoch, order"


def test_a_message_of_the_future_or_of_a_saga_that_is_not_there_does_nothing(saga: int) -> None:
    before = TimelineEntry.objects.count()
    for message in ({"saga": saga, "epoch": 99, "order": "ORD-1"}, {"saga": 10**9, "epoch": 1, "order": "ORD-0"}):
        for task in tasks.TASKS.values():
            assert "nothing to do here" in task(**message)
        assert "noted" in tasks.failed(**message)
    assert TimelineEntry.objects.count() == before


@pytest.mark.parametrize(("parcel_left", "level"), [(True, (1, 0)), (False, (3, 0))])
def test_closing_an_order_leaves_no_stock_held(saga: int, order: Order, parcel_left: bool, level: tuple[int, int]) -> None:
    """What left with a parcel that could not be called back is gone; what did not is free again."""
    held = stock.reserve(order.number, {"MUG": 2})
    StepRecord.objects.filter(saga=saga, name="inventory").update(state=StepState.UNDO_PENDING, receipt={"reservations": held})
    failed = "shipping" if parcel_left else "payment"
    StepRecord.objects.filter(saga=saga, name=failed).update(state=StepState.UNDO_FAILED, error_code="x")
    Saga.objects.filter(pk=saga).update(state=SagaState.NEEDS_ATTENTION, failure="shipping_failed")
    Order.objects.filter(pk=order.pk).update(status="processing")

    recovery.decide(
        recovery.Request(
            order="ORD-1", verb="close", version=recovery.version_of(order.pk), actor=AMARA, reason="agreed", evidence="", amount_minor=0
        )
    )

    assert StockLevel.objects.values_list("on_hand", "reserved").get() == level
