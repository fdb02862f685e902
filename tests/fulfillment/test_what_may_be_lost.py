"""Promise: which commits wait for the disk. Whatever raises an epoch, schedules, records for good or answers a person does; what only repeats something harmless
does not. And a worker's own lease never ends after the one that others read.
"""

import math
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from django.conf import settings
from django.db import connection

from fulfillment import circuit, crashpoints, engine, recovery, tasks
from fulfillment.errors import Busy, InDoubt, Rejected, StepError, Unavailable
from fulfillment.gateways.lease import Lease, current_lease
from fulfillment.gateways.sandbox import LOOKUP_LAG_S
from fulfillment.models import Saga, StepRecord, StepState, StockLevel
from fulfillment.provider_call import call_provider
from fulfillment.recovery import Request, decide, version_of
from fulfillment.step import Compensation, Receipt
from fulfillment.steps.payment import Payment
from orders.models import Order
from tests.actors import AMARA
from tests.fulfillment.conftest import SandboxProcess, now_due
from tests.fulfillment.driving import cancelled, compensation_failed, copy_of, paid, refused, start
from tests.proofs.durability import may_be_lost
from tests.shop_clock import ShopClock


def waits_for_the_disk(work: Callable[[], Any]) -> bool:
    """Read from the statements of the work itself."""
    statements: list[str] = []
    lost: list[bool] = []

    def note(execute: Callable[..., Any], sql: str, params: Any, many: bool, context: dict[str, Any]) -> Any:
        statements.append(sql)
        result = execute(sql, params, many, context)
        lost.append(may_be_lost(sql, context))
        return result

    with connection.execute_wrapper(note), suppress(StepError):
        work()
    assert any(sql.lstrip().startswith(("INSERT", "UPDATE", "WITH", "DELETE")) for sql in statements), statements
    return not any(lost)


@pytest.mark.parametrize(
    ("gateway", "waits"), [("sandbox", False), ("sandbox_watch", False), ("sandbox_keyless", True)], ids=["keys", "no tombstone", "no keys"]
)
def test_a_start_waits_where_the_provider_knows_no_keys(order: Order, settings: Any, gateway: str, waits: bool) -> None:
    settings.PAYMENTS_GATEWAY = gateway
    saga = engine.open_saga(order).saga

    assert waits_for_the_disk(lambda: start(saga)) is waits


@pytest.mark.parametrize(("before_s", "waits"), [(1.0, False), (0.0, True)], ids=["just within it", "at its end"])
@pytest.mark.parametrize("compensating", [False, True], ids=["do", "compensate"])
def test_a_start_waits_once_the_provider_has_forgotten_its_key(
    clock: ShopClock, order: Order, compensating: bool, before_s: float, waits: bool
) -> None:
    """A message that waited for a day: from then on a provider with keys is as one without, for a lease before the window ends already."""
    saga = engine.open_saga(order).saga
    scheduled_at = clock.now
    if compensating:
        refused(saga)
    clock.until(scheduled_at, settings.KEY_WINDOW_S - settings.LEASE_S - before_s)

    assert waits_for_the_disk(lambda: start(saga, compensating=compensating)) is waits


def test_a_start_of_what_calls_nobody_never_waits(clock: ShopClock, order: Order) -> None:
    saga = engine.open_saga(order).saga
    Saga.objects.filter(pk=saga).update(plan=[entry | {"role": "", "gateway": ""} for entry in Saga.objects.get(pk=saga).plan])
    clock.passes(settings.KEY_WINDOW_S * 2)

    assert not waits_for_the_disk(lambda: start(saga))


@pytest.mark.parametrize("compensating", [False, True], ids=["do", "compensate"])
def test_a_probe_s_start_waits(clock: ShopClock, order: Order, compensating: bool) -> None:
    """While its provider is out, what was not started is taken for never called: a probe whose start was lost would be forgotten, with what it has done."""
    saga = engine.open_saga(order).saga
    if compensating:
        refused(saga)
    name = circuit.name_of("payments", "sandbox", compensating)
    for other in range(circuit.ORDERS_THAT_OPEN):
        circuit.failed(name, f"ORD-{10 + other}", -other, "The provider is down.", counts=True)
    engine.could_not_start(saga, Saga.objects.get(pk=saga).epoch)
    clock.until(circuit.Circuit.objects.get(pk=name).next_probe_at)
    assert [launch.saga for launch in recovery.launch_probes()] == [saga]

    assert waits_for_the_disk(lambda: start(saga, compensating=compensating))


def test_opening_waits(order: Order) -> None:
    """The customer is told that the order is placed."""
    assert waits_for_the_disk(lambda: engine.open_saga(order))


@pytest.mark.parametrize(
    ("error", "waits"),
    [(None, True), (Rejected("no", code="card_declined"), True), (Unavailable("down"), False), (InDoubt("?"), False), (Busy("?"), False)],
    ids=["success", "rejected", "unavailable", "in doubt", "busy"],
)
@pytest.mark.parametrize("compensating", [False, True], ids=["do", "compensate"])
def test_an_outcome_waits_if_it_is_final(saga: int, error: StepError | None, compensating: bool, waits: bool) -> None:
    if compensating:
        paid(saga)
        StockLevel.objects.update(on_hand=0)
        with pytest.raises(Rejected):
            engine.run_local(saga, 1, "inventory", compensating=False)
        engine.chain_stopped(saga, 1)
    claim = start(saga, compensating=compensating)
    receipt = {"charge_id": "c", "amount_minor": 100}

    assert waits_for_the_disk(lambda: engine.record_failure(claim, error) if error else engine.record_success(claim, receipt)) is waits


@pytest.mark.parametrize("on_hand", [3, 0], ids=["held", "out of stock"])
def test_a_step_on_our_own_rows_waits(saga: int, on_hand: int) -> None:
    paid(saga)
    StockLevel.objects.update(on_hand=on_hand)

    assert waits_for_the_disk(lambda: engine.run_local(saga, 1, "inventory", compensating=False))


def test_the_last_outcome_waits(saga: int) -> None:
    paid(saga)
    engine.run_local(saga, 1, "inventory", compensating=False)
    claim = start(saga, "shipping")

    assert waits_for_the_disk(lambda: engine.record_success(claim, {"label_id": "l", "tracking": "t"}))


@pytest.mark.parametrize("state", [StepState.STARTED, StepState.IN_DOUBT, StepState.REJECTED])
def test_whatever_raises_an_epoch_waits(saga: int, state: StepState) -> None:
    """A take-over, a retry, a turn: whoever was fenced off must stay so."""
    start(saga)
    StepRecord.objects.filter(saga=saga, name="payment").update(state=state)
    now_due(saga)

    assert waits_for_the_disk(lambda: recovery.inspect_saga(saga))
    assert Saga.objects.get(pk=saga).epoch == 2


def test_an_errback_that_fences_a_worker_off_waits(saga: int) -> None:
    start(saga)

    assert waits_for_the_disk(lambda: engine.chain_stopped(saga, 1))


def test_a_decision_by_a_person_and_a_cancel_by_the_customer_wait(saga: int, order: Order) -> None:
    other = copy_of(order, "ORD-2")
    compensation_failed(saga)
    request = Request(order=order.number, verb="retry", version=version_of(order.pk), actor=AMARA, reason="mended")

    assert waits_for_the_disk(lambda: decide(request))
    assert waits_for_the_disk(lambda: recovery.cancel("ORD-2", "web-shop"))
    assert Saga.objects.get(pk=other).cancel_requested_at is not None


def test_whoever_opens_an_incident_of_an_order_that_needs_a_person_waits(saga: int) -> None:
    Saga.objects.update(relaunches=settings.POISON_AFTER)
    now_due(saga)

    assert waits_for_the_disk(lambda: recovery.inspect_saga(saga))


@pytest.mark.parametrize("what", ["postponed", "not published", "put off", "heartbeat"])
def test_what_only_repeats_itself_does_not(saga: int, what: str) -> None:
    Saga.objects.update(wake_at="2020-01-01T00:00Z")
    launch = engine.Launch(saga=saga, epoch=1, order="ORD-1", compensating=False, steps=("payment",))
    work: dict[str, Callable[[], Any]] = {
        "postponed": lambda: recovery.inspect_saga(saga),
        "not published": lambda: recovery.not_published(launch),
        "put off": lambda: engine.put_off(saga, 1, "payment", False, None, is_held=True),
        "heartbeat": recovery.record_heartbeat,
    }

    assert not waits_for_the_disk(work[what])


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("compensating", [False, True], ids=["do", "compensate"])
def test_a_worker_s_own_lease_begins_before_the_one_that_others_read(
    saga: int, order: Order, sandbox: SandboxProcess, settings: Any, monkeypatch: pytest.MonkeyPatch, compensating: bool
) -> None:
    """However long its start takes: it sends nothing once it may have been taken over."""
    settings.SANDBOX_URL = sandbox.url
    if compensating:
        cancelled(saga)
    asked: list[float] = []
    leases: list[float] = []

    def slowly(execute: Callable[..., Any], sql: str, *rest: Any) -> Any:
        if "WITH seen" in sql:
            asked.append(time.monotonic())
            time.sleep(0.1)
        return execute(sql, *rest)

    def reached(boundary: str, step: str, compensating: bool | None) -> None:
        if boundary == "before_call" and (lease := current_lease.get()):
            assert lease.seconds == settings.LEASE_S
            leases.append(lease.started_monotonic)

    monkeypatch.setattr(crashpoints, "listener", reached)
    with connection.execute_wrapper(slowly):
        name = "fulfillment.compensate_payment" if compensating else "fulfillment.payment"
        tasks.TASKS[name](saga=saga, epoch=Saga.objects.get().epoch, order=order.number)

    assert leases
    assert leases[0] <= asked[0]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the bank is asked, in turn. It has given everything back already."""
    calls: list[str] = []

    def refund(step: Payment, order: Order, compensation: Compensation) -> Receipt:
        calls.append("refund")
        return {"amount_minor": compensation.amount_minor}

    def charge(step: Payment, order: Order, key: str) -> Receipt:
        calls.append("charge")
        return {"amount_minor": order.total_minor, "currency": order.currency}

    def look(what: str, found: object) -> Callable[..., Any]:
        def looks(*_: object) -> object:
            calls.append(what)
            return found

        return looks

    monkeypatch.setattr(Payment, "left", look("left", 0))
    monkeypatch.setattr(Payment, "resolve", look("look", None))
    monkeypatch.setattr(Payment, "compensate", refund)
    monkeypatch.setattr(Payment, "execute", charge)
    return calls


@pytest.mark.parametrize(
    ("before_end_s", "after_lag_s", "expected"),
    [(1.0, None, ["once"]), (0.0, None, []), (None, 0.0, []), (None, 1.0, ["look first"])],
    ids=["remembered", "within the last lease", "within the lag", "after the lag"],
)
@pytest.mark.parametrize("compensating", [False, True], ids=["do", "compensate"])
def test_a_key_that_may_be_forgotten_is_used_only_once_no_lost_try_can_land(
    clock: ShopClock,
    order: Order,
    asked: list[str],
    compensating: bool,
    before_end_s: float | None,
    after_lag_s: float | None,
    expected: list[str],
) -> None:
    """An earlier start may have been lost with the database, and its worker may have called all the same: nothing says that it is in doubt."""
    saga = engine.open_saga(order).saga
    scheduled_at = clock.now
    if compensating:
        refused(saga)
    if before_end_s is not None:
        clock.until(scheduled_at, settings.KEY_WINDOW_S - settings.LEASE_S - before_end_s)
    else:
        clock.until(scheduled_at, settings.KEY_WINDOW_S + LOOKUP_LAG_S * settings.TIME_SCALE + (after_lag_s or 0.0))
    claim = replace(start(saga, compensating=compensating), watched_s=math.inf)

    outcome = call_provider(Payment(), claim, Lease.begin(settings.LEASE_S))

    calls = {False: {"once": ["charge"], "look first": ["look", "charge"]}, True: {"once": ["refund"], "look first": ["left"]}}[
        compensating
    ]
    assert asked == [call for what in expected for call in calls[what]]
    assert isinstance(outcome, Busy) is (not expected)
