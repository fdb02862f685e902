"""Promise: with CHAIN_COLLAPSE the steps of one queue share a task, each with the start, the lease and the outcome that it would have by itself."""

import logging
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from fulfillment import crashpoints, engine, tasks
from fulfillment.engine import Launch
from fulfillment.errors import Rejected, Unavailable
from fulfillment.gateways.lease import Lease
from fulfillment.models import Saga, SagaState, StepRecord, StepState
from fulfillment.steps.inventory import Inventory
from fulfillment.steps.payment import Payment
from fulfillment.steps.shipping import Shipping
from orders.models import Order
from tests.fulfillment.driving import found

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("task_begins")]


@pytest.fixture(autouse=True)
def collapsed(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Launch]]:
    """Both providers answer well, and a task costs no time. What is launched is kept here, and not published."""
    settings.CHAIN_COLLAPSE = True
    now = time.monotonic()
    monkeypatch.setattr(tasks, "time", SimpleNamespace(monotonic=lambda: now))
    monkeypatch.setattr(Payment, "execute", lambda _, order, key: {"charge_id": "ch_1", "amount_minor": order.total_minor})
    monkeypatch.setattr(Payment, "compensate", lambda _, order, it: {"refund_id": "re_1", "amount_minor": it.amount_minor})
    monkeypatch.setattr(Shipping, "execute", lambda *_: {"label_id": "la_1", "tracking": "T1"})
    launched: list[Launch] = []
    monkeypatch.setattr(tasks, "publish", launched.append)
    yield launched


def worked_off(what: Launch) -> tuple[str, list[str]]:
    """The first task of a chain, as a worker runs it: what it returns, and the tasks that Celery would publish after it, the next one first."""
    first, *rest = tasks.signatures(what)
    task = tasks.TASKS[str(first.task)]
    task.push_request(chain=[dict(signature) for signature in reversed(rest)], id="1")
    try:
        return task.run(**first.kwargs), [signature["task"] for signature in reversed(task.request.chain or [])]
    finally:
        task.pop_request()


def whole(saga: int, *steps: str, compensating: bool = False) -> Launch:
    return Launch(saga=saga, epoch=found(saga).epoch, order="ORD-1", compensating=compensating, steps=steps)


def states(saga: int) -> dict[str, str]:
    return dict(StepRecord.objects.filter(saga=saga).values_list("name", "state"))


FORWARD = ("payment", "inventory", "shipping")


def test_a_whole_chain_is_one_task(saga: int, caplog: pytest.LogCaptureFixture) -> None:
    """My order is fulfilled by one message."""
    caplog.set_level(logging.INFO)

    result, left = worked_off(whole(saga, *FORWARD))

    assert (result, left) == ("ORD-1: payment done, inventory done, shipping done", [])
    assert found(saga).state == SagaState.COMPLETED
    assert [line for line in caplog.messages if "follows" in line] == [
        "ORD-1: inventory follows in the task of fulfillment.payment",
        "ORD-1: shipping follows in the task of fulfillment.payment",
    ]


def test_it_is_off_unless_somebody_turns_it_on(saga: int, settings: Any) -> None:
    """Flower shows each step as a task of its own."""
    settings.CHAIN_COLLAPSE = False

    assert worked_off(whole(saga, *FORWARD)) == ("ORD-1: payment done", ["fulfillment.inventory", "fulfillment.shipping"])


def test_a_step_of_another_queue_is_published(saga: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Shipping has workers of its own."""
    monkeypatch.setattr(tasks, "_queue", lambda task, name: "carrier" if name == "fulfillment.shipping" else "saga")

    assert worked_off(whole(saga, *FORWARD)) == ("ORD-1: payment done, inventory done", ["fulfillment.shipping"])


def test_the_queue_of_a_task_is_where_it_would_be_published() -> None:
    task = tasks.TASKS["fulfillment.payment"]

    assert (tasks._queue(task, task.name), tasks._queue(task, "fulfillment.compensate_payment")) == ("saga", "compensation")


def test_a_step_is_begun_only_while_a_call_may_still_last_as_long_as_it_may(
    saga: int, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A slow charge: the parcel is booked by a task that has all its time."""
    clock = SimpleNamespace(now=time.monotonic())
    monkeypatch.setattr(tasks, "time", SimpleNamespace(monotonic=lambda: clock.now))
    allowed_s = settings.TASK_SOFT_LIMIT_S - settings.CALL_DEADLINE_S

    def charges(_: Payment, order: Order, key: str) -> dict[str, Any]:
        clock.now += allowed_s - 0.01
        return {"charge_id": "ch_1", "amount_minor": order.total_minor}

    def reserves(_: Inventory, order: Order, key: str) -> dict[str, Any]:
        clock.now += 0.02
        return {}

    monkeypatch.setattr(Payment, "execute", charges)
    monkeypatch.setattr(Inventory, "execute", reserves)

    assert worked_off(whole(saga, *FORWARD)) == ("ORD-1: payment done, inventory done", ["fulfillment.shipping"])
    assert states(saga)["shipping"] == StepState.SCHEDULED


def test_each_step_has_a_lease_of_its_own(saga: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever takes over waits for the step that was begun last."""
    begun: list[float] = []
    begin = Lease.begin

    def counted(seconds: float) -> Lease:
        begun.append(time.monotonic())
        return begin(seconds)

    monkeypatch.setattr(Lease, "begin", counted)

    worked_off(whole(saga, *FORWARD))

    assert len(begun) == 2  # a local step needs none
    assert begun[0] < begun[1]


def test_a_rejection_of_a_later_step_ends_the_chain_through_its_errback(saga: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Out of stock: I am given my money back, as if each step had been a task."""

    def rejects(*_: Any) -> None:
        raise Rejected("Out of stock", code="out_of_stock")

    monkeypatch.setattr(Inventory, "execute", rejects)

    with pytest.raises(Rejected):
        worked_off(whole(saga, *FORWARD))

    assert states(saga)["inventory"] == StepState.REJECTED
    follow = engine.chain_stopped(saga, 1)
    assert follow is not None
    assert (follow.compensating, follow.steps) == (True, ("payment",))


def test_a_step_that_waits_for_its_next_try_ends_the_chain(saga: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def is_down(*_: Any) -> None:
        raise Unavailable("The carrier is down")

    monkeypatch.setattr(Shipping, "execute", is_down)

    result, left = worked_off(whole(saga, *FORWARD))

    assert (result, left) == ("ORD-1: payment done, inventory done, shipping: The carrier is down", [])
    assert states(saga)["shipping"] == StepState.RETRY_WAIT


def test_a_cancel_between_two_steps_is_met_by_the_second(
    saga: int, order: Order, collapsed: list[Launch], monkeypatch: pytest.MonkeyPatch
) -> None:
    """I cancel while I am being charged: nothing is reserved, and I get my money back."""

    def charges(_: Payment, order: Order, key: str) -> dict[str, Any]:
        Saga.objects.filter(pk=saga).update(cancel_requested_at="2020-01-01T00:00Z")
        return {"charge_id": "ch_1", "amount_minor": order.total_minor}

    monkeypatch.setattr(Payment, "execute", charges)

    _, left = worked_off(whole(saga, *FORWARD))

    assert left == []
    assert [(what.compensating, what.steps) for what in collapsed] == [(True, ("payment",))]


def test_compensations_share_a_task_too(saga: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def rejects(*_: Any) -> None:
        raise Rejected("No such address", code="bad_address")

    monkeypatch.setattr(Shipping, "execute", rejects)
    with pytest.raises(Rejected):
        worked_off(whole(saga, *FORWARD))
    follow = engine.chain_stopped(saga, 1)
    assert follow is not None

    result, left = worked_off(follow)

    assert (follow.steps, left) == (("inventory", "payment"), [])
    assert result == "ORD-1: inventory undone, payment undone"
    assert found(saga).state == SagaState.COMPENSATED


def test_the_boundaries_of_a_message_are_met_where_none_is_sent(saga: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The crash matrix kills a worker between two steps, however they follow each other."""
    met: list[tuple[str, str]] = []
    monkeypatch.setattr(crashpoints, "listener", lambda boundary, step, _: met.append((boundary, step)))

    worked_off(whole(saga, *FORWARD))

    assert [(boundary, step) for boundary, step in met if "publish" in boundary] == [
        ("before_publish", "inventory"),
        ("after_publish", "inventory"),
        ("before_publish", "shipping"),
        ("after_publish", "shipping"),
    ]


def test_what_follows_and_is_not_of_this_order_is_published(saga: int) -> None:
    """Nobody of ours makes such a chain. It is not guessed at."""
    first, *_ = tasks.signatures(whole(saga, "payment"))
    (odd,) = tasks.signatures(Launch(saga=saga + 1, epoch=1, order="ORD-2", compensating=False, steps=("inventory",)))
    task = tasks.TASKS[str(first.task)]
    task.push_request(chain=[dict(odd)], id="1")
    try:
        assert task.run(**first.kwargs) == "ORD-1: payment done"
        assert len(task.request.chain) == 1
    finally:
        task.pop_request()
