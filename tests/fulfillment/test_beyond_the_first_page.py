"""Promise: whoever works through many does so to the last one: pages end within one instant, a page that is all held is passed, and who comes late is found."""

import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import DatabaseError, OperationalError, connection
from django.test.utils import CaptureQueriesContext

from fulfillment import engine, recovery
from fulfillment.circuit import Circuit, CircuitState
from fulfillment.errors import Unavailable
from fulfillment.models import Quarantine, Saga, StepRecord
from fulfillment.recovery import Memory, circuits, clock_jumps, quarantine, sweep
from orders import lowwater, queue_probes
from orders.models import Order
from orders.queue_probes import QueueProbe
from tests.actors import AMARA
from tests.fulfillment.driving import copy_of
from tests.holding import held
from tests.shop_clock import LIMITS_S, ShopClock

PAGE = 10  # small, so that a test has many
MANY = 2 * PAGE + 5
LONG_AGO = "2020-01-01T00:00Z"


@pytest.fixture(autouse=True)
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    for module, name in ((sweep, "BATCH"), (quarantine, "BATCH"), (lowwater, "A_PAGE")):
        assert getattr(module, name) == 100
        monkeypatch.setattr(module, name, PAGE)


@pytest.fixture
def sagas(clock: ShopClock, order: Order) -> list[int]:
    """Their messages are lost, and all are due at one instant."""
    opened = [copy_of(order, f"ORD-{1000 + number}") for number in range(MANY)]
    clock.passes(60)
    QueueProbe.objects.create(queue="saga")
    queue_probes.probe_came_out("saga", clock.now)
    return opened


def launched(memory: Memory | None = None) -> list[int]:
    return [launch.saga for found in recovery.due(memory=memory) for launch in found]


def test_pages_that_end_within_one_instant_leave_nobody_out(sagas: list[int]) -> None:
    assert Saga.objects.values("wake_at").distinct().count() == 1

    assert launched() == sagas


def test_the_oldest_come_first_whichever_page_they_are_on(sagas: list[int], clock: ShopClock) -> None:
    for place, saga in enumerate(sagas, start=1):
        Saga.objects.filter(pk=saga).update(wake_at=clock.now - place * timedelta(minutes=1))

    assert launched() == sagas[::-1]


@pytest.mark.django_db(transaction=True)
def test_a_page_that_somebody_holds_keeps_nobody_behind_it_waiting(sagas: list[int]) -> None:
    last_held = sagas[PAGE + 2]
    with held(f"SELECT FROM fulfillment_saga WHERE id <= {last_held} FOR UPDATE"):
        assert launched() == [saga for saga in sagas if saga > last_held]

    assert launched() == [saga for saga in sagas if saga <= last_held]


def test_thousands_that_cannot_be_read_are_inspected_after_the_others(sagas: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest of all, two pages of them: two of a page are tried, and then the others go first. All are looked at in the same round."""
    monkeypatch.setattr(sweep, "FAILING", 2)
    unreadable, others = sagas[: 2 * PAGE], sagas[2 * PAGE :]
    Saga.objects.filter(pk__in=unreadable).update(plan=["poison"])
    inspected = [[launch.saga for launch in found] for found in recovery.due()]

    assert inspected == [[]] * 4 + [others] + [[]] * (2 * PAGE - 4)
    assert set(Quarantine.objects.values_list("saga_id", flat=True)) == set(unreadable)


def test_who_came_while_a_round_was_under_way_is_found_by_the_next(sagas: list[int], clock: ShopClock) -> None:
    """Committed late, with an instant that lies behind what was read already: more than a page of them."""
    memory = Memory()
    late, others = sagas[: PAGE + 4], sagas[PAGE + 4 :]
    Saga.objects.filter(pk__in=late).update(wake_at=None, state="needs_attention")
    assert launched(memory) == others
    clock.passes(0.5)
    assert launched(memory) == []

    Saga.objects.filter(pk__in=late).update(wake_at=clock.now - timedelta(seconds=45), state="running")

    found: list[int] = []
    for _ in range(5):
        found += launched(memory)
    assert found == late


def test_a_round_that_was_stopped_goes_on_where_it_was(sagas: list[int]) -> None:
    """Its turn was lost in the middle of the second page."""
    Saga.objects.update(relaunches=3)  # too often for a page: they are inspected one by one
    memory, inspections = Memory(), iter(range(MANY))
    first = [launch.saga for found in recovery.due(lambda: next(inspections) < PAGE + 2, memory) for launch in found]

    assert first == sagas[: PAGE + 2]
    assert launched(memory) == sagas[PAGE + 2 :]


def test_those_that_only_wait_in_their_queue_are_put_off_by_the_page(sagas: list[int], clock: ShopClock) -> None:
    """A backlog of ten thousand orders costs the sweep pages, and not ten thousand transactions."""
    Saga.objects.update(launched_at=clock.now)

    pages = -(-MANY // PAGE)
    with CaptureQueriesContext(connection) as asked:
        assert list(recovery.due()) == [[]] * pages

    assert len([one for one in asked if "WITH waits" in one["sql"]]) == pages
    assert len(asked) < 12 * pages
    assert {clock.left(at) for at in Saga.objects.values_list("wake_at", flat=True)} == {LIMITS_S["PATIENCE_S"]}
    assert set(Saga.objects.values_list("relaunches", flat=True)) == {0}
    assert dict(recovery.probes.due()).keys() == {"saga"}


@pytest.mark.parametrize(
    "put_off", [recovery.postpone, lambda sagas: [recovery.inspect_saga(saga) for saga in sagas]], ids=["page", "one by one"]
)
def test_the_longer_they_wait_the_less_often_they_are_inspected(
    sagas: list[int], clock: ShopClock, put_off: Callable[[list[int]], Any]
) -> None:
    """In a queue of ten thousand each waits for minutes: nobody looks at all of them every ten seconds."""
    patience_s, cap_s = LIMITS_S["PATIENCE_S"], LIMITS_S["PATIENCE_CAP_S"]
    QueueProbe.objects.all().delete()
    lefts = {0: patience_s, 1.5 * patience_s: patience_s, 4 * patience_s: 2 * patience_s, 3 * cap_s: cap_s}
    waited = dict(zip(sagas, lefts, strict=False))
    for saga, waited_s in waited.items():
        Saga.objects.filter(pk=saga).update(launched_at=clock.now - timedelta(seconds=waited_s))

    put_off([*waited])

    assert {waited[saga.pk]: clock.left(saga.wake_at) for saga in Saga.objects.filter(pk__in=waited)} == lefts


def test_a_long_queue_is_passed_page_by_page_and_no_further_than_the_turn_lasts(sagas: list[int], clock: ShopClock) -> None:
    """Whoever works through it keeps its turn meanwhile, and whoever has lost it stops."""
    Saga.objects.update(launched_at=clock.now)
    turns = iter([True, False])

    assert list(recovery.due(lambda: next(turns))) == [[]]

    assert Saga.objects.filter(wake_at__gt=clock.now).count() == 2 * PAGE


ALONE = [
    {"launched_at": LONG_AGO},
    {"launched_at": None},
    {"cancel_requested_at": LONG_AGO},
    {"release": 999},
    {"state": "compensating", "failure": "cancelled"},
]


@pytest.mark.parametrize("change", ALONE, ids=["lost", "never sent", "cancelled", "newer", "backward"])
def test_a_page_of_waiting_ones_keeps_nothing_from_one_that_does_not_wait(
    sagas: list[int], clock: ShopClock, change: dict[str, Any]
) -> None:
    Saga.objects.update(launched_at=clock.now)
    Saga.objects.filter(pk=sagas[3]).update(**change)

    assert recovery.postpone(sagas) == {saga for saga in sagas if saga != sagas[3]}


def test_a_page_that_cannot_be_put_off_is_inspected_one_by_one(sagas: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    """One damaged row is no reason to launch none of the others."""

    def broken(*_: Any) -> None:
        raise DatabaseError("a damaged row")

    monkeypatch.setattr(engine, "postpone_all", broken)

    assert launched() == sagas


def test_a_page_that_takes_the_connection_with_it_is_inspected_one_by_one_afterwards(
    sagas: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    def lost(*_: Any) -> None:
        raise OperationalError("the server has closed the connection")

    monkeypatch.setattr(engine, "postpone_all", lost)
    memory = Memory()

    with pytest.raises(OperationalError):
        launched(memory)
    assert launched(memory) == sagas


def test_all_pages_of_the_quarantine_are_inspected(sagas: list[int], clock: ShopClock) -> None:
    for saga in sagas:
        quarantine.add(saga, None, "KeyError", 1.0)
    assert launched() == []
    clock.until(Quarantine.objects.all()[0].inspect_at)

    assert launched() == sagas
    assert not Quarantine.objects.exists()


def test_a_quarantine_that_stays_broken_is_inspected_once_a_round(sagas: list[int], clock: ShopClock) -> None:
    Saga.objects.update(plan=["poison"])
    for saga in sagas:
        quarantine.add(saga, None, "KeyError", 1.0)
    clock.until(Quarantine.objects.all()[0].inspect_at)

    assert launched() == []

    assert set(Quarantine.objects.values_list("failures", flat=True)) == {2}


def test_a_clock_that_was_ahead_is_mended_page_by_page(sagas: list[int], clock: ShopClock) -> None:
    """All of them wake up in a month: nobody waits so long."""
    Saga.objects.update(wake_at=clock.now + timedelta(days=30))

    found: list[int] = []
    for _ in range(3):
        found += launched()
    assert sorted(found) == sagas


def test_what_is_open_is_moved_with_the_clock_in_every_batch(sagas: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock_jumps, "BATCH", 4)
    before = dict(Saga.objects.values_list("pk", "deadline_at"))

    assert recovery.move_with_the_clock(recovery.Jump(-3600.0, time.monotonic())) == MANY

    after = dict(Saga.objects.values_list("pk", "deadline_at"))
    assert {after[saga] - before[saga] for saga in sagas} == {timedelta(hours=-1)}  # type: ignore[operator]
    moved = StepRecord.objects.filter(saga__in=sagas, name="payment").values_list("scheduled_at", flat=True)
    assert {at + timedelta(hours=1) for at in moved if at} == {Saga.objects.values_list("opened_at", flat=True)[0]}


# --- circuits ----------------------------------------------------------------------------------------------------------------


@pytest.fixture
def waiting(clock: ShopClock, order: Order) -> list[int]:
    """Three that have failed, and twenty that came after them."""
    sagas = [copy_of(order, f"ORD-{2000 + number}") for number in range(23)]
    for saga in sagas[:3]:
        claim = engine.start(saga, 1, "payment", False)
        assert claim is not None
        engine.record_failure(claim, Unavailable("down", code="connect_failed"))
    for saga in sagas:
        clock.until(max(clock.now, Saga.objects.get(pk=saga).wake_at or clock.now) if saga in sagas[:2] else clock.now)
        if saga in sagas[:2]:
            recovery.inspect_saga(saga)
        else:
            engine.could_not_start(saga, 1)
    assert Saga.objects.exclude(held_by="").count() == 23
    return sagas


def test_whoever_waits_before_a_circuit_is_woken_in_every_batch_at_one_rate(
    waiting: list[int], clock: ShopClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(circuits, "BATCH", 5)
    circuits.release("payments.sandbox.do", AMARA, "it is back")

    assert list(recovery.launch_probes()) == []

    wakes = Saga.objects.order_by("id").values_list("wake_at", flat=True)
    assert [clock.left(at) for at in wakes] == [pytest.approx(place / circuits.WOKEN_PER_S) for place in range(1, 24)]
    assert not Circuit.objects.get().wakes


def test_the_probe_goes_round_all_who_wait_and_begins_again(waiting: list[int], clock: ShopClock) -> None:
    """More than it considers at once."""
    asked = []
    for _ in range(25):
        clock.until(Circuit.objects.get().next_probe_at)
        (launch,) = recovery.launch_probes()
        claim = engine.start(launch.saga, launch.epoch, "payment", False)
        assert claim is not None
        engine.record_failure(claim, Unavailable("down", code="connect_failed"))
        asked.append(launch.saga)

    assert asked == [*waiting, *waiting[:2]]
    assert Circuit.objects.get().state == CircuitState.OPEN
