"""Promise: a start that waits while its saga is moved starts nothing. Nobody is called, no history is written, and whoever has moved the saga sees to it that the
order arrives.

The statement locks nothing beforehand (the Note at ``start`` in fulfillment/queries.sql). So each test lets it read everything first, and wait then.
"""

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from fulfillment import engine, recovery
from fulfillment.circuit import Circuit, CircuitState
from fulfillment.clock import shop_now
from fulfillment.errors import Unavailable
from fulfillment.models import Saga, SagaState, StepRecord, StepState
from fulfillment.recovery import circuits
from orders.models import Order
from orders.timeline import TimelineEntry
from tests.actors import AMARA
from tests.fulfillment.conftest import SandboxProcess, now_due
from tests.fulfillment.driving import copy_of, found, record, work
from tests.fulfillment.two_at_once.sessions import PAY, in_one
from tests.sides import at_once

pytestmark = pytest.mark.django_db(transaction=True)


@dataclass
class Meeting:
    """A message of payment comes to a worker while somebody else has the saga in hand."""

    saga: int
    sandbox: SandboxProcess

    def start_meets(self, move: Callable[[], Any]) -> tuple[Any, engine.Claim | None]:
        """What ``move`` returned, and what the start did that waited for it."""
        epoch, seen = found(self.saga).epoch, []

        def moves() -> Any:
            engine.locking(Saga.objects.filter(pk=self.saga)).get()
            outcome = move()
            seen.extend(self.history)
            return outcome

        moved, claim = at_once(in_one(moves), "FOR UPDATE", lambda: engine.start(self.saga, epoch, "payment", False), must_wait=True)
        assert not isinstance(moved, Exception), moved
        assert not isinstance(claim, Exception), claim
        if claim is None:
            assert self.history == seen, "the start has written history"
            assert not self.charges
        return moved, claim

    @property
    def history(self) -> list[int]:
        return list(TimelineEntry.objects.filter(order__saga=self.saga).values_list("id", flat=True).order_by("id"))

    @property
    def charges(self) -> int:
        return [operation for operation, *_ in self.sandbox.effects(found(self.saga).order.number)].count("charge")

    def arrives(self, launch: engine.Launch | None) -> None:
        """The message that was published in place of the one that started nothing does its work."""
        assert launch is not None
        assert (launch.epoch, launch.steps[0], record(self.saga).state) == (found(self.saga).epoch, "payment", StepState.SCHEDULED)
        assert "charge_id" in work(self.saga)
        assert (record(self.saga).state, record(self.saga, "inventory").state) == (StepState.SUCCEEDED, StepState.SCHEDULED)
        assert self.charges == 1

    def sweep(self) -> engine.Launch | None:
        now_due(self.saga)
        return recovery.inspect_saga(self.saga)


@pytest.fixture
def meeting(order: Order, sandbox: SandboxProcess, settings: Any, request: pytest.FixtureRequest) -> Meeting:
    settings.SANDBOX_URL = sandbox.url
    return Meeting(copy_of(order, f"ORD-{zlib.crc32(request.node.name.encode())}"), sandbox)


def test_published_again_meanwhile(meeting: Meeting) -> None:
    """The sweep has taken its message for lost: the one that it sends now starts the step."""
    now_due(meeting.saga)

    launch, claim = meeting.start_meets(lambda: recovery.inspect_saga(meeting.saga))

    assert claim is None
    assert found(meeting.saga).epoch == 1, "the launch alone has changed"
    meeting.arrives(launch)


@pytest.mark.parametrize("was_asked", [True, False], ids=["perhaps asked", "never asked"])
def test_held_meanwhile(meeting: Meeting, was_asked: bool) -> None:
    """The circuit of its provider opens. Nothing is asked of a provider that is out."""
    if was_asked:
        claim = engine.start(meeting.saga, 1, "payment", False)
        assert claim is not None
        engine.record_failure(claim, Unavailable("down", code="connect_failed"))
        Circuit.objects.all().delete()
        meeting.sweep()
    now_due(meeting.saga)

    def opens_and_holds() -> None:
        Circuit.objects.create(name=PAY, state=CircuitState.OPEN, opened_at="2020-01-01T00:00Z")
        assert recovery.inspect_saga(meeting.saga) is None

    _, claim = meeting.start_meets(opens_and_holds)

    assert claim is None
    assert found(meeting.saga).held_by == PAY
    assert record(meeting.saga).state == (StepState.SCHEDULED if was_asked else StepState.PENDING)
    circuits.release(PAY, AMARA, "it is back")
    list(recovery.launch_probes())
    meeting.arrives(meeting.sweep())


def test_cancelled_meanwhile(meeting: Meeting) -> None:
    """I have cancelled before anybody asked for my money. Whoever could not start turns the order back."""
    number = found(meeting.saga).order.number

    answer, claim = meeting.start_meets(lambda: recovery.cancel(number, "web-shop"))

    assert (answer, claim) == ("accepted", None)
    launch = engine.could_not_start(meeting.saga, 1)
    assert launch is not None
    assert (launch.compensating, launch.epoch) == (True, found(meeting.saga).epoch)
    work(meeting.saga, compensating=True)
    assert (found(meeting.saga).state, found(meeting.saga).order.status) == (SagaState.COMPENSATED, "cancelled")
    assert not meeting.charges


def test_taken_over_meanwhile(meeting: Meeting) -> None:
    """A second message of the same step has started it, its worker has died, and the sweep has scheduled the step anew."""

    def starts_dies_and_is_taken_over() -> engine.Launch | None:
        assert engine.start(meeting.saga, 1, "payment", False) is not None
        return meeting.sweep()

    launch, claim = meeting.start_meets(starts_dies_and_is_taken_over)

    assert claim is None
    assert found(meeting.saga).epoch == 2
    meeting.arrives(launch)


@pytest.mark.parametrize("change", [{"epoch": 2}, {"state": SagaState.COMPENSATING}], ids=["its epoch", "its direction"])
def test_each_part_of_the_fence_counts_by_itself(meeting: Meeting, change: dict[str, Any]) -> None:
    """Whatever else has stayed as it was."""
    _, claim = meeting.start_meets(lambda: Saga.objects.filter(pk=meeting.saga).update(**change))

    assert claim is None
    assert record(meeting.saga).state == StepState.SCHEDULED


def test_only_its_record_has_changed_meanwhile(meeting: Meeting) -> None:
    """The saga is as the start has seen it, and the step is not. What the start knows of the step is no longer true."""

    def is_asked_for() -> None:
        StepRecord.objects.filter(saga=meeting.saga, name="payment").update(asked_until=shop_now())

    before = found(meeting.saga).wake_at
    _, claim = meeting.start_meets(is_asked_for)

    assert claim is None
    assert (found(meeting.saga).wake_at, record(meeting.saga).state, record(meeting.saga).tries) == (before, StepState.SCHEDULED, 0)
    meeting.arrives(meeting.sweep())


def test_what_is_none_of_its_business_keeps_no_start_from_its_work(meeting: Meeting) -> None:
    """The sweep only notes when it comes again. Nobody publishes anything in place of this message."""

    def is_put_off() -> None:
        Saga.objects.filter(pk=meeting.saga).update(wake_at=shop_now())

    _, claim = meeting.start_meets(is_put_off)

    assert claim is not None
    assert record(meeting.saga).state == StepState.STARTED
