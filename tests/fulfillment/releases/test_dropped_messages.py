"""Promise: a message that an old worker drops is published again, and reported."""

from typing import Any

import pytest

from fulfillment import engine, recovery, tasks
from fulfillment.clock import in_seconds, shop_now
from fulfillment.code_release import RELEASE
from fulfillment.errors import UnknownStep
from fulfillment.models import Saga, StepRecord, StepState
from orders.models import Incident, Order
from tests.fulfillment.conftest import now_due
from tests.fulfillment.driving import paid
from tests.fulfillment.releases.conftest import long_ago, seen


def test_a_dropped_message_is_published_again_without_waiting_for_a_probe(newer: int) -> None:
    """And never counts as a launch without progress, however often it happens."""
    paid(newer)
    Saga.objects.filter(pk=newer).update(relaunches=11)

    for _ in range(30):
        engine.message_dropped(newer, 1, "gift_wrap")

    after = seen(newer)
    assert (after.launched_at, after.state, after.relaunches) == (None, "running", 0)
    assert after.wake_at is not None


def test_a_worker_that_serves_what_an_older_one_has_dropped_publishes_it_at_once(saga: int, order: Order) -> None:
    """As the newer half of the workers does in a deploy: nobody waits for the sweep, and the history says who did not know it."""
    follow = engine.message_dropped(saga, 1, "payment", by=0)

    assert follow is not None
    assert follow.steps == ("payment", "inventory", "shipping")
    assert (seen(saga).relaunches, seen(saga).launched_at is None) == (0, False)
    assert "one of release 0 has met it" in next(str(entry) for entry in order.timeline.filter(kind="left"))


@pytest.mark.parametrize(("epoch", "task"), [(2, "gift_wrap"), (1, "payment"), (1, "compensate_gift_wrap"), (1, "no_such_task")])
def test_only_the_message_that_is_waited_for_counts_as_dropped(newer: int, epoch: int, task: str) -> None:
    paid(newer)

    engine.message_dropped(newer, epoch, task)

    assert seen(newer).left_since is None


def test_the_wait_grows_with_the_time_that_it_has_been_left(newer: int, settings: Any) -> None:
    """Soon at first; never longer than the longest back-off."""
    settings.BACKOFF_S, settings.BACKOFF_CAP_S, settings.UNKNOWN_STEP_AFTER_S = 1.0, 60.0, 900.0
    paid(newer)

    def wait_s(left_for_s: float) -> float:
        Saga.objects.filter(pk=newer).update(left_since=in_seconds(-left_for_s))
        engine.message_dropped(newer, 1, "gift_wrap")
        due_at = seen(newer).wake_at
        assert due_at is not None
        return (due_at - shop_now()).total_seconds()

    assert 0.7 <= wait_s(0) <= 1.3
    assert 15 <= wait_s(40) <= 25
    assert 32 <= wait_s(80) <= 48
    assert 48 <= wait_s(800) <= 72


def test_workers_that_drop_it_for_ever_become_a_person_s(newer: int, settings: Any) -> None:
    """The sweep was deployed and the workers were not: that is repeated, but not for ever."""
    paid(newer)
    long_ago(newer, settings)

    engine.message_dropped(newer, 1, "gift_wrap")

    assert (seen(newer).state, Incident.objects.get().kind) == ("needs_attention", "unknown_step")


def test_a_step_that_starts_has_been_left_no_longer(newer: int) -> None:
    now_due(newer)
    recovery.inspect_saga(newer)

    assert engine.start(newer, 1, "payment", compensating=False) is not None

    assert seen(newer).left_since is None


def test_a_step_that_newer_code_tries_again_has_been_left_no_longer(saga: int) -> None:
    """Whoever waits for a provider does not wait for a release."""
    StepRecord.objects.filter(saga=saga, name="payment").update(state="retry_wait", tries=1)
    Saga.objects.filter(pk=saga).update(left_since="2020-01-01T00:00Z")
    now_due(saga)

    assert recovery.inspect_saga(saga) is not None

    assert seen(saga).left_since is None


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("change", [{"version": 2}, {"gateway": "a_new_bank"}])
def test_an_old_worker_does_not_start_what_only_its_name_is_known_of(newer: int, change: dict[str, Any]) -> None:
    """A new version of a step, or a provider that this code does not have: nothing is asked of anybody, no try is spent."""
    plan = seen(newer).plan
    Saga.objects.filter(pk=newer).update(plan=[plan[0] | change, *plan[1:]])

    with pytest.raises(UnknownStep):
        engine.start(newer, 1, "payment", compensating=False)
    result = tasks.TASKS["fulfillment.payment"](saga=newer, epoch=1, order="ORD-1")

    assert "left to a process of another release" in result
    record = StepRecord.objects.get(saga=newer, name="payment")
    assert (record.state, record.tries, record.doubt) == (StepState.SCHEDULED, 0, False)
    assert (seen(newer).launched_at, seen(newer).left_since is None) == (None, False)


def test_an_old_worker_does_not_run_a_new_version_of_a_local_step(newer: int) -> None:
    plan = seen(newer).plan
    Saga.objects.filter(pk=newer).update(plan=[*plan[:2], plan[2] | {"version": 2}, plan[3]])
    paid(newer)
    StepRecord.objects.filter(saga=newer, name="gift_wrap").update(state="succeeded")
    StepRecord.objects.filter(saga=newer, name="inventory").update(state="scheduled")

    assert not engine.run_local(newer, 1, "inventory", compensating=False).mine

    assert StepRecord.objects.get(saga=newer, name="inventory").state == "scheduled"
    assert seen(newer).launched_at is None


@pytest.fixture
def reported(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    monkeypatch.setattr(tasks.dropped, "apply_async", lambda args=(), kwargs=None, **_: found.append(kwargs or {}))
    return found


class Message:
    """As Celery hands it over: its body is decoded on demand."""

    def __init__(self, body: Any) -> None:
        self.body = body

    def decode(self) -> Any:
        if isinstance(self.body, Exception):
            raise self.body
        return self.body


def test_a_worker_reports_a_task_of_ours_that_its_code_does_not_know(reported: list[dict[str, Any]]) -> None:
    named = {"saga": 1, "epoch": 2, "order": "ORD-1"}

    tasks.report_dropped("fulfillment.gift_wrap", Message([[], named, {}]))

    assert reported == [named | {"task": "gift_wrap", "release": RELEASE}]


@pytest.mark.parametrize("body", [None, 5, {"a": 1}, [], [[], None, {}], [[], {"saga": "x"}, {}], ValueError("no JSON")])
def test_a_body_that_makes_no_sense_is_no_report(reported: list[dict[str, Any]], body: Any) -> None:
    tasks.report_dropped("fulfillment.gift_wrap", Message(body))
    tasks.report_dropped("somebody.elses", Message([[], {"saga": 1, "epoch": 2, "order": "ORD-1"}, {}]))

    assert reported == []
