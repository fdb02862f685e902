"""Promise: nothing is tried for ever. A step out of its budget turns the order back, a compensation out of its budget is reported to a person, with the amount."""

from collections.abc import Iterator

import pytest
from django.conf import settings

from fulfillment import engine, recovery, steps
from fulfillment.engine.compensation import turn_back
from fulfillment.errors import Busy, InDoubt, Rejected, StepError, Unavailable
from fulfillment.explanation import explain
from fulfillment.models import QueueProbe, Saga, SagaState, StepRecord, StepState
from fulfillment.step import Compensation, Kind, Receipt, Step
from orders import queue_probes
from orders.models import Incident, Order
from tests.actors import AMARA
from tests.fulfillment.conftest import now_due
from tests.fulfillment.driving import found, paid, record
from tests.fulfillment.spending import PAID, paid_and_refused, tried

# --- budgets -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [Unavailable("down"), InDoubt("silence")], ids=["unavailable", "in doubt"])
def test_a_step_out_of_tries_turns_the_order_back_and_is_compensated_blind(saga: int, error: StepError) -> None:
    """Unavailable says nothing about earlier tries: both are perhaps called."""
    for _ in range(settings.STEP_TRIES):
        tried(saga, "payment", error)
        launch = recovery.inspect_saga(saga)

    assert launch is not None
    assert launch.compensating
    assert launch.steps == ("payment",)
    assert (found(saga).state, record(saga).state) == (SagaState.COMPENSATING, StepState.COMPENSATION_SCHEDULED)


def test_an_answer_that_the_provider_is_busy_spends_no_try_but_its_deadline_runs(saga: int) -> None:
    for _ in range(settings.STEP_TRIES + 3):
        tried(saga, "payment", Busy("working on it"))
        recovery.inspect_saga(saga)
    assert (found(saga).state, record(saga).tries) == (SagaState.RUNNING, 0)

    tried(saga, "payment", Busy("still working"))
    StepRecord.objects.filter(saga=saga, name="payment").update(first_started_at="2020-01-01T00:00Z")
    recovery.inspect_saga(saga)

    assert found(saga).state == SagaState.COMPENSATING


def test_an_order_that_takes_too_long_turns_back(saga: int) -> None:
    Saga.objects.filter(pk=saga).update(deadline_at="2020-01-01T00:00Z")
    now_due(saga)

    recovery.inspect_saga(saga)

    assert found(saga).state == SagaState.COMPENSATING


def test_a_compensation_out_of_tries_is_reported_with_the_amount_and_never_called_done(saga: int, order: Order) -> None:
    paid_and_refused(saga)

    for _ in range(settings.COMPENSATION_TRIES):
        tried(saga, "payment", Unavailable("down", code="http_503"), compensating=True)
        recovery.inspect_saga(saga)

    assert (found(saga).state, found(saga).wake_at) == (SagaState.NEEDS_ATTENTION, None)
    assert record(saga).state == StepState.COMPENSATION_FAILED
    incident = Incident.objects.get()
    assert (incident.kind, incident.step, incident.code, incident.amount_minor) == ("compensation_exhausted", "payment", "http_503", 100)
    assert "€1.00 at risk" in incident.sentence
    order.refresh_from_db()
    assert (order.status, order.attention) == ("compensating", True)
    assert "Someone has to decide." in explain(order).sentence


@pytest.mark.parametrize(("name", "blocks"), [("shipping", True), ("inventory", False)])
def test_a_failed_compensation_stops_the_walk_only_where_it_blocks(saga: int, name: str, blocks: bool) -> None:
    """A parcel that may still leave holds the refund back; a stock problem does not."""
    claim = engine.start(saga, 1, "payment", compensating=False)
    assert claim is not None
    engine.record_success(claim, PAID)
    StepRecord.objects.filter(saga=saga, name="inventory").update(state=StepState.SUCCEEDED, receipt={"reservations": []})
    StepRecord.objects.filter(saga=saga, name="shipping").update(state=StepState.IN_DOUBT, scheduled_at="2026-01-01T00:00Z")
    turning = engine.locking(Saga.objects.filter(pk=saga)).get()
    turn_back(turning)
    if name == "inventory":
        compensated = engine.start(saga, 2, "shipping", compensating=True)
        assert compensated is not None
        engine.record_success(compensated, {"label_id": None})
        StepRecord.objects.filter(saga=saga, name="inventory").update(compensation_tries=settings.COMPENSATION_TRIES)
        now_due(saga)
        recovery.inspect_saga(saga)
    else:
        tried(saga, "shipping", Rejected("The parcel has left", code="handed_over"), compensating=True)

    assert record(saga, name).state == StepState.COMPENSATION_FAILED
    assert record(saga, "payment").state == (StepState.COMPENSATION_PENDING if blocks else StepState.COMPENSATION_SCHEDULED)
    assert found(saga).state == (SagaState.NEEDS_ATTENTION if blocks else SagaState.COMPENSATING)
    if not blocks:
        refunded = engine.start(saga, found(saga).epoch, "payment", compensating=True)
        assert refunded is not None
        engine.record_success(refunded, {"amount_minor": 100})
        assert found(saga).state == SagaState.NEEDS_ATTENTION, "never compensated while a compensation has failed"


def test_a_launch_without_any_progress_is_capped(saga: int) -> None:
    for _ in range(settings.POISON_AFTER + 1):
        now_due(saga)
        recovery.inspect_saga(saga)

    assert found(saga).state == SagaState.NEEDS_ATTENTION
    assert Incident.objects.get().code == "poison"


def test_an_order_is_never_fulfilled_because_a_record_is_gone(saga: int) -> None:
    """Somebody has deleted the row that says "to be shipped": I am not told that my parcel is on its way."""
    StepRecord.objects.filter(saga=saga, name="shipping").delete()
    paid(saga)

    engine.run_local(saga, 1, "inventory", compensating=False)

    assert found(saga).state == SagaState.NEEDS_ATTENTION
    incident = Incident.objects.get()
    assert (incident.kind, incident.code, incident.amount_minor) == ("stuck", "record_lost", 100)


# --- backlog is not loss ---------------------------------------------------------------------------------------------------


def test_a_message_that_may_still_wait_in_its_queue_is_not_published_again(saga: int) -> None:
    Saga.objects.filter(pk=saga).update(wake_at="2020-01-01T00:00Z")

    assert recovery.inspect_saga(saga) is None

    assert found(saga).relaunches == 0
    ((queue, stamp),) = recovery.probes.due()
    assert queue == "saga"
    assert recovery.probes.due() == [], "one probe is under way"
    assert queue_probes.unanswered_for_s() != {}
    queue_probes.probe_came_out(queue, stamp)
    assert queue_probes.unanswered_for_s() == {}
    assert not recovery.probes.proves_lost("saga", stamp), "it may have been prefetched"


def test_what_was_launched_before_the_newest_probe_that_came_out_is_lost(saga: int) -> None:
    Saga.objects.filter(pk=saga).update(wake_at="2020-01-01T00:00Z", launched_at="2020-01-01T00:00Z")
    QueueProbe.objects.create(queue="saga", sent_at="2020-01-02T00:00Z", out_at="2020-01-02T00:00Z")

    launch = recovery.inspect_saga(saga)

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

    def compensate(self, order: Order, compensation: Compensation) -> None:
        return None


@pytest.fixture
def stuck_after_the_pivot(monkeypatch: pytest.MonkeyPatch, order: Order) -> Iterator[int]:
    monkeypatch.setattr(steps, "STEPS", (*steps.STEPS, Survey()))
    monkeypatch.setattr(engine.creation, "STEPS", steps.STEPS)
    saga = engine.open_saga(order).saga
    StepRecord.objects.filter(saga=saga).exclude(name="survey").update(state=StepState.SUCCEEDED)
    StepRecord.objects.filter(saga=saga, name="survey").update(state=StepState.SCHEDULED, scheduled_at="2026-01-01T00:00Z")
    for _ in range(settings.STEP_TRIES):
        tried(saga, "survey", Unavailable("down"))
        recovery.inspect_saga(saga)
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
