"""Promise: two releases side by side lose time only. Old code runs what it knows, leaves the rest to newer code, and tells a person only when none comes."""

from typing import Any

import pytest
from django.db import connection
from django.db.models import F

from fulfillment import checks, engine, ledger, plans, recovery, tasks
from fulfillment.clock import in_seconds, shop_now
from fulfillment.engine.pinned_plan import plan_entry
from fulfillment.errors import UnknownStep
from fulfillment.explanation import explain
from fulfillment.models import Saga, StepRecord, StepState
from fulfillment.release import RELEASE
from fulfillment.steps import STEPS
from orders.api import shown
from orders.models import Incident, Order, TimelineEntry
from tests.actors import AMARA
from tests.fulfillment.conftest import now_due
from tests.fulfillment.driving import paid

NEWER = RELEASE + 1
GIFT_WRAP = {"name": "gift_wrap", "version": 1, "kind": "compensable", "local": False, "undo_blocks": False, "role": "", "gateway": ""}


@pytest.fixture
def newer(saga: int) -> int:
    """A saga that the next release has opened: with a step between payment and inventory that this code does not have."""
    found = Saga.objects.get(pk=saga)
    StepRecord.objects.filter(saga=saga, position__gt=0).update(position=F("position") + 10)
    StepRecord.objects.create(saga=found, position=1, name="gift_wrap", do_key="ORD-1:gift_wrap:do:1")
    Saga.objects.filter(pk=saga).update(release=NEWER, plan=[found.plan[0], GIFT_WRAP, *found.plan[1:]])
    return saga


def long_ago(saga: int, settings: Any) -> None:
    """It has been left for longer than any deploy takes."""
    settings.UNKNOWN_STEP_AFTER_S = 60
    Saga.objects.filter(pk=saga).update(left_since="2020-01-01T00:00Z")
    now_due(saga)


def seen(saga: int) -> Saga:
    return Saga.objects.get(pk=saga)


# --- a saga of a newer release ---------------------------------------------------------------------------------------------


def test_an_old_worker_runs_what_it_knows_and_grants_what_it_does_not(newer: int) -> None:
    paid(newer)

    assert StepRecord.objects.get(saga=newer, name="gift_wrap").state == StepState.GRANTED
    assert not Incident.objects.exists()


@pytest.mark.parametrize("stands", [{}, {"state": "rejected"}, {"state": "in_doubt", "tries": 99, "doubt": True}, {"state": "started"}])
def test_an_old_sweep_judges_nothing_of_a_newer_order(newer: int, order: Order, stands: dict[str, Any]) -> None:
    """It neither turns back, nor gives up, nor takes over, nor publishes; a newer sweep finds it due soon."""
    StepRecord.objects.filter(saga=newer, name="payment").update(**stands)
    Saga.objects.filter(pk=newer).update(relaunches=99)
    before = list(StepRecord.objects.filter(saga=newer).values("name", "state", "tries", "undo_tries"))
    for _ in range(3):
        now_due(newer)
        assert recovery.look(newer) is None

    after = seen(newer)
    assert list(StepRecord.objects.filter(saga=newer).values("name", "state", "tries", "undo_tries")) == before
    assert (after.state, after.epoch, after.relaunches) == ("running", 1, 99)
    assert after.wake_at is not None
    assert [entry.kind for entry in order.timeline.all()].count("left") == 1, "it is told once"


def test_an_old_errback_leaves_a_rejection_to_newer_code(newer: int) -> None:
    StepRecord.objects.filter(saga=newer, name="payment").update(state="rejected")

    assert engine.chain_stopped(newer, 1) is None

    assert (seen(newer).state, seen(newer).left_since is None) == ("running", False)


def test_a_cancel_that_an_old_worker_meets_waits_for_newer_code(newer: int) -> None:
    claim = engine.start(newer, 1, "payment", undo=False)
    assert claim is not None
    recovery.cancel("ORD-1", "amara")

    settled = engine.settle_success(claim, {"charge_id": "c", "amount_minor": 100})

    assert (settled.mine, settled.turned) == (True, None)
    assert (seen(newer).state, StepRecord.objects.get(saga=newer, name="gift_wrap").state) == ("running", "pending")
    assert engine.could_not_start(newer, 1) is None


def test_a_deploy_that_was_taken_back_goes_on_with_what_old_code_has(newer: int, settings: Any) -> None:
    """Nobody newer has come: the order is this code's from now on."""
    long_ago(newer, settings)

    launch = recovery.look(newer)

    assert launch is not None
    assert launch.steps == ("payment",), "no further than this code knows"
    assert (seen(newer).release, seen(newer).state) == (RELEASE, "running")


def test_a_deploy_that_was_taken_back_tells_a_person_about_the_step_that_is_gone(newer: int, order: Order, settings: Any) -> None:
    paid(newer)
    long_ago(newer, settings)

    assert recovery.look(newer) is None

    assert (seen(newer).state, Incident.objects.get().kind) == ("needs_attention", "unknown_step")
    told = explain(order).sentence
    assert "No process has served the step 'gift_wrap' for 1 min, as the plan of this order (release 2) needs it" in told
    assert "start_undo" in [choice.verb for choice in explain(order).choices]


def test_what_a_person_decides_with_old_code_is_done_by_old_code(newer: int, order: Order, settings: Any) -> None:
    """After a deploy that was taken back: the gift wrap was perhaps called, so a person says what became of it, and the refund follows at once."""
    paid(newer)
    long_ago(newer, settings)
    recovery.look(newer)

    def decide(verb: str, **given: Any) -> None:
        asked: dict[str, Any] = {"order": "ORD-1", "version": recovery.version_of(order.pk), "actor": AMARA, "reason": "taken back"}
        recovery.decide(recovery.Request(verb=verb, **asked, **given))

    decide("start_undo")
    assert seen(newer).release == RELEASE
    long_ago(newer, settings)
    assert recovery.look(newer) is None
    decide("undone_by_hand", amount_minor=0, evidence="it was never wrapped")

    launch = recovery.look(newer)
    assert launch is not None
    assert (launch.undo, launch.steps) == (True, ("payment",))


# --- an end that only newer code knows --------------------------------------------------------------------------------------------


def show(status: str) -> None:
    """As newer code does it, which has another machine of states."""
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")
        cursor.execute("UPDATE orders_order SET status = %s", [status])
        cursor.execute("SET LOCAL session_replication_role = origin")


def newer_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine.pinned_plan, "RELEASE", NEWER)


def last_undo_succeeds(newer: int) -> Any:
    """Newer code has turned it back, for a reason that has a status of its own there; an old worker has the refund."""
    paid(newer)
    StepRecord.objects.filter(saga=newer).exclude(name="payment").update(state="not_needed")
    Saga.objects.filter(pk=newer).update(state="compensating", failure="gift_wrap_failed", epoch=2, relaunches=3)
    StepRecord.objects.filter(saga=newer, name="payment").update(
        state="undo_granted", undo_key="ORD-1:payment:undo:1", undo_amount_minor=8420
    )
    show("compensating")
    claim = engine.start(newer, 2, "payment", undo=True)
    assert claim is not None
    return engine.settle_success(claim, {"amount_minor": 8420})


def last_step_succeeds(newer: int) -> Any:
    """Newer code shows a status of its own on the way; an old worker has the last step."""
    StepRecord.objects.filter(saga=newer).exclude(name="shipping").update(state="succeeded")
    StepRecord.objects.filter(saga=newer, name="shipping").update(state="granted")
    show("wrapped")
    claim = engine.start(newer, 1, "shipping", undo=False)
    assert claim is not None
    return engine.settle_success(claim, {"label_id": "l", "tracking": "TR-1"})


def test_an_undo_whose_order_ends_as_only_newer_code_knows_is_settled_and_left(newer: int, order: Order) -> None:
    """The refund stands; how the order ends is for newer code, which finds it due at once."""
    settled = last_undo_succeeds(newer)

    assert settled.mine
    assert StepRecord.objects.get(saga=newer, name="payment").state == StepState.UNDONE
    assert ledger.remaining(order.pk) == 0
    left = seen(newer)
    assert (left.state, left.closed_at, left.left_since is None, left.release) == ("compensating", None, False, NEWER)
    assert left.wake_at is not None
    assert left.wake_at <= shop_now()
    assert [entry.kind for entry in order.timeline.all()].count("left") == 1
    assert explain(order).sentence.startswith(f"Every undo is settled; how the order ends waits for a process of release {NEWER}: since ")


def test_a_last_step_whose_order_ends_as_only_newer_code_knows_is_settled_and_left(newer: int, order: Order) -> None:
    assert last_step_succeeds(newer).mine

    assert StepRecord.objects.get(saga=newer, name="shipping").state == StepState.SUCCEEDED
    left = seen(newer)
    assert (left.state, left.closed_at, left.left_since is None) == ("running", None, False)
    assert not order.facts.exists(), "whoever closes the saga records it"
    assert explain(order).sentence.startswith(f"Every step succeeded; how the order ends waits for a process of release {NEWER}: since ")
    assert explain(order).public == "The order is about to end; it goes on by itself."
    assert recovery.cancel("ORD-1", "amara") == "too_late"


def test_an_old_sweep_leaves_such_an_end(newer: int) -> None:
    last_step_succeeds(newer)
    for _ in range(3):
        now_due(newer)
        assert recovery.look(newer) is None

    assert seen(newer).state == "running"


def test_a_newer_sweep_ends_what_an_old_worker_has_left(newer: int, order: Order, monkeypatch: pytest.MonkeyPatch) -> None:
    last_step_succeeds(newer)
    newer_code(monkeypatch)
    show("processing")  # a status that has a way to fulfilled, there

    assert recovery.look(newer) is None

    assert (seen(newer).state, seen(newer).left_since, seen(newer).wake_at) == ("completed", None, None)
    assert Order.objects.get().status == "fulfilled"
    assert order.facts.count() == 1


def test_a_newer_sweep_ends_an_undo_that_an_old_worker_has_left(newer: int, monkeypatch: pytest.MonkeyPatch) -> None:
    last_undo_succeeds(newer)
    newer_code(monkeypatch)
    Saga.objects.filter(pk=newer).update(failure="inventory_failed")  # a status that is known, there

    assert recovery.look(newer) is None

    assert (seen(newer).state, seen(newer).left_since) == ("compensated", None)
    assert Order.objects.get().status == "inventory_failed"


def test_after_a_deploy_that_was_taken_back_an_order_ends_as_failed(newer: int, settings: Any) -> None:
    """This code has no status of its own for it."""
    last_undo_succeeds(newer)
    long_ago(newer, settings)

    assert recovery.look(newer) is None

    assert (seen(newer).state, seen(newer).release) == ("compensated", RELEASE)
    assert Order.objects.get().status == "failed"


def test_an_old_worker_undoes_nothing_that_stands_as_only_newer_code_knows(newer: int) -> None:
    """The step before the one whose undo it has settled."""
    paid(newer)
    StepRecord.objects.filter(saga=newer).exclude(name__in=["payment", "gift_wrap"]).update(state="not_needed")
    StepRecord.objects.filter(saga=newer, name="gift_wrap").update(state="undo_granted", undo_key="ORD-1:gift_wrap:undo:1")
    StepRecord.objects.filter(saga=newer, name="payment").update(state="undo_inspected")
    Saga.objects.filter(pk=newer).update(state="compensating", failure="failed", epoch=2)
    saga = engine.journal.locked(newer)
    record = engine.journal.record_of(saga, "gift_wrap")

    engine.journal.move(saga, record, StepState.UNDONE)
    engine.compensation.grant_next_undo(saga)

    assert StepRecord.objects.get(saga=newer, name="payment").state == "undo_inspected"
    assert seen(newer).left_since is not None


# --- a message that an old worker drops ----------------------------------------------------------------------------------------


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


@pytest.mark.parametrize(("epoch", "task"), [(2, "gift_wrap"), (1, "payment"), (1, "undo_gift_wrap"), (1, "no_such_task")])
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
    recovery.look(newer)

    assert engine.start(newer, 1, "payment", undo=False) is not None

    assert seen(newer).left_since is None


def test_a_step_that_newer_code_tries_again_has_been_left_no_longer(saga: int) -> None:
    """Whoever waits for a provider does not wait for a release."""
    StepRecord.objects.filter(saga=saga, name="payment").update(state="retry_wait", tries=1)
    Saga.objects.filter(pk=saga).update(left_since="2020-01-01T00:00Z")
    now_due(saga)

    assert recovery.look(saga) is not None

    assert seen(saga).left_since is None


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("change", [{"version": 2}, {"gateway": "a_new_bank"}])
def test_an_old_worker_does_not_start_what_only_its_name_is_known_of(newer: int, change: dict[str, Any]) -> None:
    """A new version of a step, or a provider that this code does not have: nothing is asked of anybody, no try is spent."""
    plan = seen(newer).plan
    Saga.objects.filter(pk=newer).update(plan=[plan[0] | change, *plan[1:]])

    with pytest.raises(UnknownStep):
        engine.start(newer, 1, "payment", undo=False)
    told = tasks.TASKS["fulfillment.payment"](saga=newer, epoch=1, order="ORD-1")

    assert "left to a process of another release" in told
    record = StepRecord.objects.get(saga=newer, name="payment")
    assert (record.state, record.tries, record.doubt) == (StepState.GRANTED, 0, False)
    assert (seen(newer).launched_at, seen(newer).left_since is None) == (None, False)


def test_an_old_worker_does_not_run_a_new_version_of_a_local_step(newer: int) -> None:
    plan = seen(newer).plan
    Saga.objects.filter(pk=newer).update(plan=[*plan[:2], plan[2] | {"version": 2}, plan[3]])
    paid(newer)
    StepRecord.objects.filter(saga=newer, name="gift_wrap").update(state="succeeded")
    StepRecord.objects.filter(saga=newer, name="inventory").update(state="granted")

    assert not engine.run_local(newer, 1, "inventory", undo=False).mine

    assert StepRecord.objects.get(saga=newer, name="inventory").state == "granted"
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

    tasks.tell_dropped("fulfillment.gift_wrap", Message([[], named, {}]))

    assert reported == [named | {"task": "gift_wrap", "release": RELEASE}]


@pytest.mark.parametrize("body", [None, 5, {"a": 1}, [], [[], None, {}], [[], {"saga": "x"}, {}], ValueError("no JSON")])
def test_a_body_that_makes_no_sense_is_no_report(reported: list[dict[str, Any]], body: Any) -> None:
    tasks.tell_dropped("fulfillment.gift_wrap", Message(body))
    tasks.tell_dropped("somebody.elses", Message([[], {"saga": 1, "epoch": 2, "order": "ORD-1"}, {}]))

    assert reported == []


# --- what people read meanwhile --------------------------------------------------------------------------------------------------


def test_why_says_which_release_an_order_waits_for(newer: int, order: Order) -> None:
    paid(newer)
    engine.message_dropped(newer, 1, "gift_wrap")

    told = explain(order)

    assert told.sentence.startswith(f"Gift_wrap (granted) waits for a process of release {NEWER}: since ")
    assert told.blocked_on == f"a process of release {NEWER}"
    assert "release" not in told.public
    assert shown.why(order)["blocked_on"] == "newer workers", "a client does not know our releases"


@pytest.mark.parametrize("state", ["warehoused", "undo_warehoused"])
def test_a_state_that_only_newer_code_knows_is_read_all_the_same(newer: int, order: Order, state: str) -> None:
    StepRecord.objects.filter(saga=newer, name="payment").update(state=state)

    told = explain(order)

    assert state in told.sentence
    assert told.public


def test_a_saga_in_a_state_that_only_newer_code_knows_is_read_and_left_alone(newer: int, order: Order) -> None:
    Saga.objects.filter(pk=newer).update(state="on_hold")
    now_due(newer)

    recovery.look(newer)

    assert explain(order).sentence
    assert seen(newer).state == "on_hold"


def test_what_only_newer_code_writes_is_shown_by_old_code(newer: int, order: Order, client: Any, admin_user: Any) -> None:
    """A new status, a new kind of history, of incident, of step state: the admin's pages and the API answer, and say what they can."""
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")  # newer code has another machine of states
        cursor.execute("UPDATE orders_order SET status = 'on_its_way_back'")
        cursor.execute("SET LOCAL session_replication_role = origin")
    TimelineEntry.objects.create(order=order, kind="inspected", name="gift_wrap", to_state="looked_at")
    Incident.objects.create(order=order, subject="ORD-1", kind="meteorite", currency="EUR", step="gift_wrap", code="iron")
    StepRecord.objects.filter(saga=newer, name="payment").update(state="warehoused")
    client.force_login(admin_user)

    page = client.get(f"/admin/orders/order/{order.pk}/change/").content.decode()
    listed = client.get("/admin/orders/order/").content.decode()
    seen_by_client = shown.full(Order.objects.get()) | shown.why(order)

    assert "Gift_wrap looked at" in page
    assert "meteorite" in page
    assert "warehoused" in page
    assert "On its way back" in listed
    assert seen_by_client["status"] == "on_its_way_back"
    assert [group.label for group in recovery.groups()] == ["Meteorite"]


# --- a release that should have been another one -----------------------------------------------------------------------------------

PINNED = {
    1: "payment v1 (compensable by payments), inventory v1 (compensable local), shipping v1 (pivot undo_blocks by carrier)",
}


def test_other_steps_are_another_release() -> None:
    """Whoever adds, renames or changes a step raises RELEASE, and adds a line here; the lines of old releases stay."""
    assert ", ".join(plans.pinned(plan_entry(step)) for step in STEPS) == PINNED[RELEASE]
    assert max(PINNED) == RELEASE


def test_steps_that_changed_under_the_same_release_are_refused(saga: int, monkeypatch: pytest.MonkeyPatch) -> None:
    assert checks.release_was_raised(None, databases=["default"]) == []
    monkeypatch.setattr(plans, "STEPS", STEPS[:-1])

    (error,) = checks.release_was_raised(None, databases=["default"])

    assert error.msg == f"The steps have changed, and RELEASE is still {RELEASE}: {PINNED[1]} → {PINNED[1].rpartition(', ')[0]}."
    Saga.objects.update(release=NEWER)
    assert checks.release_was_raised(None, databases=["default"]) == [], "that was another release"
