"""Promise: whatever becomes true about an order is told to the world, in the sequence in which it became true, once, and in the commit that makes it true."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest
from django.db import transaction

from fulfillment import checks, engine, recovery
from fulfillment.engine import hot_path
from fulfillment.errors import Differs, Rejected
from fulfillment.models import StockLevel
from fulfillment.step import Kind, Step, StepEvents
from fulfillment.steps import STEPS
from fulfillment.steps.payment import Payment
from orders import facts
from orders.events import Event
from orders.incidents import IncidentKind, open_incident
from orders.models import Fact, Order
from sideeffects import tasks
from tests.actors import AMARA
from tests.event_schemas import faults
from tests.fulfillment.driving import (
    cancelled,
    compensation_failed,
    found,
    in_doubt,
    paid,
    refund_goes_on,
    refused,
    start,
)

pytestmark = pytest.mark.django_db(transaction=True)  # what becomes true later has a later instant

Told = list[tuple[str, dict[str, Any]]]


@pytest.fixture(autouse=True)
def no_messages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "publish", lambda messages: [])


def told(order: str = "ORD-1") -> Told:
    """Type and payload, without what every event has, in the sequence in which they became true."""
    rows = Fact.objects.filter(order__number=order).order_by("at", "id").values_list("type", "payload")
    assert [fault for type_, payload in rows for fault in faults(type_, payload)] == []
    assert {payload["number"] for _, payload in rows} == {order}
    return [(type_, {name: value for name, value in payload.items() if name not in ("number", "currency")}) for type_, payload in rows]


def types() -> list[str]:
    return [type_ for type_, _ in told()]


def refunded(saga: int) -> None:
    engine.record_success(start(saga, compensating=True), {"amount_minor": 100, "currency": "EUR"})


CREATED = ("order.created", {"total_minor": 100, "lines": [{"sku": "MUG", "quantity": 2, "unit_price_minor": 50}]})
COMPLETED = ("payment.completed", {"amount_minor": 100})
REFUND_REQUESTED = ("payment.refund.requested", {"amount_minor": 100})
REFUNDED = ("payment.refunded", {"amount_minor": 100})


@pytest.fixture(params=["in one statement", "by the readable code"])
def either_way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "by the readable code":
        monkeypatch.setattr(hot_path, "record_success", lambda claim, receipt: False)
        monkeypatch.setattr(hot_path, "begin_local", lambda saga, epoch, name: None)


def test_an_order_that_goes_well_is_told_step_by_step(saga: int, either_way: None) -> None:
    paid(saga)
    engine.run_local(saga, 1, "inventory", compensating=False)
    engine.record_success(start(saga, "shipping"), {"label_id": "lb_1", "tracking": "TR-1"})

    *before, (last, fulfilled) = told()

    assert before == [CREATED, COMPLETED, ("inventory.reserved", {}), ("shipment.created", {"tracking": "TR-1"})]
    assert (last, fulfilled["tracking"], fulfilled["total_minor"], len(fulfilled["lines"])) == ("order.fulfilled", "TR-1", 100, 1)


def test_an_order_that_turns_back_says_why_and_that_the_money_is_back_before_it_has_failed(saga: int) -> None:
    """Nobody is told that it has failed while the shop still has the money."""
    refused(saga)
    assert told() == [CREATED, COMPLETED, ("inventory.failed", {"code": "out_of_stock"}), REFUND_REQUESTED]

    refunded(saga)

    assert told()[4:] == [REFUNDED, ("order.failed", {"reason": "inventory_failed", "code": "out_of_stock"})]


def test_a_reservation_that_is_taken_back_is_told(saga: int) -> None:
    paid(saga)
    engine.run_local(saga, 1, "inventory", compensating=False)
    with pytest.raises(Rejected):
        raise_rejected(saga)
    engine.chain_stopped(saga, 1)
    engine.run_local(saga, found(saga).epoch, "inventory", compensating=True)
    refunded(saga)

    assert types()[3:] == ["shipment.failed", "inventory.released", "payment.refund.requested", "payment.refunded", "order.failed"]


def raise_rejected(saga: int) -> None:
    error = Rejected("No such address.", code="invalid_address")
    engine.record_failure(start(saga, "shipping"), error)
    raise error


def test_a_declined_card_ends_the_order_at_once(saga: int) -> None:
    """Both became true in one commit, and are told in their sequence."""
    engine.record_failure(start(saga), Rejected("No.", code="card_declined"))
    engine.chain_stopped(saga, 1)

    assert told()[1:] == [
        ("payment.failed", {"code": "card_declined"}),
        ("order.failed", {"reason": "payment_failed", "code": "card_declined"}),
    ]


def test_a_cancelled_order_is_told_once_its_money_is_back(saga: int) -> None:
    """It has failed at no step."""
    cancelled(saga)
    assert types() == ["order.created", "payment.completed", "payment.refund.requested"]

    refunded(saga)

    assert types()[3:] == ["payment.refunded", "order.cancelled"]


def test_what_nobody_knows_is_told_as_that(saga: int) -> None:
    """The charge is in doubt: its refund has no amount. Nothing was there, so nothing was given back."""
    in_doubt(saga)
    recovery.cancel("ORD-1", "web-shop")
    recovery.inspect_saga(saga)
    engine.record_success(start(saga, compensating=True), {"amount_minor": 0})

    assert told()[1:] == [("payment.refund.requested", {}), ("order.cancelled", {})]


def test_a_charge_of_another_amount_was_no_payment_and_is_given_back(saga: int) -> None:
    receipt = {"charge_id": "ch_1", "amount_minor": 70, "currency": "EUR"}
    engine.record_failure(start(saga), Differs("70 instead of 100", "amount_differs", 70, receipt))

    assert told()[1:] == [("payment.failed", {"code": "amount_differs"}), ("payment.refund.requested", {"amount_minor": 70})]


def test_a_refund_that_is_asked_for_again_is_another_one_and_a_person_is_told_of(saga: int) -> None:
    """The provider has refused the first attempt for good."""
    compensation_failed(saga)
    incident = found(saga).order.incidents.get()
    assert told()[-1] == ("order.needs_attention", {"incident": incident.pk, "kind": "compensation_exhausted", "amount_minor": 100})

    recovery.decide(incident_retry(saga))
    refund_goes_on(saga)

    again = {"attempt": 2, "amount_minor": 100}
    assert told()[-3:] == [
        ("payment.refund.requested", again),
        ("payment.refunded", again),
        ("order.failed", {"reason": "inventory_failed"}),
    ]


def incident_retry(saga: int) -> recovery.Request:
    order = found(saga).order
    return recovery.Request(verb="retry", order=order.number, actor=AMARA, reason="the bank is back", version=recovery.version_of(order.pk))


def test_an_incident_that_is_kept_up_to_date_is_told_once_and_the_next_one_again(order: Order) -> None:
    def notify(kind: IncidentKind, amount: int) -> None:
        open_incident(kind, subject="ORD-1", order_id=order.pk, currency="EUR", amount_minor=amount)

    notify(IncidentKind.STUCK, 1)
    notify(IncidentKind.STUCK, 2)
    notify(IncidentKind.MISMATCH, 3)

    assert sorted((payload["kind"], payload["amount_minor"]) for _, payload in told()) == [("mismatch", 3), ("stuck", 1)]


def test_an_incident_about_the_machinery_is_no_event_of_an_order(order: Order) -> None:
    open_incident(IncidentKind.PROVIDER_DOWN, subject="payments.sandbox.do", currency="EUR")

    assert Fact.objects.count() == 0


def test_what_is_taken_back_was_never_told(saga: int) -> None:
    """The fact is in the commit that makes it true."""
    with transaction.atomic():
        paid(saga)
        transaction.set_rollback(True)

    assert types() == ["order.created"]


def test_the_same_outcome_twice_is_told_once(saga: int) -> None:
    claim = start(saga)
    engine.record_success(claim, {"charge_id": "ch_1", "amount_minor": 100})
    engine.record_success(claim, {"charge_id": "ch_1", "amount_minor": 100})

    assert types() == ["order.created", "payment.completed"]


def test_a_step_that_tells_nobody_records_nothing(saga: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Payment, "events", StepEvents())
    refused(saga)
    refunded(saga)

    assert types() == ["order.created", "inventory.failed", "order.failed"]


@dataclass(frozen=True, kw_only=True)
class Wrapped(Event):
    type: ClassVar[str] = "gift.wrapped"

    paper: str
    currency: str


def test_a_step_whose_event_needs_what_a_receipt_may_lack_is_refused_at_start_up() -> None:
    """Else its outcome could not be recorded."""

    class GiftWrap(Step):
        name, kind, events = "gift_wrap", Kind.COMPENSABLE, StepEvents(succeeded=Wrapped)

    (error,) = checks.wrong_events([GiftWrap()])

    assert error.msg == "Step 'gift_wrap': gift.wrapped must have paper, and a receipt need not say it."
    assert list(checks.wrong_events(STEPS)) == []


def test_an_announced_event_is_the_recorded_one(saga: int, monkeypatch: pytest.MonkeyPatch) -> None:
    announced: list[Any] = []
    announce: Callable[[Any], None] = facts.announce

    def noted(event: Any) -> None:
        announced.append(event)
        announce(event)

    monkeypatch.setattr(facts, "announce", noted)
    StockLevel.objects.update(on_hand=9)
    paid(saga)
    engine.run_local(saga, 1, "inventory", compensating=False)
    engine.record_success(start(saga, "shipping"), {"label_id": "lb_1", "tracking": "TR-1"})

    recorded = Fact.objects.exclude(type="order.created").order_by("at", "id")

    assert [(event.fact_id, event.to_json()) for event in announced] == list(recorded.values_list("id", "payload"))
