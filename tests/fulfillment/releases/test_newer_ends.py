"""Promise: an end that only newer code knows is left to newer code."""

from typing import Any

import pytest
from django.db import connection

from fulfillment import engine, ledger, recovery
from fulfillment.clock import shop_now
from fulfillment.code_release import RELEASE
from fulfillment.explanation import explain
from fulfillment.models import Saga, StepRecord, StepState
from orders.models import Order
from tests.fulfillment.conftest import now_due
from tests.fulfillment.driving import paid
from tests.fulfillment.releases.conftest import NEWER, long_ago, seen


def show(status: str) -> None:
    """As newer code does it, which has another machine of states."""
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")
        cursor.execute("UPDATE orders_order SET status = %s", [status])
        cursor.execute("SET LOCAL session_replication_role = origin")


def newer_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine.pinned_plan, "RELEASE", NEWER)


def last_compensation_succeeds(newer: int) -> Any:
    """Newer code has turned it back, for a reason that has a status of its own there; an old worker has the refund."""
    paid(newer)
    StepRecord.objects.filter(saga=newer).exclude(name="payment").update(state="not_needed")
    Saga.objects.filter(pk=newer).update(state="compensating", failure="gift_wrap_failed", epoch=2, relaunches=3)
    StepRecord.objects.filter(saga=newer, name="payment").update(
        state="compensation_scheduled", compensation_key="ORD-1:payment:compensate:1", compensation_amount_minor=8420
    )
    show("compensating")
    claim = engine.start(newer, 2, "payment", compensating=True)
    assert claim is not None
    return engine.record_success(claim, {"amount_minor": 8420})


def last_step_succeeds(newer: int) -> Any:
    """Newer code shows a status of its own on the way; an old worker has the last step."""
    StepRecord.objects.filter(saga=newer).exclude(name="shipping").update(state="succeeded")
    StepRecord.objects.filter(saga=newer, name="shipping").update(state="scheduled")
    show("wrapped")
    claim = engine.start(newer, 1, "shipping", compensating=False)
    assert claim is not None
    return engine.record_success(claim, {"label_id": "l", "tracking": "TR-1"})


def test_a_compensation_whose_order_ends_as_only_newer_code_knows_is_recorded_and_left(newer: int, order: Order) -> None:
    """The refund stands; how the order ends is for newer code, which finds it due at once."""
    recorded = last_compensation_succeeds(newer)

    assert recorded.mine
    assert StepRecord.objects.get(saga=newer, name="payment").state == StepState.COMPENSATED
    assert ledger.remaining(order.pk) == 0
    left = seen(newer)
    assert (left.state, left.closed_at, left.left_since is None, left.release) == ("compensating", None, False, NEWER)
    assert left.wake_at is not None
    assert left.wake_at <= shop_now()
    assert [entry.kind for entry in order.timeline.all()].count("left") == 1
    assert explain(order).sentence.startswith(f"Every undo has ended; how the order ends waits for a process of release {NEWER}: since ")


def test_a_last_step_whose_order_ends_as_only_newer_code_knows_is_recorded_and_left(newer: int, order: Order) -> None:
    assert last_step_succeeds(newer).mine

    assert StepRecord.objects.get(saga=newer, name="shipping").state == StepState.SUCCEEDED
    left = seen(newer)
    assert (left.state, left.closed_at, left.left_since is None) == ("running", None, False)
    assert not order.facts.filter(type="order.fulfilled").exists(), "whoever closes the saga records it"
    assert explain(order).sentence.startswith(f"Every step succeeded; how the order ends waits for a process of release {NEWER}: since ")
    assert explain(order).public == "The order is about to end; it goes on by itself."
    assert recovery.cancel("ORD-1", "amara") == "too_late"


def test_an_old_sweep_leaves_such_an_end(newer: int) -> None:
    last_step_succeeds(newer)
    for _ in range(3):
        now_due(newer)
        assert recovery.inspect_saga(newer) is None

    assert seen(newer).state == "running"


def test_a_newer_sweep_ends_what_an_old_worker_has_left(newer: int, order: Order, monkeypatch: pytest.MonkeyPatch) -> None:
    last_step_succeeds(newer)
    newer_code(monkeypatch)
    show("processing")  # a status that has a way to fulfilled, there

    assert recovery.inspect_saga(newer) is None

    assert (seen(newer).state, seen(newer).left_since, seen(newer).wake_at) == ("completed", None, None)
    assert Order.objects.get().status == "fulfilled"
    assert order.facts.filter(type="order.fulfilled").count() == 1


def test_a_newer_sweep_ends_a_compensation_that_an_old_worker_has_left(newer: int, monkeypatch: pytest.MonkeyPatch) -> None:
    last_compensation_succeeds(newer)
    newer_code(monkeypatch)
    Saga.objects.filter(pk=newer).update(failure="inventory_failed")  # a status that is known, there

    assert recovery.inspect_saga(newer) is None

    assert (seen(newer).state, seen(newer).left_since) == ("compensated", None)
    assert Order.objects.get().status == "inventory_failed"


def test_after_a_deploy_that_was_taken_back_an_order_ends_as_failed(newer: int, settings: Any) -> None:
    """This code has no status of its own for it."""
    last_compensation_succeeds(newer)
    long_ago(newer, settings)

    assert recovery.inspect_saga(newer) is None

    assert (seen(newer).state, seen(newer).release) == ("compensated", RELEASE)
    assert Order.objects.get().status == "failed"


def test_an_old_worker_compensates_nothing_that_stands_as_only_newer_code_knows(newer: int) -> None:
    """The step before the one whose compensation it has recorded."""
    paid(newer)
    StepRecord.objects.filter(saga=newer).exclude(name__in=["payment", "gift_wrap"]).update(state="not_needed")
    StepRecord.objects.filter(saga=newer, name="gift_wrap").update(
        state="compensation_scheduled", compensation_key="ORD-1:gift_wrap:compensate:1"
    )
    StepRecord.objects.filter(saga=newer, name="payment").update(state="compensation_inspected")
    Saga.objects.filter(pk=newer).update(state="compensating", failure="failed", epoch=2)
    saga = engine.journal.locked(newer)
    action = engine.journal.find_action(saga, "gift_wrap", is_compensation=True)

    engine.journal.move(saga, action, engine.ActionState.SUCCEEDED)
    engine.progress.schedule_next(saga)

    assert StepRecord.objects.get(saga=newer, name="payment").state == "compensation_inspected"
    assert seen(newer).left_since is not None
