"""Promise: what a provider answers is compared with what it was asked for: a charge of another amount turns the order back."""

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
from django.conf import settings

from fulfillment import engine, recovery
from fulfillment.clock import lease_s
from fulfillment.errors import StepError
from fulfillment.gateways.lease import Lease
from fulfillment.models import SagaState, StepState
from fulfillment.provider_call import call_provider
from fulfillment.recovery import Request, decide, version_of
from fulfillment.steps.payment import Payment
from orders.incidents import Incident
from orders.models import Order
from tests.actors import AMARA
from tests.fulfillment.driving import found, record, start, work
from tests.fulfillment.other_answers.conftest import Bank, entries, goes_on


@pytest.mark.parametrize("takes", [1, 99, 101])
def test_a_charge_of_another_amount_turns_back_and_is_given_back(saga: int, bank: Callable[..., Bank], takes: int) -> None:
    """1 of 100 taken: the order is not shipped for it, and the customer has the 1 back."""
    at = bank(takes=takes)

    work(saga)

    assert found(saga).state == SagaState.COMPENSATING
    assert found(saga).failed_at == "payment"
    assert entries(saga) == [("captured", takes)]

    work(saga, compensating=True)

    assert at.asked == [("ORD-1:payment:compensate:1:testsnonce", takes)]
    assert entries(saga) == [("captured", takes), ("refunded", takes)]
    assert (found(saga).state, found(saga).order.status) == (SagaState.COMPENSATED, "payment_failed")


@pytest.mark.parametrize(
    ("takes", "currency", "code"), [(0, "EUR", "unusable_amount"), (-5, "EUR", "unusable_amount"), (100, "IDR", "other_currency")]
)
def test_a_charge_that_no_ledger_can_hold_is_a_person_s(saga: int, bank: Callable[..., Bank], takes: int, currency: str, code: str) -> None:
    bank(takes=takes, currency=currency)

    work(saga)

    assert found(saga).state == SagaState.NEEDS_ATTENTION
    assert found(saga).order.status == "processing"
    assert record(saga).state == StepState.IN_DOUBT
    incident = Incident.objects.get()
    assert (incident.kind, incident.step, incident.code, incident.amount_minor) == ("in_doubt", "payment", code, 100)
    assert f"{takes} {currency}" in incident.sentence
    assert entries(saga) == []


def test_a_currency_is_the_same_in_small_letters(saga: int, bank: Callable[..., Bank]) -> None:
    """Stripe, for one, answers in them: no order waits for a person because of that."""
    bank(currency="eur", refund_currency="eur")

    work(saga)

    assert record(saga).state == StepState.SUCCEEDED
    recovery.cancel(found(saga).order.number, "web-shop")
    goes_on(saga)
    work(saga, compensating=True)
    assert entries(saga) == [("captured", 100), ("refunded", 100)]
    assert found(saga).state == SagaState.COMPENSATED


def test_asking_again_ends_at_the_person_again(saga: int, order: Order, bank: Callable[..., Bank]) -> None:
    bank(currency="IDR")
    work(saga)
    decide(Request(order=order.number, verb="retry", version=version_of(order.pk), actor=AMARA, reason="once more"))
    goes_on(saga)

    work(saga)

    assert found(saga).state == SagaState.NEEDS_ATTENTION
    assert Incident.objects.exclude(state="resolved").count() == 1


def test_what_a_look_up_finds_is_compared_too(saga: int, bank: Callable[..., Bank]) -> None:
    """Adopted after the provider has forgotten the key."""
    bank(takes=1)
    claim = replace(start(saga), age_s=2 * settings.KEY_WINDOW_S, quiet_s=10.0, watched_s=math.inf)

    answer = call_provider(Payment(), claim, Lease.begin(lease_s()))
    assert isinstance(answer, StepError)
    engine.record_failure(claim, answer)

    assert found(saga).state == SagaState.COMPENSATING
    assert entries(saga) == [("captured", 1)]


def test_a_cancel_that_meets_another_amount_is_still_a_cancel(saga: int, order: Order, bank: Callable[..., Bank]) -> None:
    bank(takes=1)
    claim = start(saga)
    assert recovery.cancel(order.number, "web-shop") == "accepted"
    answer = call_provider(Payment(), claim, Lease.begin(lease_s()))
    assert isinstance(answer, StepError)
    assert engine.record_failure(claim, answer).turned is not None

    work(saga, compensating=True)

    assert (found(saga).state, found(saga).order.status) == (SagaState.COMPENSATED, "cancelled")
