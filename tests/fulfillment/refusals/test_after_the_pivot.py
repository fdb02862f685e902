"""Promise: after the pivot, too, what was refused is asked for under another key, and what landed after all is adopted."""

from dataclasses import dataclass, field
from typing import Any

import pytest

from fulfillment import engine, steps
from fulfillment.errors import Rejected
from fulfillment.explanation import explain
from fulfillment.models import SagaState, StepRecord, StepState
from fulfillment.step import Compensation, Kind, Receipt, Step
from orders.models import Incident, Order, TimelineEntry
from tests.fulfillment.driving import found, record, start
from tests.fulfillment.refusals.conftest import EDGE, LAG, LEASE, past, retried, sweep_when_due, work
from tests.shop_clock import ShopClock


@dataclass
class Wrapper:
    """Who wraps presents. ``refuses``: keys that it declines, and goes on declining; ``left``: what is there, by key."""

    refuses: set[str] = field(default_factory=set)
    left: dict[str, int] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)


class Wrapping(Step):
    """A step after the pivot, at a carrier."""

    name, kind, role = "wrapping", Kind.RETRIABLE, "carrier"

    def __init__(self, at: Wrapper) -> None:
        self.at = at

    def execute(self, order: Order, key: str) -> Receipt:
        self.at.asked.append(key)
        if key in self.at.refuses:
            raise Rejected("No paper today.", code="no_paper")
        self.at.left.setdefault(key, 1)
        return {"wrapped": key}

    def compensate(self, order: Order, compensation: Compensation) -> None:
        raise AssertionError("nothing after the pivot is undone")

    def resolve(self, order: Order, key: str) -> Receipt | None:
        return {"wrapped": key} if key in self.at.left else None

    def left(self, order: Order, key: str) -> int:
        return self.at.left.get(key, 0)


FIRST, SECOND = "ORD-1:wrapping:do:1:testsnonce", "ORD-1:wrapping:do:2:testsnonce"


@pytest.fixture
def wrapper() -> Wrapper:
    return Wrapper(refuses={FIRST})


@pytest.fixture
def wrapping(monkeypatch: pytest.MonkeyPatch, clock: ShopClock, order: Order, wrapper: Wrapper) -> int:
    """Shipped, and the wrapping was refused for good."""
    monkeypatch.setattr(steps, "STEPS", (*steps.STEPS, Wrapping(wrapper)))
    monkeypatch.setattr(engine.creation, "STEPS", steps.STEPS)
    saga = engine.open_saga(order).saga
    StepRecord.objects.filter(saga=saga).exclude(name="wrapping").update(state=StepState.SUCCEEDED)
    StepRecord.objects.filter(saga=saga, name="wrapping").update(state=StepState.SCHEDULED, scheduled_at=clock.now)
    assert wrap(saga).code == "no_paper"
    assert record(saga, "wrapping").state == StepState.REJECTED
    return saga


def wrap(saga: int) -> Any:
    return work(saga, "wrapping", compensating=False)


def test_a_step_after_the_pivot_that_was_refused_is_asked_for_under_another_key(wrapping: int, wrapper: Wrapper, clock: ShopClock) -> None:
    """By the sweep, within its budget; the second key's window begins when it is scheduled itself."""
    sweep_when_due(wrapping, clock)
    assert wrap(wrapping).code == "lag"
    clock.passes(LEASE + LAG)
    sweep_when_due(wrapping, clock)

    assert wrap(wrapping) == {"wrapped": SECOND}

    assert wrapper.asked == [FIRST, SECOND]
    assert found(wrapping).state == SagaState.COMPLETED
    assert past(wrapping) == [(False, 1, "wrapping:do:1:testsnonce", None, "no_paper")]


def test_whoever_asks_why_is_told_that_it_goes_on(wrapping: int, order: Order) -> None:
    """The parcel has left: nothing is about to be compensated."""
    explanation = explain(order)

    assert explanation.sentence == "Wrapping was refused (No paper today). It is asked for again under a new key."
    assert explanation.public == "Wrapping takes longer than usual; it goes on by itself."


def test_a_new_key_is_as_young_as_its_scheduling(wrapping: int, clock: ShopClock) -> None:
    clock.passes(1000)
    sweep_when_due(wrapping, clock)

    claim = start(wrapping, "wrapping")

    assert (claim.key, claim.age_s, claim.quiet_s, claim.refused_quiet_s) == (SECOND, 0, None, 1000 - LEASE)


def test_a_retry_by_a_person_after_the_pivot_has_a_new_key_too(wrapping: int, clock: ShopClock, settings: Any) -> None:
    settings.STEP_TRIES = 1
    sweep_when_due(wrapping, clock)
    assert found(wrapping).state == SagaState.NEEDS_ATTENTION

    retried(wrapping)

    assert (record(wrapping, "wrapping").do_key, record(wrapping, "wrapping").tries) == (SECOND, 0)


def test_what_was_refused_and_landed_after_all_is_adopted(wrapping: int, wrapper: Wrapper, clock: ShopClock) -> None:
    """It is not done a second time, and whoever looks it up by hand finds it."""
    wrapper.left[FIRST] = 1
    clock.passes(LEASE + LAG + EDGE)
    sweep_when_due(wrapping, clock)

    assert wrap(wrapping) == {"wrapped": FIRST, "found_under": FIRST}

    assert wrapper.asked == [FIRST]
    assert found(wrapping).state == SagaState.COMPLETED
    assert engine.do_keys(record(wrapping, "wrapping")) == [SECOND, FIRST]


def test_a_person_who_looks_it_up_is_shown_what_lies_under_an_earlier_key(wrapping: int, wrapper: Wrapper, clock: ShopClock) -> None:
    sweep_when_due(wrapping, clock)
    wrap(wrapping)
    wrapper.left[FIRST] = 1

    retried(wrapping, "look_up")

    (entry,) = TimelineEntry.objects.filter(code="look_up")
    assert entry.detail["answer"] == f"the provider shows wrapping under {FIRST} (wrapped {FIRST}); it has not been undone"


def test_a_late_worker_that_has_done_what_was_done_again_is_reported(
    wrapping: int, wrapper: Wrapper, order: Order, clock: ShopClock
) -> None:
    late = start_of_the_first(wrapping)
    clock.passes(LEASE + LAG + EDGE)
    sweep_when_due(wrapping, clock)
    wrap(wrapping)

    assert not engine.record_success(late, {"wrapped": FIRST}).mine

    (incident,) = Incident.objects.all()
    assert (incident.kind, incident.code, incident.amount_minor) == ("orphan_payment", "late", 100)


def start_of_the_first(saga: int) -> engine.Claim:
    """As a worker holds it that was taken over."""
    it = record(saga, "wrapping")
    return engine.Claim(
        saga=saga, epoch=1, placed=found(saga).order, name="wrapping", compensating=False, claim=None,
        key=it.do_key, do_key=it.do_key, tries=1, receipt=None, amount_minor=None,
    )  # fmt: skip


def test_what_somebody_has_reversed_is_done_anew_only_when_a_person_says_so(
    wrapping: int, wrapper: Wrapper, clock: ShopClock, settings: Any
) -> None:
    """The provider has refused nothing: the sweep goes on asking under the same key, and finds the same."""
    StepRecord.objects.filter(saga=wrapping, name="wrapping").update(error_code="reversed_elsewhere")
    wrapper.refuses, wrapper.left[FIRST] = set(), 0
    settings.STEP_TRIES = 2
    sweep_when_due(wrapping, clock)
    assert record(wrapping, "wrapping").do_key == FIRST
    assert wrap(wrapping).code == "reversed_elsewhere"
    sweep_when_due(wrapping, clock)
    assert found(wrapping).state == SagaState.NEEDS_ATTENTION

    retried(wrapping)
    clock.passes(LEASE + LAG + EDGE)
    sweep_when_due(wrapping, clock)
    wrap(wrapping)

    assert wrapper.left == {FIRST: 0, SECOND: 1}
    assert found(wrapping).state == SagaState.COMPLETED
