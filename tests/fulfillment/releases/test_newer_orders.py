"""Promise: two releases side by side lose time only. Old code runs what it knows, leaves the rest to newer code, and tells a person only when none comes."""

from typing import Any

import pytest

from fulfillment import engine, recovery
from fulfillment.code_release import RELEASE
from fulfillment.explanation import explain
from fulfillment.models import Saga, StepRecord, StepState
from orders.models import Incident, Order
from tests.actors import AMARA
from tests.fulfillment.conftest import now_due
from tests.fulfillment.driving import paid
from tests.fulfillment.releases.conftest import NEWER, long_ago, seen


def test_an_old_worker_runs_what_it_knows_and_schedules_what_it_does_not(newer: int) -> None:
    paid(newer)

    assert StepRecord.objects.get(saga=newer, name="gift_wrap").state == StepState.SCHEDULED
    assert not Incident.objects.exists()


@pytest.mark.parametrize("stands", [{}, {"state": "rejected"}, {"state": "in_doubt", "tries": 99, "doubt": True}, {"state": "started"}])
def test_an_old_sweep_judges_nothing_of_a_newer_order(newer: int, order: Order, stands: dict[str, Any]) -> None:
    """It neither turns back, nor gives up, nor takes over, nor publishes; a newer sweep finds it due soon."""
    StepRecord.objects.filter(saga=newer, name="payment").update(**stands)
    Saga.objects.filter(pk=newer).update(relaunches=99)
    before = list(StepRecord.objects.filter(saga=newer).values("name", "state", "tries", "compensation_tries"))
    for _ in range(3):
        now_due(newer)
        assert recovery.inspect_saga(newer) is None

    after = seen(newer)
    assert list(StepRecord.objects.filter(saga=newer).values("name", "state", "tries", "compensation_tries")) == before
    assert (after.state, after.epoch, after.relaunches) == ("running", 1, 99)
    assert after.wake_at is not None
    assert [entry.kind for entry in order.timeline.all()].count("left") == 1, "it is recorded once"


def test_an_old_errback_leaves_a_rejection_to_newer_code(newer: int) -> None:
    StepRecord.objects.filter(saga=newer, name="payment").update(state="rejected")

    assert engine.chain_stopped(newer, 1) is None

    assert (seen(newer).state, seen(newer).left_since is None) == ("running", False)


def test_a_cancel_that_an_old_worker_meets_waits_for_newer_code(newer: int) -> None:
    claim = engine.start(newer, 1, "payment", compensating=False)
    assert claim is not None
    recovery.cancel("ORD-1", "amara")

    recorded = engine.record_success(claim, {"charge_id": "c", "amount_minor": 100})

    assert (recorded.mine, recorded.turned) == (True, None)
    assert (seen(newer).state, StepRecord.objects.get(saga=newer, name="gift_wrap").state) == ("running", "pending")
    assert engine.could_not_start(newer, 1) is None


def test_a_deploy_that_was_taken_back_goes_on_with_what_old_code_has(newer: int, settings: Any) -> None:
    """Nobody newer has come: the order is this code's from now on."""
    long_ago(newer, settings)

    launch = recovery.inspect_saga(newer)

    assert launch is not None
    assert launch.steps == ("payment",), "no further than this code knows"
    assert (seen(newer).release, seen(newer).state) == (RELEASE, "running")


def test_a_deploy_that_was_taken_back_notifies_a_person_about_the_step_that_is_gone(newer: int, order: Order, settings: Any) -> None:
    paid(newer)
    long_ago(newer, settings)

    assert recovery.inspect_saga(newer) is None

    assert (seen(newer).state, Incident.objects.get().kind) == ("needs_attention", "unknown_step")
    sentence = explain(order).sentence
    assert f"No process has served the step 'gift_wrap' for 1 min, as the plan of this order (release {NEWER}) needs it" in sentence
    assert "start_undo" in [choice.verb for choice in explain(order).choices]


def test_what_a_person_decides_with_old_code_is_done_by_old_code(newer: int, order: Order, settings: Any) -> None:
    """After a deploy that was taken back: the gift wrap was perhaps called, so a person says what became of it, and the refund follows at once."""
    paid(newer)
    long_ago(newer, settings)
    recovery.inspect_saga(newer)

    def decide(verb: str, **given: Any) -> None:
        asked: dict[str, Any] = {"order": "ORD-1", "version": recovery.version_of(order.pk), "actor": AMARA, "reason": "taken back"}
        recovery.decide(recovery.Request(verb=verb, **asked, **given))

    decide("start_undo")
    assert seen(newer).release == RELEASE
    long_ago(newer, settings)
    assert recovery.inspect_saga(newer) is None
    decide("undone_by_hand", amount_minor=0, evidence="it was never wrapped")

    launch = recovery.inspect_saga(newer)
    assert launch is not None
    assert (launch.compensating, launch.steps) == (True, ("payment",))
