"""Promise: two sessions at once, elsewhere than at one saga's row: one wins, the other hears of it, and nothing is counted twice or lost."""

from datetime import UTC, datetime
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.db import transaction

from fulfillment import engine, ledger, recovery, stock, tasks
from fulfillment.circuit import Circuit, CircuitState
from fulfillment.errors import Unavailable
from fulfillment.ledger import LedgerEntry
from fulfillment.models import Quarantine, Reservation, Saga, SagaState, StepRecord, StepState, StockLevel
from fulfillment.recovery import Refused, Request, decide, quarantine, version_of
from fulfillment.recovery import circuits as caring
from orders.api import placing
from orders.attention import Incident, IncidentKind, open_incident
from orders.models import Order, Product
from orders.operators import Actor
from orders.timeline import TimelineEntry
from tests.actors import AMARA, BELA
from tests.fulfillment.conftest import now_due
from tests.fulfillment.driving import copy_of, found, in_doubt, paid, parked_forward, undo_failed
from tests.sides import at_once

pytestmark = pytest.mark.django_db(transaction=True)
PAY, DOWN = "payments.sandbox.do", Unavailable("down", code="connect_failed")
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


def in_one(work: Any, *args: Any, **named: Any) -> Any:
    """In a transaction of its own."""

    def run() -> Any:
        with transaction.atomic():
            return work(*args, **named)

    return run


# --- stock -----------------------------------------------------------------------------------------------------------------


@pytest.fixture
def levels(transactional_db: None) -> None:
    StockLevel.objects.bulk_create([StockLevel(sku="A", on_hand=1), StockLevel(sku="B", on_hand=10), StockLevel(sku="C", on_hand=10)])


def numbers(sku: str) -> tuple[int, int]:
    level = StockLevel.objects.get(sku=sku)
    return level.on_hand, level.reserved


def test_the_last_piece_is_held_for_one_of_two(levels: None) -> None:
    """The other one waits for a moment, and hears that it has gone."""
    first, second = at_once(in_one(stock.reserve, "ORD-1", {"A": 1}), "UPDATE", in_one(stock.reserve, "ORD-2", {"A": 1}), must_wait=True)

    assert isinstance(first, list)
    assert isinstance(second, stock.OutOfStock)
    assert numbers("A") == (1, 1)
    assert list(Reservation.objects.values_list("order_number", flat=True)) == ["ORD-1"]


def test_two_orders_with_the_same_products_in_opposite_order_never_wait_for_each_other(levels: None) -> None:
    """Neither of them is ended by the database."""
    first, second = at_once(
        in_one(stock.reserve, "ORD-1", {"B": 1, "C": 1}), "UPDATE", in_one(stock.reserve, "ORD-2", {"C": 1, "B": 1}), must_wait=True
    )

    assert (isinstance(first, list), isinstance(second, list)) == (True, True), (first, second)
    assert (numbers("B"), numbers("C")) == ((10, 2), (10, 2))


@pytest.mark.parametrize("what", [stock.consume, stock.release_all])
def test_what_leaves_or_comes_back_takes_its_products_in_the_same_order(levels: None, what: Any) -> None:
    stock.reserve("ORD-1", {"C": 1})
    more = [Reservation.objects.create(order_number="ORD-1", sku="B", quantity=1)]  # written later, sorted before
    StockLevel.objects.filter(sku="B").update(reserved=1)

    first, second = at_once(
        in_one(what, "ORD-1"), 'UPDATE "fulfillment_stocklevel"', in_one(stock.reserve, "ORD-2", {"B": 1, "C": 1}), must_wait=True
    )

    assert (first, isinstance(second, list), len(more)) == (None, True, 1)
    assert numbers("B")[1] == numbers("C")[1] == 1


def test_what_is_given_back_twice_at_once_comes_back_once(levels: None) -> None:
    held = stock.reserve("ORD-1", {"B": 3})

    at_once(in_one(stock.release, held), "FOR UPDATE", in_one(stock.release_all, "ORD-1"), must_wait=True)

    assert numbers("B") == (10, 0)


def test_what_leaves_and_is_given_back_at_once_does_one_of_both(levels: None) -> None:
    stock.reserve("ORD-1", {"B": 3})

    at_once(in_one(stock.consume, "ORD-1"), "FOR UPDATE", in_one(stock.release_all, "ORD-1"), must_wait=True)

    assert numbers("B") == (7, 0)


# --- an Idempotency-Key ------------------------------------------------------------------------------------------------------


@pytest.fixture
def wanted(transactional_db: None) -> dict[str, Any]:
    Product.objects.create(sku="TENT", name="Tent", price_minor=18_900, currency="EUR")
    StockLevel.objects.create(sku="TENT", on_hand=10)
    return {
        "reference": "", "currency": "EUR", "customer": {"email": "a@example.com", "name": "A"}, "lines": [{"sku": "TENT", "quantity": 1}],
        "payment": {"token": "tok_ok"}, "shipping_address": {},
    }  # fmt: skip


@pytest.mark.parametrize("after", ['INSERT INTO "orders_order"', 'INSERT INTO "fulfillment_saga"'])
def test_one_key_in_two_transactions_is_one_order(wanted: dict[str, Any], monkeypatch: pytest.MonkeyPatch, after: str) -> None:
    """The second one waits for the first, and is given its order."""
    monkeypatch.setattr(tasks, "launch", lambda what: True)
    client = User.objects.create(username="web-shop")

    def place() -> placing.Placed:
        return placing.place(client, "k", wanted, "c")

    first, second = at_once(place, after, place, must_wait=True)

    assert (first.replayed, second.replayed) == (False, True)
    assert first.order.number == second.order.number
    assert (Order.objects.count(), Saga.objects.count()) == (1, 1)


def test_one_key_for_two_bodies_at_once_is_the_first_one_s(wanted: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "launch", lambda what: True)
    client = User.objects.create(username="web-shop")
    other = wanted | {"lines": [{"sku": "TENT", "quantity": 2}]}

    first, second = at_once(
        lambda: placing.place(client, "k", wanted, "c"), 'INSERT INTO "orders_order"', lambda: placing.place(client, "k", other, "c"), True
    )

    assert not first.replayed
    assert "another body" in str(second)
    assert Order.objects.count() == 1


# --- money -------------------------------------------------------------------------------------------------------------------


def test_one_key_is_entered_in_the_ledger_once(order: Order) -> None:
    enter = in_one(ledger.enter, order.pk, "payment", LedgerEntry.Operation.CAPTURED, "k", 100)

    at_once(enter, "INSERT", enter, must_wait=True)

    assert ledger.remaining(order.pk) == 100


# --- circuits ------------------------------------------------------------------------------------------------------------------


def fails(saga: int) -> Any:
    claim = engine.start(saga, found(saga).epoch, "payment", False)
    assert claim is not None
    return lambda: engine.settle_failure(claim, DOWN)


def test_two_orders_that_fail_at_once_are_both_counted(saga: int, order: Order) -> None:
    second = copy_of(order, "ORD-2")
    Circuit.objects.create(name=PAY)

    at_once(fails(saga), '"fulfillment_circuit"."name" ASC LIMIT 1 FOR UPDATE', fails(second), True)

    assert sorted(Circuit.objects.get().failures) == ["ORD-1", "ORD-2"]


def test_the_first_two_failures_ever_are_both_counted(saga: int, order: Order) -> None:
    """There is no row yet that they could lock."""
    at_once(fails(saga), 'INSERT INTO "fulfillment_circuit"', fails(copy_of(order, "ORD-2")), must_wait=True)

    assert sorted(Circuit.objects.get().failures) == ["ORD-1", "ORD-2"]


def opened(order: Order) -> list[int]:
    sagas = [copy_of(order, f"ORD-F{number}") for number in range(3)]
    for saga in sagas:
        fails(saga)()
    for saga in sagas:
        now_due(saga)
        recovery.look(saga)
    assert Circuit.objects.get().state == CircuitState.OPEN
    return sagas


def test_two_sweeps_send_one_probe(order: Order) -> None:
    """However they meet: an order that is called is called as the only one."""
    first, second, _ = opened(order)
    Circuit.objects.update(next_probe_at=LONG_AGO)

    launches = at_once(lambda: caring._probe(PAY, first), 'FROM "fulfillment_circuit"', lambda: caring._probe(PAY, second), must_wait=True)

    assert [launch.saga for launch in launches if launch] == [first]
    assert Circuit.objects.get().probe == first
    assert StepRecord.objects.filter(name="payment", state=StepState.GRANTED).count() == 1


def test_two_rounds_at_once_send_one_probe(order: Order) -> None:
    opened(order)
    Circuit.objects.update(next_probe_at=LONG_AGO)

    one, other = at_once(
        lambda: list(recovery.circuit_probes()), 'UPDATE "fulfillment_circuit"', lambda: list(recovery.circuit_probes()), None
    )

    assert len(one) + len(other) == 1


def test_who_begins_to_wait_while_a_circuit_closes_is_woken(order: Order) -> None:
    """Closing waits until the hold is written, so that whoever wakes them finds it."""
    opened(order)
    late = copy_of(order, "ORD-9")

    def closes() -> None:
        caring.release(PAY, AMARA, "it is back")
        list(recovery.circuit_probes())

    at_once(lambda: engine.could_not_start(late, 1), "FOR SHARE", closes, must_wait=True)

    it = found(late)
    assert it.held_by == PAY
    assert it.wake_at is not None
    assert (it.wake_at - it.held_at).total_seconds() < 5  # type: ignore[operator]


def test_a_probe_s_answer_and_a_person_s_hold_at_once_end_as_the_later_one_says(order: Order) -> None:
    opened(order)
    Circuit.objects.update(next_probe_at=LONG_AGO)
    (launch,) = recovery.circuit_probes()
    claim = engine.start(launch.saga, launch.epoch, "payment", False)
    assert claim is not None

    at_once(
        lambda: engine.settle_success(claim, {"charge_id": "c", "amount_minor": 100}),
        'FROM "fulfillment_circuit"',
        lambda: caring.hold(PAY, AMARA, "audit"),
        must_wait=True,
    )

    circuit = Circuit.objects.get()
    assert (circuit.state, circuit.held_by, circuit.wakes) == (CircuitState.OPEN, "amara", False)


# --- two sweeps ---------------------------------------------------------------------------------------------------------------


def test_two_sweeps_publish_one_message(saga: int) -> None:
    now_due(saga)

    launches = at_once(lambda: recovery.look(saga), "FOR UPDATE", lambda: list(recovery.due()), must_wait=False)

    assert launches[0] is not None
    assert launches[1] == [None]
    assert (found(saga).relaunches, found(saga).epoch) == (1, 1)


def test_two_sweeps_on_one_row_of_the_quarantine_count_both_looks(saga: int, order: Order) -> None:
    hold = in_one(quarantine.hold, saga, order.pk, "KeyError", 1.0)

    at_once(hold, "INSERT INTO fulfillment_quarantine", hold, must_wait=True)

    assert Quarantine.objects.get().failures == 2


def test_two_sweeps_that_tell_at_once_tell_once(saga: int, order: Order) -> None:
    for _ in range(settings.POISON_AFTER):
        quarantine.hold(saga, order.pk, "KeyError", 1.0)

    at_once(
        lambda: quarantine.tell(saga, order.pk, "KeyError"),
        'INSERT INTO "orders_incident"',
        lambda: quarantine.tell(saga, order.pk, "KeyError"),
    )

    assert Incident.objects.count() == 1
    assert TimelineEntry.objects.filter(kind="incident").count() == 1


def test_what_has_healed_is_worked_on_once_by_two_sweeps_and_leaves_the_quarantine(saga: int, order: Order) -> None:
    quarantine.hold(saga, order.pk, "KeyError", 1.0)
    Quarantine.objects.update(look_at=LONG_AGO)
    now_due(saga)

    one, other = at_once(lambda: list(recovery.due()), 'UPDATE "fulfillment_saga"', lambda: list(recovery.due()))
    assert len([launch for launch in (*one, *other) if launch]) == 1

    Quarantine.objects.update(look_at=LONG_AGO)
    list(recovery.due())
    assert not Quarantine.objects.exists()
    assert found(saga).relaunches == 1


# --- the order's own row ---------------------------------------------------------------------------------------------------


def edits(order: Order) -> Any:
    """As a person does in the admin."""
    return in_one(lambda: Order.objects.filter(pk=order.pk).update(reference="call before delivery"))


@pytest.mark.parametrize("what", ["start", "settle", "sweep", "errback"])
def test_whoever_edits_an_order_keeps_no_transition_of_its_saga_waiting(saga: int, order: Order, what: str) -> None:
    Order.objects.filter(pk=order.pk).update(status="processing")
    claim = None if what == "start" else engine.start(saga, 1, "payment", False)
    now_due(saga)
    work: dict[str, Any] = {
        "start": lambda: engine.start(saga, 1, "payment", False),
        "settle": lambda: claim and engine.settle_success(claim, {"charge_id": "c", "amount_minor": 100}),
        "sweep": lambda: recovery.look(saga),
        "errback": lambda: engine.chain_stopped(saga, 1),
    }

    at_once(edits(order), "UPDATE", work[what], must_wait=False)

    assert StepRecord.objects.get(name="payment").state in ("started", "succeeded", "granted", "in_doubt")


def test_a_transition_keeps_nobody_who_writes_about_its_order_waiting(saga: int, order: Order) -> None:
    """A delivery's line of history refers to the order; it is not the saga's business."""
    claim = engine.start(saga, 1, "payment", False)
    assert claim is not None

    at_once(
        lambda: engine.settle_failure(claim, DOWN),
        "FOR UPDATE",
        lambda: TimelineEntry.objects.create(order_id=order.pk, kind="delivery", name="email", to_state="delivered"),
        must_wait=False,
    )

    assert TimelineEntry.objects.filter(kind="delivery").count() == 1


# --- persons ------------------------------------------------------------------------------------------------------------------


def asks(order: Order, verb: str, actor: Actor, **more: Any) -> Any:
    request = Request(order=order.number, verb=verb, version=version_of(order.pk), actor=actor, reason="because", **more)
    return lambda: decide(request)


def test_one_incident_is_told_once_however_many_find_it(order: Order) -> None:
    def tell() -> None:
        with transaction.atomic():
            open_incident(IncidentKind.STUCK, subject=order.number, order_id=order.pk, currency="EUR", amount_minor=100)

    first, second = at_once(tell, 'INSERT INTO "orders_incident"', tell, must_wait=True)

    assert (first, second) == (None, None)
    assert Incident.objects.count() == 1
    assert TimelineEntry.objects.filter(kind="incident", to_state="open").count() == 1


def test_of_two_decisions_about_one_version_one_is_refused(saga: int, order: Order) -> None:
    undo_failed(saga)

    first, second = at_once(
        asks(order, "retry", AMARA),
        "FOR UPDATE",
        asks(order, "undone_by_hand", BELA, amount_minor=100, evidence="receipt"),
        must_wait=True,
    )

    assert first.outcome == "done"
    assert isinstance(second, Refused)
    assert ledger.remaining(order.pk) == 100


def test_one_person_s_two_presses_at_once_are_one_decision(saga: int, order: Order) -> None:
    undo_failed(saga)
    epoch = found(saga).epoch

    first, second = at_once(asks(order, "retry", AMARA), "FOR UPDATE", asks(order, "retry", AMARA), must_wait=True)

    assert (first.outcome, second.outcome) == ("done", "repeated")
    assert found(saga).epoch == epoch + 1


def test_two_persons_who_propose_at_once_have_not_agreed(saga: int, order: Order) -> None:
    """The second has not seen the first one's proposal: nothing is written off."""
    undo_failed(saga)

    first, second = at_once(
        asks(order, "close", AMARA, amount_minor=100), "FOR UPDATE", asks(order, "close", BELA, amount_minor=100), must_wait=True
    )

    assert first.outcome == "proposed"
    assert isinstance(second, Refused)
    assert found(saga).state == SagaState.NEEDS_ATTENTION
    assert ledger.remaining(order.pk) == 100


def test_a_customer_s_cancel_and_a_person_s_retry_at_once_are_both_heard(saga: int, order: Order) -> None:
    parked_forward(saga, settings.POISON_AFTER)

    _, answer = at_once(asks(order, "retry", AMARA), "FOR UPDATE", lambda: recovery.cancel(order.number, "web-shop"), must_wait=True)

    assert answer == "accepted"
    now_due(saga)
    recovery.look(saga)
    assert found(saga).state == SagaState.COMPENSATING


# --- cancel against a worker -----------------------------------------------------------------------------------------------------


def test_a_cancel_that_meets_the_settle_of_shipping_is_too_late(saga: int, order: Order) -> None:
    paid(saga)
    engine.run_local(saga, 1, "inventory", undo=False)
    claim = engine.start(saga, 1, "shipping", False)
    assert claim is not None

    settled, answer = at_once(
        lambda: engine.settle_success(claim, {"label_id": "l", "tracking": "t"}),
        "FOR UPDATE",
        lambda: recovery.cancel(order.number, "web-shop"),
        must_wait=True,
    )

    assert (settled.mine, answer) == (True, "too_late")
    order.refresh_from_db()
    assert (order.status, found(saga).cancel_requested_at) == ("fulfilled", None)


def test_a_settle_that_meets_a_cancel_turns_back_and_grants_nothing(saga: int, order: Order) -> None:
    claim = engine.start(saga, 1, "payment", False)
    assert claim is not None

    answer, settled = at_once(
        lambda: recovery.cancel(order.number, "web-shop"),
        "FOR UPDATE",
        lambda: engine.settle_success(claim, {"charge_id": "c", "amount_minor": 100}),
        must_wait=True,
    )

    assert answer == "accepted"
    assert settled.turned is not None
    assert StepRecord.objects.get(name="payment").state == StepState.UNDO_GRANTED
    assert StepRecord.objects.get(name="inventory").granted_at is None


@pytest.mark.parametrize("name", ["payment", "inventory"])
def test_a_start_that_meets_a_cancel_starts_nothing(saga: int, order: Order, name: str) -> None:
    if name == "inventory":
        paid(saga)

    def runs() -> Any:
        return engine.start(saga, 1, "payment", False) if name == "payment" else engine.run_local(saga, 1, "inventory", undo=False).mine

    answer, started = at_once(lambda: recovery.cancel(order.number, "web-shop"), "FOR UPDATE", runs, must_wait=True)

    assert answer == "accepted"
    assert not started
    assert not Reservation.objects.exists()


def test_a_cancel_that_meets_a_start_is_honoured_by_its_settle(saga: int, order: Order) -> None:
    claim, answer = at_once(
        lambda: engine.start(saga, 1, "payment", False), "WITH mine", lambda: recovery.cancel(order.number, "web-shop"), must_wait=True
    )

    assert answer == "accepted"
    assert engine.settle_success(claim, {"charge_id": "c", "amount_minor": 100}).turned is not None


def test_two_errbacks_at_once_turn_back_once(saga: int, order: Order) -> None:
    in_doubt(saga)
    StepRecord.objects.filter(saga=saga, name="payment").update(state=StepState.REJECTED)

    one, other = at_once(lambda: engine.chain_stopped(saga, 1), "FOR UPDATE", lambda: engine.chain_stopped(saga, 1), must_wait=True)

    assert (one is not None or found(saga).state == SagaState.COMPENSATED, other) == (True, None)
    assert found(saga).epoch == 2
