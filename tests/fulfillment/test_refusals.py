"""Promise: what a provider has refused for good is over: whoever tries again asks anew, under another key, for what is left. Whatever lands late has an owner."""

import importlib
import math
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from django.db import connection

from fulfillment import engine, ledger, recovery, steps
from fulfillment.errors import InDoubt, Rejected, StepError, Unavailable
from fulfillment.explain import explain
from fulfillment.gateways import card_of
from fulfillment.gateways.lease import Lease
from fulfillment.ledger import LedgerEntry
from fulfillment.models import PastAttempt, Saga, SagaState, StepRecord, StepState
from fulfillment.recovery import Request, choices, decide, version_of
from fulfillment.step import Kind, Receipt, Step, Undo
from fulfillment.talk import talk
from orders.models import Incident, Order, TimelineEntry
from orders.timeline import sentence
from tests.actors import AMARA
from tests.fulfillment.conftest import SandboxProcess
from tests.fulfillment.driving import REFUSED, copy_of, found, record, start, undo_failed
from tests.shop_clock import LIMITS_S, ShopClock

ALL = ("sandbox", "sandbox_forgetful", "sandbox_burn", "sandbox_watch", "sandbox_keyless")
LEASE, EDGE = LIMITS_S["LEASE_S"], 0.001
LAG = card_of("payments", "sandbox").lookup_lag_s
SILENCE = InDoubt("No answer", code="timeout")
GIVEN_BACK = {"refund_id": "re_1", "amount_minor": 100, "currency": "EUR"}


def work(saga: int, name: str = "payment", undo: bool = True) -> Any:
    """What a worker does, with the answer that came. It has seen the clock go as it should for long enough."""
    claim = replace(start(saga, name, undo), watched_s=math.inf)
    step = engine.step_of(found(saga), name)
    assert step is not None
    answer = talk(step, claim, Lease.begin(LEASE))
    if isinstance(answer, StepError):
        engine.settle_failure(claim, answer)
    else:
        engine.settle_success(claim, answer)
    return answer


def look(saga: int, clock: ShopClock) -> None:
    clock.until(max(clock.now, found(saga).wake_at or clock.now))
    recovery.look(saga)


def retried(saga: int, verb: str = "retry") -> None:
    order = found(saga).order
    decide(Request(order=order.number, verb=verb, version=version_of(order.pk), actor=AMARA, reason="once more"))


def entries(saga: int) -> list[tuple[str, int, str]]:
    """(operation, amount, key without the order's number)"""
    found_ = LedgerEntry.objects.filter(order_id=found(saga).order_id)
    return [(entry.operation, entry.amount_minor, entry.key.partition(":")[2]) for entry in found_]


def past(saga: int) -> list[tuple[bool, int, str, int | None, str]]:
    columns = ("undo", "attempt", "key", "amount_minor", "code")
    return [(undo, attempt, key.partition(":")[2], *rest) for undo, attempt, key, *rest in PastAttempt.objects.values_list(*columns)]


@pytest.fixture
def number(request: pytest.FixtureRequest) -> str:
    return f"ORD-{zlib.crc32(request.node.name.encode())}"


@dataclass
class Refusing:
    """Orders that were paid and cancelled, and whose refund the bank has refused once."""

    order: Order
    clock: ShopClock
    sandbox: SandboxProcess
    settings: Any
    number: str
    gateway: str = ""

    def __call__(self, gateway: str = "sandbox", token: str = "tok_refund_declined_once", given_back_before: int = 0) -> int:
        """``given_back_before``: what somebody else gives back before the refund is asked for."""
        self.settings.SANDBOX_URL, self.settings.PAYMENTS_GATEWAY, self.gateway = self.sandbox.url, gateway, gateway
        saga = copy_of(self.order, self.number)
        Order.objects.filter(number=self.number).update(payment_token=token)
        assert isinstance(work(saga, undo=False), dict)
        recovery.cancel(self.number, "web-shop")
        look(saga, self.clock)
        if given_back_before:
            self.refunds_elsewhere(given_back_before)
        assert work(saga).code == "refund_declined"
        assert (found(saga).state, record(saga).state) == (SagaState.NEEDS_ATTENTION, StepState.UNDO_FAILED)
        return saga

    def refunds_elsewhere(self, amount: int) -> None:
        profile = self.gateway.removeprefix("sandbox").lstrip("_")
        planted = {"operation": "refund", "order": self.number, "key": f"{self.number}:payment:do:1:testsnonce", "currency": "EUR"}
        answer = self.sandbox.client.post("/control/plant", json=planted | {"amount": amount, "profile": profile})
        assert answer.status_code == 201, answer.text

    @property
    def effects(self) -> list[tuple[str, int | None]]:
        return [(operation, amount) for operation, _, amount in self.sandbox.effects(self.number)]


@pytest.fixture
def refusing(order: Order, clock: ShopClock, sandbox: SandboxProcess, settings: Any, number: str) -> Refusing:
    return Refusing(order, clock, sandbox, settings, number)


@pytest.fixture
def saga(clock: ShopClock, order: Order) -> int:
    """Opened by the clock that the test holds."""
    return engine.open_saga(order).saga


# --- another key -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("gateway", ALL)
def test_a_refund_that_was_refused_is_asked_for_anew_under_another_key(refusing: Refusing, clock: ShopClock, gateway: str) -> None:
    """A bank that keeps its refusals would repeat the first one for ever; I get my money back all the same."""
    saga = refusing(gateway)

    retried(saga)
    clock.passes(LEASE + LAG + EDGE)
    look(saga, clock)
    work(saga)

    assert (found(saga).state, found(saga).order.status) == (SagaState.COMPENSATED, "cancelled")
    assert refusing.effects == [("charge", 100), ("refund", 100)]
    assert entries(saga) == [("captured", 100, "payment:do:1:testsnonce"), ("refunded", 100, "payment:undo:2:testsnonce")]
    assert past(saga) == [(True, 1, "payment:undo:1:testsnonce", 100, "refund_declined")]


def test_each_refusal_ends_an_attempt_of_its_own(refusing: Refusing, clock: ShopClock) -> None:
    saga = refusing(token="tok_refund_declined")
    for _ in range(2):
        retried(saga)
        clock.passes(LEASE + LAG + EDGE)
        look(saga, clock)
        assert work(saga).code == "refund_declined"

    assert [attempt for _, attempt, *_ in past(saga)] == [1, 2]
    assert record(saga).undo_key.endswith(":payment:undo:3:testsnonce")
    assert refusing.effects == [("charge", 100)]
    assert [incident.amount_minor for incident in Incident.objects.exclude(state="resolved")] == [100]


def test_a_person_reads_which_attempt_it_is(refusing: Refusing) -> None:
    """Before the decision, and after it."""
    saga = refusing()
    (retry,) = [choice for choice in choices(found(saga), True) if choice.verb == "retry"]
    assert "under a new key" in retry.warns

    retried(saga)

    told = [sentence(entry) for entry in TimelineEntry.objects.filter(order_id=found(saga).order_id, to_state="undo_granted")]
    assert told == ["Payment undo granted", "Payment undo granted: attempt 2, under a new key"]


@pytest.mark.parametrize(
    "errors",
    [[SILENCE], [Unavailable("down")], [Unavailable("down"), SILENCE]],
    ids=["in doubt", "unavailable", "unavailable and in doubt"],
)
def test_what_was_not_refused_keeps_its_key(saga: int, clock: ShopClock, settings: Any, errors: list[StepError]) -> None:
    """Out of tries, a person retries: the refund may have landed, and the same key makes it one."""
    settings.UNDO_TRIES = len(errors)
    undo_failed(saga, errors[0])
    for error in errors[1:]:
        look(saga, clock)
        engine.settle_failure(start(saga, undo=True), error)
    look(saga, clock)
    assert record(saga).state == StepState.UNDO_FAILED

    retried(saga)

    assert record(saga).undo_key == "ORD-1:payment:undo:1:testsnonce"
    assert past(saga) == []


def test_in_doubt_then_unavailable_then_refused_is_refused(saga: int, clock: ShopClock) -> None:
    """The last word counts; that an earlier try may have landed is found by the look that follows."""
    undo_failed(saga, SILENCE)
    for error in (Unavailable("down"), REFUSED):
        look(saga, clock)
        engine.settle_failure(start(saga, undo=True), error)

    retried(saga)

    assert (record(saga).undo_attempt, record(saga).undo_doubt) == (2, True)


def test_what_nobody_has_found_was_not_refused(saga: int) -> None:
    """Watched for in vain: nobody was asked under that key."""
    undo_failed(saga, Rejected("Nothing was found", code="watched_in_vain"))

    retried(saga)

    assert record(saga).undo_attempt == 1


# --- not before the old one is over ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("after_s", "asks"), [(0, False), (EDGE, True)], ids=["within the lag", "past it"])
def test_nothing_is_asked_for_while_what_was_refused_may_still_land(
    refusing: Refusing, clock: ShopClock, after_s: float, asks: bool
) -> None:
    """From the end of the last try's lease on, for as long as the provider's look-up lags."""
    saga = refusing("sandbox_watch")
    retried(saga)
    clock.passes(LEASE + LAG + after_s)
    look(saga, clock)

    answer = work(saga)

    assert refusing.effects == [("charge", 100), *([("refund", 100)] if asks else [])]
    if not asks:
        assert (answer.code, record(saga).state, record(saga).undo_tries) == ("lag", StepState.UNDO_IN_DOUBT, 0)


def test_it_is_looked_at_again_when_the_refused_one_is_over(refusing: Refusing, clock: ShopClock) -> None:
    """Not a second earlier: each look would cost a task."""
    saga = refusing()
    retried(saga)
    clock.passes(10)
    look(saga, clock)

    work(saga)

    assert clock.left(found(saga).wake_at) == pytest.approx(LEASE + LAG - 10)


def test_a_worker_that_has_not_seen_the_lag_pass_asks_for_nothing(refusing: Refusing, clock: ShopClock) -> None:
    """The database's clock may have been set."""
    saga = refusing("sandbox_watch")
    retried(saga)
    clock.passes(3600)
    look(saga, clock)
    step = engine.step_of(found(saga), "payment")
    assert step is not None

    answer = talk(step, replace(start(saga, undo=True), watched_s=LEASE + LAG), Lease.begin(LEASE))

    assert isinstance(answer, StepError)
    assert answer.code == "lag"


def test_a_clock_that_jumps_makes_no_refusal_older(saga: int, clock: ShopClock) -> None:
    undo_failed(saga)
    retried(saga)
    clock.passes(5)

    clock.passes(3600)
    recovery.move_with_the_clock(recovery.Jump(3600.0, time.monotonic()))

    assert start(saga, undo=True).refused_quiet_s == 5 - LEASE


@pytest.mark.parametrize("gateway", ["sandbox", "sandbox_watch"])
def test_what_landed_meanwhile_is_found_and_not_given_back_again(refusing: Refusing, clock: ShopClock, gateway: str) -> None:
    """The first try was still on its way when the second one was refused."""
    saga = refusing(gateway)
    retried(saga)
    refusing.refunds_elsewhere(100)
    clock.passes(LEASE + LAG + EDGE)
    look(saga, clock)

    assert work(saga) == {"found_undone": True, "amount_minor": 100}

    assert found(saga).state == SagaState.COMPENSATED
    assert refusing.effects == [("charge", 100), ("refund", 100)]
    assert ledger.remaining(found(saga).order_id) == 0


def test_only_what_is_left_is_asked_for(refusing: Refusing, clock: ShopClock) -> None:
    """Support has given back a part between the refusal and the retry."""
    saga = refusing()
    refusing.refunds_elsewhere(40)
    retried(saga)
    clock.passes(LEASE + LAG + EDGE)
    for _ in range(2):
        look(saga, clock)
        work(saga)

    assert refusing.effects == [("charge", 100), ("refund", 40), ("refund", 60)]
    assert [(operation, amount) for operation, amount, _ in entries(saga)] == [("captured", 100), ("refunded", 40), ("refunded", 60)]
    assert found(saga).state == SagaState.COMPENSATED


@pytest.mark.parametrize("gateway", ALL)
def test_a_part_that_was_given_back_before_the_refusal_is_not_asked_for_again(refusing: Refusing, clock: ShopClock, gateway: str) -> None:
    """Two bad things in a row: support gives back a part, then the bank refuses the rest. I get all of my money, and no cent twice."""
    saga = refusing(gateway, given_back_before=40)
    assert entries(saga) == [("captured", 100, "payment:do:1:testsnonce")], "nobody has told us of the part"

    retried(saga)
    clock.passes(LEASE + LAG + EDGE)
    for _ in range(2):
        look(saga, clock)
        work(saga)

    assert refusing.effects == [("charge", 100), ("refund", 40), ("refund", 60)]
    assert entries(saga) == [
        ("captured", 100, "payment:do:1:testsnonce"),
        ("refunded", 40, "payment:undo:2:testsnonce:elsewhere"),
        ("refunded", 60, "payment:undo:3:testsnonce"),
    ]
    assert past(saga) == [(True, 1, "payment:undo:1:testsnonce", 100, "refund_declined")]
    assert (found(saga).state, found(saga).order.status) == (SagaState.COMPENSATED, "cancelled")
    assert not Incident.objects.exclude(state="resolved").exists()


@pytest.mark.parametrize(("after_s", "asked"), [(0, False), (EDGE, True)], ids=["within the lag", "past it"])
def test_without_keys_a_refund_in_doubt_is_not_asked_for_again_while_it_may_land(
    refusing: Refusing, clock: ShopClock, settings: Any, after_s: float, asked: bool
) -> None:
    """Nothing tells the second one from the first."""
    saga = refusing("sandbox_keyless")
    retried(saga)
    clock.passes(LEASE + LAG + EDGE)
    look(saga, clock)
    engine.settle_failure(start(saga, undo=True), SILENCE)
    clock.passes(LEASE + LAG + after_s)
    look(saga, clock)

    work(saga)

    assert (("refund", 100) in refusing.effects) is asked


@pytest.mark.parametrize("gateway", ["sandbox_watch", "sandbox_keyless"])
def test_a_try_that_has_asked_for_nothing_is_not_waited_for(refusing: Refusing, clock: ShopClock, gateway: str) -> None:
    """Else each look would put off the next one, for ever."""
    saga = refusing(gateway)
    last = record(saga).undo_asked_until
    retried(saga)
    for _ in range(2):
        clock.passes(10)
        look(saga, clock)
        assert work(saga).code == "lag"
        assert record(saga).undo_asked_until == last

    look(saga, clock)
    clock.passes(EDGE)
    work(saga)

    assert found(saga).state == SagaState.COMPENSATED


# --- whoever comes late ----------------------------------------------------------------------------------------------------


def taken_over_and_refused(saga: int, clock: ShopClock) -> engine.Claim:
    """Two workers under one key: the first stands still, the second is refused. The claim of the first."""
    undo_failed(saga, Unavailable("down"))
    look(saga, clock)
    first = start(saga, undo=True)
    look(saga, clock)
    engine.settle_failure(start(saga, undo=True), REFUSED)
    assert found(saga).state == SagaState.NEEDS_ATTENTION
    return first


@pytest.mark.parametrize("is_retried", [False, True], ids=["before the retry", "after it"])
def test_a_refund_that_a_late_worker_reports_is_entered(saga: int, clock: ShopClock, is_retried: bool) -> None:
    """It was refused under the same key meanwhile, and took place after all."""
    first = taken_over_and_refused(saga, clock)
    if is_retried:
        retried(saga)

    assert not engine.settle_success(first, GIVEN_BACK).mine

    assert entries(saga)[1:] == [("refunded", 100, "payment:undo:1:testsnonce")]
    (late,) = TimelineEntry.objects.filter(kind="late")
    assert sentence(late) == "A late worker of payment (epoch 3) learned 'undone': €1.00 was given back after all, and is entered"
    if not is_retried:
        retried(saga)
        assert (found(saga).state, record(saga).state) == (SagaState.COMPENSATED, StepState.NOT_NEEDED)


def test_a_refund_that_took_place_under_both_keys_is_told_with_its_amount(saga: int, order: Order, clock: ShopClock) -> None:
    first = taken_over_and_refused(saga, clock)
    retried(saga)
    look(saga, clock)
    engine.settle_success(start(saga, undo=True), GIVEN_BACK)
    assert found(saga).state == SagaState.COMPENSATED

    engine.settle_success(first, GIVEN_BACK)

    (incident,) = Incident.objects.exclude(state="resolved")
    assert (incident.kind, incident.code, incident.amount_minor) == ("mismatch", "refunded_twice", 100)
    assert ledger.remaining(order.pk) == 0


def test_a_refund_that_the_look_had_found_is_not_told_as_a_second_one(saga: int, clock: ShopClock) -> None:
    first = taken_over_and_refused(saga, clock)
    retried(saga)
    look(saga, clock)
    engine.settle_success(start(saga, undo=True), {"found_undone": True, "amount_minor": 100})

    engine.settle_success(first, GIVEN_BACK)

    assert not Incident.objects.exclude(state="resolved").exists()


# --- after the pivot -------------------------------------------------------------------------------------------------------


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

    def compensate(self, order: Order, undo: Undo) -> None:
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
    monkeypatch.setattr(engine.opening, "STEPS", steps.STEPS)
    saga = engine.open_saga(order).saga
    StepRecord.objects.filter(saga=saga).exclude(name="wrapping").update(state=StepState.SUCCEEDED)
    StepRecord.objects.filter(saga=saga, name="wrapping").update(state=StepState.GRANTED, granted_at=clock.now)
    assert wrap(saga).code == "no_paper"
    assert record(saga, "wrapping").state == StepState.REJECTED
    return saga


def wrap(saga: int) -> Any:
    return work(saga, "wrapping", undo=False)


def test_a_step_after_the_pivot_that_was_refused_is_asked_for_under_another_key(wrapping: int, wrapper: Wrapper, clock: ShopClock) -> None:
    """By the sweep, within its budget; the second key's window begins with its own grant."""
    look(wrapping, clock)
    assert wrap(wrapping).code == "lag"
    clock.passes(LEASE + LAG)
    look(wrapping, clock)

    assert wrap(wrapping) == {"wrapped": SECOND}

    assert wrapper.asked == [FIRST, SECOND]
    assert found(wrapping).state == SagaState.COMPLETED
    assert past(wrapping) == [(False, 1, "wrapping:do:1:testsnonce", None, "no_paper")]


def test_whoever_asks_why_is_told_that_it_goes_on(wrapping: int, order: Order) -> None:
    """The parcel has left: nothing is about to be undone."""
    told = explain(order)

    assert told.sentence == "Wrapping was refused (No paper today). It is asked for again under a new key."
    assert told.public == "Wrapping takes longer than usual; it goes on by itself."


def test_a_new_key_is_as_young_as_its_grant(wrapping: int, clock: ShopClock) -> None:
    clock.passes(1000)
    look(wrapping, clock)

    claim = start(wrapping, "wrapping")

    assert (claim.key, claim.age_s, claim.quiet_s, claim.refused_quiet_s) == (SECOND, 0, None, 1000 - LEASE)


def test_a_person_s_retry_after_the_pivot_has_a_new_key_too(wrapping: int, clock: ShopClock, settings: Any) -> None:
    settings.STEP_TRIES = 1
    look(wrapping, clock)
    assert found(wrapping).state == SagaState.NEEDS_ATTENTION

    retried(wrapping)

    assert (record(wrapping, "wrapping").do_key, record(wrapping, "wrapping").tries) == (SECOND, 0)


def test_what_was_refused_and_landed_after_all_is_adopted(wrapping: int, wrapper: Wrapper, clock: ShopClock) -> None:
    """It is not done a second time, and whoever looks it up by hand finds it."""
    wrapper.left[FIRST] = 1
    clock.passes(LEASE + LAG + EDGE)
    look(wrapping, clock)

    assert wrap(wrapping) == {"wrapped": FIRST, "found_under": FIRST}

    assert wrapper.asked == [FIRST]
    assert found(wrapping).state == SagaState.COMPLETED
    assert engine.do_keys(record(wrapping, "wrapping")) == [SECOND, FIRST]


def test_a_person_who_looks_it_up_is_shown_what_lies_under_an_earlier_key(wrapping: int, wrapper: Wrapper, clock: ShopClock) -> None:
    look(wrapping, clock)
    wrap(wrapping)
    wrapper.left[FIRST] = 1

    retried(wrapping, "look_up")

    (entry,) = TimelineEntry.objects.filter(code="look_up")
    assert entry.detail["answer"] == f"the provider shows wrapping under {FIRST} (wrapped {FIRST}); it has not been undone"


def test_a_late_worker_that_has_done_what_was_done_again_is_told(wrapping: int, wrapper: Wrapper, order: Order, clock: ShopClock) -> None:
    late = start_of_the_first(wrapping)
    clock.passes(LEASE + LAG + EDGE)
    look(wrapping, clock)
    wrap(wrapping)

    assert not engine.settle_success(late, {"wrapped": FIRST}).mine

    (incident,) = Incident.objects.all()
    assert (incident.kind, incident.code, incident.amount_minor) == ("orphan_payment", "late", 100)


def start_of_the_first(saga: int) -> engine.Claim:
    """As a worker holds it that was taken over."""
    it = record(saga, "wrapping")
    return engine.Claim(
        saga=saga, epoch=1, order_id=found(saga).order_id, order="ORD-1", name="wrapping", undo=False, claim=None,
        key=it.do_key, do_key=it.do_key, tries=1, receipt=None, undo_amount_minor=None,
    )  # fmt: skip


def test_what_somebody_has_undone_is_done_anew_only_when_a_person_says_so(
    wrapping: int, wrapper: Wrapper, clock: ShopClock, settings: Any
) -> None:
    """The provider has refused nothing: the sweep goes on asking under the same key, and finds the same."""
    StepRecord.objects.filter(saga=wrapping, name="wrapping").update(error_code="undone_elsewhere")
    wrapper.refuses, wrapper.left[FIRST] = set(), 0
    settings.STEP_TRIES = 2
    look(wrapping, clock)
    assert record(wrapping, "wrapping").do_key == FIRST
    assert wrap(wrapping).code == "undone_elsewhere"
    look(wrapping, clock)
    assert found(wrapping).state == SagaState.NEEDS_ATTENTION

    retried(wrapping)
    clock.passes(LEASE + LAG + EDGE)
    look(wrapping, clock)
    wrap(wrapping)

    assert wrapper.left == {FIRST: 0, SECOND: 1}
    assert found(wrapping).state == SagaState.COMPLETED


# --- what was refused before it was noted ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("error", "noted"), [(REFUSED, True), (SILENCE, False)], ids=["refused", "out of tries"])
def test_refusals_of_before_are_known_by_their_history(saga: int, clock: ShopClock, settings: Any, error: StepError, noted: bool) -> None:
    """A deploy finds them waiting for a person."""
    settings.UNDO_TRIES = 1
    undo_failed(saga, error)
    look(saga, clock)
    assert record(saga).state == StepState.UNDO_FAILED
    StepRecord.objects.update(undo_refused_at=None)

    migration: Any = importlib.import_module("fulfillment.migrations.0016_past_attempts")
    with connection.cursor() as cursor:
        cursor.execute(migration.REFUSED)

    assert (record(saga).undo_refused_at is not None) is noted


def test_nothing_of_it_is_written_for_an_order_that_is_fulfilled(saga: int) -> None:
    settle: Callable[..., Any] = engine.settle_success
    settle(start(saga), {"charge_id": "ch_1", "amount_minor": 100})
    engine.run_local(saga, 1, "inventory", undo=False)
    settle(start(saga, "shipping"), {"label_id": "l", "tracking": "t"})

    assert found(saga).state == SagaState.COMPLETED
    assert not PastAttempt.objects.exists()
    assert Saga.objects.get().records.filter(do_attempt=1, undo_refused_at=None).count() == 3
