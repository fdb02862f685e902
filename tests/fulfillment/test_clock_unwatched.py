"""Where no sweep has seen a jump of the database's clock, or could not move at once what is open: nobody is turned back, nobody is charged twice."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from django.conf import settings
from django.db import OperationalError, connection, transaction

from config.management.commands.sweep import Sweep
from fulfillment import engine, recovery
from fulfillment.circuit import Circuit, CircuitState
from fulfillment.clock import shop_now
from fulfillment.engine import budget, tries
from fulfillment.errors import LAG, Busy, InDoubt, Unavailable
from fulfillment.models import PastAttempt, Quarantine, Saga, SagaState, StepRecord
from fulfillment.recovery import quarantine
from orders import queue_probes
from orders.clock_watch import ClockWatch
from orders.queue_probes import QueueProbe
from tests.actors import AMARA
from tests.fulfillment.conftest import now_due
from tests.fulfillment.test_clock_jumps import HOUR, SetClock, set_clock, sweep

__all__ = ["set_clock", "sweep"]
pytestmark = pytest.mark.django_db(transaction=True)
SECOND = timedelta(seconds=1)


@pytest.fixture
def process() -> Iterator[None]:
    """A worker's process that has just begun."""
    was, tries.watch = tries.watch, ClockWatch(settings.CLOCK_TOLERANCE_S)
    yield
    tries.watch = was


def fail(saga: int) -> None:
    claim = engine.start(saga, Saga.objects.get(pk=saga).epoch, "payment", False)
    assert claim is not None
    engine.record_failure(claim, Unavailable("down", code="connect_failed"))


def deadline(saga: int) -> Any:
    return Saga.objects.get(pk=saga).deadline_at


def test_a_jump_that_no_sweep_has_seen_is_given_back(saga: int, set_clock: SetClock) -> None:
    """Whether an hour has passed, or the clock was set, nobody can tell: it is not the provider's."""
    fail(saga)
    before = Saga.objects.get(pk=saga)
    set_clock(HOUR)
    successor = Sweep(lambda _: None)

    for _ in range(2):
        successor.round()

    after = Saga.objects.get(pk=saga)
    assert after.state == SagaState.RUNNING
    assert after.paused_s == pytest.approx(3600, abs=settings.BACKOFF_CAP_S)
    assert after.deadline_at == before.deadline_at + timedelta(seconds=after.paused_s)  # type: ignore[operator]


@pytest.mark.parametrize("succeeds", [False, True])
def test_a_jump_in_the_middle_of_a_try_is_given_back_too(saga: int, set_clock: SetClock, succeeds: bool) -> None:
    """No sweep runs, and the worker records by the new clock: nothing looks late afterwards."""
    before = deadline(saga)
    claim = engine.start(saga, 1, "payment", False)
    assert claim is not None
    set_clock(HOUR)

    if succeeds:
        engine.record_success(claim, {"charge_id": "ch_1", "amount_minor": 100})
    else:
        engine.record_failure(claim, Unavailable("down", code="connect_failed"))

    Saga.objects.filter(pk=saga, wake_at__isnull=False).update(wake_at=shop_now())
    recovery.inspect_saga(saga)
    assert Saga.objects.get(pk=saga).state == SagaState.RUNNING
    assert deadline(saga) == pytest.approx(before + HOUR, abs=timedelta(seconds=settings.LEASE_S + 5))


@pytest.mark.parametrize("breaks", ["before", "after"])
def test_a_move_that_the_database_interrupts_is_done_once(
    saga: int, sweep: Sweep, set_clock: SetClock, monkeypatch: Any, breaks: str
) -> None:
    """The server fails over, its clock is another one, and the line breaks again while deadlines are moved: in the COMMIT, or behind it."""
    before = deadline(saga)
    atomic = transaction.atomic
    written: list[str] = []

    def sees(execute: Any, sql: str, *more: Any) -> Any:
        written.extend(["moved"] if "UPDATE fulfillment_steprecord" in sql else [])
        return execute(sql, *more)

    @contextmanager
    def breaking() -> Iterator[None]:
        with atomic():
            yield
            if breaks == "before" and written:
                raise OperationalError("the connection was closed in the middle")
        if written:
            raise OperationalError("the connection was closed in the middle")

    jump = recovery.Jump(3600.0, time.monotonic())
    set_clock(HOUR)
    with monkeypatch.context() as patched, connection.execute_wrapper(sees), pytest.raises(OperationalError):
        patched.setattr(transaction, "atomic", breaking)
        recovery.move_with_the_clock(jump)

    assert written
    assert recovery.move_with_the_clock(jump) >= 1
    assert deadline(saga) == pytest.approx(before + HOUR, abs=SECOND)


def test_the_sweep_keeps_a_jump_until_what_is_open_was_moved(saga: int, sweep: Sweep, set_clock: SetClock, monkeypatch: Any) -> None:
    before = deadline(saga)
    set_clock(HOUR)

    def trouble(*_: Any) -> bool:
        raise OperationalError("the connection was closed in the middle")

    with monkeypatch.context() as patched:
        patched.setattr(sweep.turn, "take", trouble)
        sweep.round()
    assert deadline(saga) == before
    sweep.round()

    assert deadline(saga) == pytest.approx(before + HOUR, abs=5 * SECOND)


def test_time_is_never_taken_away(saga: int) -> None:
    """The clock was set back while a step was held."""
    with transaction.atomic():
        row = Saga.objects.get(pk=saga)
        before = row.deadline_at
        budget.give_time(row, -HOUR)

    assert deadline(saga) == before


def test_a_look_up_counts_only_as_far_as_this_process_has_seen_the_clock(saga: int, set_clock: SetClock, process: None) -> None:
    """The clock is set by an hour between two tries: that nothing is found yet proves nothing."""
    first = engine.start(saga, 1, "payment", False)
    assert first is not None
    assert first.seen_to_pass(first.quiet_s) is None
    set_clock(HOUR)
    Saga.objects.filter(pk=saga).update(epoch=2)
    StepRecord.objects.filter(saga=saga, name="payment").update(state="scheduled")

    second = engine.start(saga, 2, "payment", False)

    assert second is not None and second.quiet_s is not None
    assert second.quiet_s > 3000
    assert second.seen_to_pass(second.quiet_s) == pytest.approx(-settings.LEASE_S, abs=1)


def test_a_process_that_has_seen_enough_believes_the_clock(saga: int, process: None) -> None:
    engine.start(saga, 1, "payment", False)
    tries.watch._calm_since -= 2 * settings.LEASE_S
    StepRecord.objects.filter(saga=saga, name="payment").update(state="scheduled", asked_until=shop_now() - HOUR)

    second = engine.start(saga, 1, "payment", False)

    assert second is not None
    assert second.seen_to_pass(second.quiet_s) == pytest.approx(settings.LEASE_S, abs=1)


def test_an_order_that_waits_for_a_person_is_not_woken_by_a_jump(saga: int, set_clock: SetClock) -> None:
    """It has no ``wake_at``, and gets none: else the sweep would find nothing to do at it, and take its journal for broken."""
    Saga.objects.filter(pk=saga).update(state=SagaState.NEEDS_ATTENTION, wake_at=None)
    set_clock(HOUR)

    recovery.move_with_the_clock(recovery.Jump(3600.0, time.monotonic()))

    assert Saga.objects.get(pk=saga).wake_at is None


def test_a_message_of_the_future_is_published_again(saga: int, set_clock: SetClock) -> None:
    """The clock was set back while no sweep ran: no stamp would prove the message lost for an hour."""
    set_clock(-HOUR)
    QueueProbe.objects.create(queue="saga", out_at=shop_now())

    Sweep(lambda _: None).round()
    Saga.objects.filter(pk=saga).update(wake_at=shop_now())
    launch = recovery.inspect_saga(saga)

    assert launch is not None
    launched_at = Saga.objects.get(pk=saga).launched_at
    assert launched_at is not None
    assert launched_at <= shop_now()


def test_a_stamp_of_the_future_is_not_waited_for_and_proves_nothing(db: None, set_clock: SetClock) -> None:
    """Else nothing would be asked for an hour, or everything would be taken for lost."""
    QueueProbe.objects.create(queue="saga", sent_at=shop_now(), out_at=shop_now(), awaited_since=shop_now(), unanswered=1)
    set_clock(-HOUR)
    recovery.probes.want("saga")

    ((queue, stamp),) = recovery.probes.due()
    assert queue_probes.lost_before("saga") is None
    queue_probes.probe_came_out(queue, stamp)

    assert queue_probes.lost_before("saga") == stamp - timedelta(seconds=settings.TASK_HARD_LIMIT_S)


def test_a_circuit_whose_probe_is_due_in_the_future_asks_now(db: None, set_clock: SetClock) -> None:
    circuit = Circuit.objects.create(name="payments.sandbox.do", state=CircuitState.OPEN, probe=1)
    for column in ("next_probe_at", "probe_until"):
        setattr(circuit, column, shop_now())
    assert circuit.wants_a_probe(shop_now())
    set_clock(-HOUR)

    assert circuit.wants_a_probe(shop_now())
    assert not circuit.may_call(1, shop_now())


def test_who_is_in_quarantine_until_the_future_is_inspected_now(saga: int, set_clock: SetClock) -> None:
    Quarantine.objects.create(
        saga_id=saga, order_id=None, failures=1, code="x", first_at=shop_now(), last_at=shop_now(), inspect_at=shop_now()
    )
    set_clock(-HOUR)

    assert list(quarantine.due_again(shop_now())) == [(saga, None)]


@pytest.mark.parametrize("compensating", [False, True])
def test_no_try_may_still_be_on_its_way_from_the_future(saga: int, set_clock: SetClock, compensating: bool) -> None:
    """Who was asked before the clock was set back was asked a lease from now at the latest: nobody waits an hour to see what became of it."""
    claim = engine.start(saga, 1, "payment", False)
    assert claim is not None
    engine.record_failure(claim, InDoubt("nobody knows", code="timeout"))
    if compensating:
        recovery.cancel(Saga.objects.get(pk=saga).order.number, "customer")
    PastAttempt.objects.create(
        record=StepRecord.objects.get(saga=saga, name="payment"),
        compensating=compensating,
        attempt=1,
        key="k",
        asked_until=shop_now() + SECOND,
    )
    StepRecord.objects.filter(saga=saga, name="payment").update(do_attempt=2, compensation_attempt=2)
    set_clock(-HOUR)
    quiet = []
    for _ in range(2):
        now_due(saga)
        recovery.inspect_saga(saga)
        again = engine.start(saga, Saga.objects.get(pk=saga).epoch, "payment", compensating)
        assert again is not None
        quiet.append((again.quiet_s, again.refused_quiet_s))
        engine.record_failure(again, Busy("it may still land", code=LAG))
        time.sleep(0.2)

    assert quiet[0] == (-settings.LEASE_S, -settings.LEASE_S)
    assert all(-settings.LEASE_S + 0.2 <= seconds <= 0 for seconds in quiet[1] if seconds is not None)


def test_who_is_hurried_by_a_person_is_given_back_what_was_lost(saga: int, set_clock: SetClock) -> None:
    """Nobody has swept for an hour, and an operator presses the button before the sweep comes back."""
    fail(saga)
    set_clock(HOUR)

    assert recovery.retry_now(Saga.objects.get(pk=saga).order.number, AMARA) == "due"
    Sweep(lambda _: None).round()

    assert Saga.objects.get(pk=saga).state == SagaState.RUNNING
