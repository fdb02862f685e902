"""Promise: after a broker was wiped, a page of lost messages costs a handful of statements, and writes what the inspection of each saga would have written."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, transaction
from django.db.models import F
from django.test.utils import CaptureQueriesContext

from fulfillment import engine, keys, recovery
from fulfillment.circuit import Circuit
from fulfillment.engine import Launch, lost_messages
from fulfillment.models import Quarantine, Saga, StepRecord
from orders import queue_probes
from orders.models import Order
from orders.queue_probes import QueueProbe
from tests.fulfillment.driving import copy_of, found, paid, refused
from tests.fulfillment.test_hot_path import rows
from tests.holding import held
from tests.shop_clock import LIMITS_S, ShopClock

Twist = Callable[[int, ShopClock], Any]
A_PAGE = 100
PLAIN: dict[str, Twist] = {
    "lost": lambda saga, clock: None,
    "the broker never took it": lambda saga, clock: Saga.objects.filter(pk=saga).update(launched_at=None),
    "lost again": lambda saga, clock: Saga.objects.filter(pk=saga).update(relaunches=2),
    "at its second step": lambda saga, clock: scheduled_again(saga, clock, "inventory"),
    "tried before": lambda saga, clock: StepRecord.objects.filter(saga=saga, name="payment").update(tries=1),
    "no deadline": lambda saga, clock: Saga.objects.filter(pk=saga).update(deadline_at=None),
    "another circuit is open": lambda saga, clock: open_circuit("carrier.sandbox.do"),
    "a day ago": lambda saga, clock: clock.passes(25 * 3600),
}
LEFT_OUT: dict[str, Twist] = {
    "it may still wait": lambda saga, clock: Saga.objects.filter(pk=saga).update(launched_at=clock.now),
    "its clock was ahead": lambda saga, clock: Saga.objects.filter(pk=saga).update(launched_at=clock.now + timedelta(hours=1)),
    "a cancel": lambda saga, clock: Saga.objects.filter(pk=saga).update(cancel_requested_at=clock.now),
    "a hold": lambda saga, clock: Saga.objects.filter(pk=saga).update(held_by="payments.sandbox.do", held_at=clock.now),
    "its circuit is open": lambda saga, clock: open_circuit("payments.sandbox.do"),
    "a newer release": lambda saga, clock: Saga.objects.filter(pk=saga).update(release=9_999),
    "left to others": lambda saga, clock: Saga.objects.filter(pk=saga).update(left_since=clock.now),
    "lost too often": lambda saga, clock: Saga.objects.filter(pk=saga).update(relaunches=lost_messages.PLAIN),
    "past its deadline": lambda saga, clock: Saga.objects.filter(pk=saga).update(deadline_at=clock.now - timedelta(days=2)),
    "out of tries": lambda saga, clock: StepRecord.objects.filter(saga=saga, name="payment").update(tries=1_000),
    "started": lambda saga, clock: engine.start(saga, 1, "payment", compensating=False),
    "our database's trouble": lambda saga, clock: StepRecord.objects.filter(saga=saga, name="payment").update(error_code="own_database"),
    "the next step is not pending": lambda saga, clock: StepRecord.objects.filter(saga=saga, name="shipping").update(state="not_needed"),
    "another version": lambda saga, clock: of_plan(saga, version=7),
    "another provider": lambda saga, clock: of_plan(saga, gateway="elsewhere"),
    "another step": lambda saga, clock: of_plan(saga, name="gift_wrap"),
    "backward": lambda saga, clock: Saga.objects.filter(pk=saga).update(state="compensating", failure="cancelled"),
}


def scheduled_again(saga: int, clock: ShopClock, name: str) -> None:
    paid(saga)
    assert StepRecord.objects.get(saga=saga, name=name).state == "scheduled"
    clock.passes(60)


def open_circuit(name: str) -> None:
    Circuit.objects.update_or_create(name=name, defaults={"state": "open", "opened_at": "2027-01-04T09:00Z"})


def of_plan(saga: int, **pinned: Any) -> None:
    plan = Saga.objects.get(pk=saga).plan
    Saga.objects.filter(pk=saga).update(plan=[plan[0] | pinned, *plan[1:]])


def comes_out(clock: ShopClock) -> None:
    """A probe: whatever was published longer ago than a hard limit is lost."""
    QueueProbe.objects.get_or_create(queue="saga")
    queue_probes.probe_came_out("saga", clock.now)


def saga_of(order: Order, clock: ShopClock, twist: Twist) -> int:
    saga = engine.open_saga(order).saga
    clock.passes(60)
    twist(saga, clock)
    comes_out(clock)
    return saga


def written(order: Order, clock: ShopClock, twist: Twist, look: Callable[[int], Any]) -> tuple[Any, ...]:
    """What ``look`` returns, and the rows after it. Everything is taken back."""
    began = clock.now
    with transaction.atomic():
        seen = look(saga_of(order, clock, twist))
        now = rows()
        transaction.set_rollback(True)
    clock.now = began
    clock.passes(0)
    return seen, now


def of_any_saga(launch: Launch | None) -> dict[str, Any]:
    assert launch is not None
    return {name: value for name, value in vars(launch).items() if name != "saga"}


@pytest.fixture(autouse=True)
def one_nonce(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys, "new_nonce", lambda: "abcdefghij")


@pytest.fixture
def sagas(clock: ShopClock, order: Order) -> list[int]:
    """A page of them, whose messages are lost."""
    opened = [copy_of(order, f"ORD-{1000 + number}") for number in range(A_PAGE)]
    clock.passes(60)
    comes_out(clock)
    return opened


def published() -> list[int]:
    return [launch.saga for several in recovery.due() for launch in several]


@pytest.mark.parametrize("plain", PLAIN)
def test_a_page_writes_the_same_rows_as_an_inspection(order: Order, clock: ShopClock, plain: str) -> None:
    """My order's history does not say how many others were lost with it."""
    one, by_itself = written(order, clock, PLAIN[plain], recovery.inspect_saga)

    launches, by_the_page = written(order, clock, PLAIN[plain], lambda saga: recovery.relaunch([saga]))

    assert [of_any_saga(launch) for launch in launches] == [of_any_saga(one)]
    assert by_the_page == by_itself


def test_each_publication_has_a_name_of_its_own(order: Order, clock: ShopClock) -> None:
    """A worker discards for ever, and silently, a task whose id was revoked."""
    saga, runs = saga_of(order, clock, PLAIN["lost"]), []
    for by_the_page in (True, False, True):
        launch = recovery.relaunch([saga])[0] if by_the_page else recovery.inspect_saga(saga)
        assert launch is not None
        runs.append(launch.run)
        clock.passes(LIMITS_S["PATIENCE_CAP_S"] + 1)
        comes_out(clock)

    assert runs == ["e1.r1", "e1.r2", "e1.r3"]


@pytest.mark.parametrize("unusual", LEFT_OUT)
def test_what_is_unusual_is_left_to_an_inspection_as_it_was(order: Order, clock: ShopClock, unusual: str) -> None:
    """A page changes nothing of it."""
    _, untouched = written(order, clock, LEFT_OUT[unusual], lambda saga: None)

    launches, after = written(order, clock, LEFT_OUT[unusual], lambda saga: recovery.relaunch([saga]))

    assert launches == []
    assert after == untouched


def test_nothing_is_lost_before_a_probe_says_so(order: Order, clock: ShopClock) -> None:
    saga = engine.open_saga(order).saga
    clock.passes(60)

    assert recovery.relaunch([saga]) == []


@pytest.mark.parametrize("compensating", [False, True])
def test_what_a_probe_proves_lost_is_launched_at_once(order: Order, clock: ShopClock, compensating: bool) -> None:
    """It was put off for minutes, because nobody knew. It does not wait for their end."""
    memory, saga = recovery.Memory(), engine.open_saga(order).saga
    if compensating:
        refused(saga)
        QueueProbe.objects.create(queue="compensation")
    comes_out(clock)
    clock.passes(60)
    assert not any(recovery.due(memory=memory))
    assert clock.left(found(saga).wake_at) == 30

    clock.passes(1)
    assert not any(recovery.due(memory=memory))
    queue_probes.probe_came_out("compensation" if compensating else "saga", clock.now)

    assert [launch.saga for several in recovery.due(memory=memory) for launch in several] == [saga]


@pytest.mark.parametrize(
    "change",
    [{"relaunches": 3}, {"state": "needs_attention"}, {"launched_at": None}, {"release": 9_999}, {"left_since": "2027-01-04T09:00Z"}],
    ids=str,
)
def test_what_waits_for_another_reason_is_not_woken_by_a_probe(order: Order, clock: ShopClock, change: dict[str, Any]) -> None:
    saga = engine.open_saga(order).saga
    clock.passes(60)
    Saga.objects.filter(pk=saga).update(wake_at=clock.now + timedelta(seconds=30), **change)
    comes_out(clock)

    assert not published()
    assert clock.left(found(saga).wake_at) == 30


def test_a_started_step_is_not_woken_by_a_probe(order: Order, clock: ShopClock) -> None:
    """Its message was published long ago, and has come."""
    saga = engine.open_saga(order).saga
    clock.passes(60)
    assert engine.start(saga, 1, "payment", compensating=False)
    Saga.objects.filter(pk=saga).update(due_from=F("wake_at"))
    comes_out(clock)

    assert not published()
    assert clock.left(found(saga).wake_at) == LIMITS_S["LEASE_S"]


def test_a_page_is_published_in_a_handful_of_statements(sagas: list[int]) -> None:
    """A thousand orders are at work again within seconds."""
    with CaptureQueriesContext(connection) as asked:
        assert [[launch.saga for launch in several] for several in recovery.due() if several] == [sagas]

    assert len(asked) <= 25, [one["sql"][:100] for one in asked]
    assert set(Saga.objects.values_list("relaunches", flat=True)) == {1}
    assert not published()


@pytest.mark.django_db(transaction=True)
def test_whoever_is_held_keeps_none_of_its_page_waiting(sagas: list[int]) -> None:
    kept = sagas[3:6]
    with held(f"SELECT FROM fulfillment_saga WHERE id IN ({kept[0]}, {kept[1]}, {kept[2]}) FOR UPDATE"):
        assert published() == [saga for saga in sagas if saga not in kept]

    assert published() == kept


@pytest.mark.parametrize("plan", [["poison"], "poison", [None], 7], ids=str)
def test_what_cannot_be_read_costs_its_page_nothing(sagas: list[int], plan: Any) -> None:
    """It goes into quarantine, and a thousand others are launched at once."""
    Saga.objects.filter(pk=sagas[7]).update(plan=plan)
    groups = [[launch.saga for launch in several] for several in recovery.due()]

    assert groups[0] == [saga for saga in sagas if saga != sagas[7]]
    assert list(Quarantine.objects.values_list("saga_id", flat=True)) == [sagas[7]]


def test_what_was_lost_again_and_again_is_read_as_a_whole(sagas: list[int], clock: ShopClock) -> None:
    """What a page need not read may be damaged. That is noticed after a few times."""
    poisoned = sagas[7]
    StepRecord.objects.filter(saga=poisoned, name="shipping").update(state="pending", receipt="poison")
    for _ in range(lost_messages.PLAIN):
        assert poisoned in published()
        clock.passes(LIMITS_S["PATIENCE_CAP_S"] + 1)
        comes_out(clock)

    with CaptureQueriesContext(connection) as asked:
        assert set(published()) == set(sagas)
    assert len(asked) > len(sagas)


def test_a_broker_that_refuses_is_offered_one_at_a_time(sagas: list[int]) -> None:
    """A page that is launched in vain would be written again and again."""
    memory = recovery.Memory(was_refused=True)

    assert [launch.saga for launch in next(iter(recovery.due(memory=memory)))] == sagas[:1]
    assert Saga.objects.filter(relaunches=1).count() == 1
