"""Promise: after a restored backup an order goes on from where its provider stands, or is a person's; nobody is charged or refunded twice."""

import pytest

from fulfillment import engine, recovery
from fulfillment.errors import InDoubt
from fulfillment.models import LedgerEntry, Saga, StepRecord
from orders.incidents import Incident
from orders.models import Order
from tests.reconciliation.shop import TOTAL, Shop, do_key
from tests.reconciliation.test_forgotten import issuer as issuer
from tests.reconciliation.test_forgotten import recover


def test_an_order_that_has_moved_on_at_its_provider_goes_on_under_its_own_keys(shop: Shop) -> None:
    """I was charged after the backup: I am not charged again, and get my parcel."""
    order = shop.open()
    shop.provider.charge(order.number, key=do_key(order, "payment"), amount=TOTAL)

    recover("--yes")
    saga = Saga.objects.get(order=order)
    assert (saga.state, saga.epoch, saga.launched_at) == ("running", 1 + 1_000_000, None)
    shop.drive(order)

    assert order.status == "fulfilled"
    assert [operation for operation, _, _ in shop.provider.effects(order.number)] == ["charge", "label"]


def test_an_order_whose_money_was_given_back_meanwhile_is_a_person_s(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    """Else my parcel would leave unpaid."""
    order = shop.open()
    _paid(shop, order)
    shop.plant("refund", order.number, do_key(order, "payment"))

    recover("--yes")

    assert f"{order.number}: payment is succeeded here, and the provider shows it, given back" in capsys.readouterr().out
    saga = Saga.objects.get(order=order)
    assert saga.state == "needs_attention"
    incident = Incident.objects.get(order=order)
    assert (incident.kind, incident.code, incident.step, incident.amount_minor) == ("in_doubt", "restored", "payment", TOTAL)
    assert [operation for operation, _, _ in shop.provider.effects(order.number)] == ["charge", "refund"], "nobody's money was touched"


@pytest.mark.parametrize("state", ["pending", "scheduled", "started", "retry_wait", "in_doubt"])
def test_an_order_that_was_charged_and_given_back_meanwhile_is_a_person_s(shop: Shop, state: str) -> None:
    """Wherever its payment stood: no try of ours explains that somebody has given it back."""
    order = shop.open()
    StepRecord.objects.filter(saga__order=order, name="payment").update(state=state)
    shop.provider.charge(order.number, key=do_key(order, "payment"), amount=TOTAL)
    shop.plant("refund", order.number, do_key(order, "payment"))

    recover("--yes")

    assert Saga.objects.get(order=order).state == "needs_attention"
    incident = Incident.objects.get(order=order)
    assert (incident.code, incident.step, incident.amount_minor) == ("restored", "payment", TOTAL)


def test_a_refund_that_is_next_is_not_asked_for_before_somebody_has_looked(shop: Shop) -> None:
    """It was asked for after the backup, under a key that nobody here knows any more."""
    order = shop.open(postal_code="00408")
    _paid(shop, order)
    engine.run_local(Saga.objects.get(order=order).pk, 1, "inventory", compensating=False)
    engine.record_failure(_started(order, "shipping"), InDoubt("no answer"))
    assert recovery.cancel(order.number, "web-shop") == "pending"
    Saga.objects.filter(order=order).update(wake_at="2020-01-01T00:00Z", launched_at=None)
    recovery.inspect_saga(Saga.objects.get(order=order).pk)
    assert StepRecord.objects.get(saga__order=order, name="payment").state == "compensation_pending"
    shop.plant("refund", order.number, do_key(order, "payment"))

    recover("--yes")
    shop.drive(order)

    payment = StepRecord.objects.get(saga__order=order, name="payment")
    assert (order.status, payment.state, payment.compensation_tries) == ("cancelled", "compensated", 1)
    assert [operation for operation, _, _ in shop.provider.effects(order.number)] == ["charge", "refund"]


def test_a_compensation_that_was_done_meanwhile_is_not_done_twice(shop: Shop) -> None:
    order = shop.open(postal_code="00422")
    _paid(shop, order)
    assert recovery.cancel(order.number, "web-shop") == "accepted"
    assert recovery.inspect_saga(Saga.objects.get(order=order).pk) is not None
    shop.plant("refund", order.number, do_key(order, "payment"))

    recover("--yes")
    shop.drive(order)

    assert order.status == "cancelled"
    assert [operation for operation, _, _ in shop.provider.effects(order.number)] == ["charge", "refund"]


def test_an_order_that_waited_for_a_person_is_counted_apart(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    """It goes on by nobody but a person, before the recovery and after it."""
    waiting, moving = shop.place("ORD-1", token="tok_refund_declined", postal_code="00422"), shop.open("ORD-2")
    assert Saga.objects.get(order=waiting).state == "needs_attention"

    recover("--yes")
    shop.drive(moving)

    summary = "2 open orders: 1 go on by themselves, 1 wait for a person as before, 0 become a person's;"
    assert summary in capsys.readouterr().out
    assert Saga.objects.get(order=waiting).state == "needs_attention"
    assert moving.status == "fulfilled"


def _started(order: Order, step: str) -> engine.Claim:
    claim = engine.start(Saga.objects.get(order=order).pk, 1, step, False)
    assert claim is not None
    return claim


def _paid(shop: Shop, order: Order) -> None:
    charged = shop.provider.charge(order.number, key=do_key(order, "payment"), amount=TOTAL)
    claim = _started(order, "payment")
    engine.record_success(claim, {"charge_id": charged.json()["id"], "amount_minor": TOTAL, "currency": "EUR"})
    assert LedgerEntry.objects.filter(order=order).count() == 1
