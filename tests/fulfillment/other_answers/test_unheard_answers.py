"""Promise: what nobody has heard of is given back as what it is."""

from collections.abc import Callable
from typing import Any

import pytest

from fulfillment import engine, ledger, recovery
from fulfillment.clock import lease_s
from fulfillment.errors import InDoubt, StepError
from fulfillment.gateways.lease import Lease
from fulfillment.models import SagaState
from fulfillment.provider_call import call_provider
from fulfillment.recovery import Request, decide, version_of
from fulfillment.steps.payment import Payment
from orders.incidents import Incident
from orders.models import Order
from tests.actors import AMARA
from tests.fulfillment.conftest import now_due
from tests.fulfillment.driving import found, start, work
from tests.fulfillment.other_answers.conftest import Bank, entries, goes_on


@pytest.mark.parametrize("gateway", ["sandbox", "sandbox_burn", "sandbox_watch"])
def test_a_charge_of_another_amount_that_nobody_has_heard_of_is_given_back_as_what_it_is(
    order: Order, settings: Any, bank: Callable[..., Bank], gateway: str
) -> None:
    """The answer was lost, and the order is cancelled: a blind compensation gives back what the provider shows."""
    settings.PAYMENTS_GATEWAY = gateway
    saga = engine.open_saga(order).saga
    at = bank(takes=1)
    engine.record_failure(start(saga), InDoubt("?"))
    recovery.cancel(order.number, "web-shop")
    goes_on(saga)

    work(saga, compensating=True)

    assert at.asked == [("ORD-1:payment:compensate:1:testsnonce", 1)]
    assert entries(saga) == [("captured", 1), ("refunded", 1)]
    assert found(saga).state == SagaState.COMPENSATED


def test_a_cancel_by_key_that_gives_back_a_part_is_followed_by_a_refund_of_the_rest(
    saga: int, order: Order, bank: Callable[..., Bank]
) -> None:
    """The charge's answer was lost, and the cancel gave back 30 of 100: what the provider still shows is no longer somebody's guess."""
    at = bank(cancels=30)
    engine.record_failure(start(saga), InDoubt("?"))
    recovery.cancel(order.number, "web-shop")
    goes_on(saga)

    work(saga, compensating=True)

    assert found(saga).state == SagaState.COMPENSATING
    assert entries(saga) == [("captured", 100), ("refunded", 30)]
    goes_on(saga)
    work(saga, compensating=True)
    assert at.asked[1:] == [("ORD-1:payment:compensate:2:testsnonce", 70)]
    assert found(saga).state == SagaState.COMPENSATED
    assert (at.given_minor, ledger.remaining(order.pk)) == (100, 0)


def test_a_cancel_by_key_after_somebody_has_given_back_a_part_is_all_that_was_left(
    saga: int, order: Order, bank: Callable[..., Bank]
) -> None:
    bank(given_minor=40)
    engine.record_failure(start(saga), InDoubt("?"))
    recovery.cancel(order.number, "web-shop")
    goes_on(saga)

    work(saga, compensating=True)

    assert entries(saga) == [("captured", 60), ("refunded", 60)]
    assert found(saga).state == SagaState.COMPENSATED


@pytest.mark.parametrize("gateway", ["sandbox_burn", "sandbox_watch"])
def test_a_blind_refund_of_a_part_is_followed_by_one_of_the_rest(
    order: Order, settings: Any, bank: Callable[..., Bank], gateway: str
) -> None:
    settings.PAYMENTS_GATEWAY = gateway
    saga = engine.open_saga(order).saga
    at = bank(gives_back=[30])
    engine.record_failure(start(saga), InDoubt("?"))
    recovery.cancel(order.number, "web-shop")
    goes_on(saga)
    work(saga, compensating=True)
    assert entries(saga) == [("captured", 100), ("refunded", 30)]
    goes_on(saga)

    work(saga, compensating=True)

    assert at.asked == [("ORD-1:payment:compensate:1:testsnonce", 100), ("ORD-1:payment:compensate:2:testsnonce", 70)]
    assert found(saga).state == SagaState.COMPENSATED
    assert ledger.remaining(order.pk) == 0


@pytest.mark.parametrize(("takes", "currency", "ends"), [(100, "IDR", "compensated"), (-5, "EUR", "needs_attention")])
def test_what_no_ledger_can_hold_is_given_back_whole_or_by_a_person(
    order: Order, settings: Any, bank: Callable[..., Bank], takes: int, currency: str, ends: str
) -> None:
    """A person lets the order turn back: what the provider shows goes back as it is, and no euro is entered for it."""
    settings.PAYMENTS_GATEWAY = "sandbox_burn"
    saga = engine.open_saga(order).saga
    bank(takes=takes, currency=currency, refund_currency=currency)
    work(saga)
    decide(Request(order=order.number, verb="start_undo", version=version_of(order.pk), actor=AMARA, reason="the bank agrees"))

    work(saga, compensating=True)

    assert found(saga).state == ends
    assert entries(saga) == []


def test_a_blind_cancel_that_gives_back_less_than_nothing_is_a_person_s(saga: int, order: Order, bank: Callable[..., Bank]) -> None:
    bank(takes=-5)
    engine.record_failure(start(saga), InDoubt("?"))
    recovery.cancel(order.number, "web-shop")
    goes_on(saga)

    work(saga, compensating=True)

    assert found(saga).state == SagaState.NEEDS_ATTENTION
    assert Incident.objects.get().code == "unusable_amount"


def test_an_answer_of_another_amount_that_comes_too_late_belongs_to_nobody(saga: int, order: Order, bank: Callable[..., Bank]) -> None:
    bank(takes=1)
    claim = start(saga)
    now_due(saga)
    recovery.cancel(order.number, "web-shop")
    goes_on(saga)
    engine.record_success(start(saga, compensating=True), {"amount_minor": 0})
    answer = call_provider(Payment(), claim, Lease.begin(lease_s()))
    assert isinstance(answer, StepError)

    assert not engine.record_failure(claim, answer).mine

    assert Incident.objects.get().kind == "orphan_payment"
