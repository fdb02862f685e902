"""Promise: nobody's money counts as given back while our own ledger says that some remains."""

from collections.abc import Callable

import pytest
from django.conf import settings

from fulfillment import engine, ledger, recovery
from fulfillment.errors import InDoubt
from fulfillment.models import SagaState, StepState, StockLevel
from fulfillment.recovery import Request, decide, version_of
from orders.incidents import Incident
from orders.models import Order
from tests.actors import AMARA
from tests.fulfillment.driving import found, paid, record, refused, start, work
from tests.fulfillment.other_answers.conftest import Bank, entries, goes_on

# --- a refund --------------------------------------------------------------------------------------------------------------


def test_a_refund_of_a_part_is_followed_by_one_of_the_rest(saga: int, bank: Callable[..., Bank]) -> None:
    """1 of 100 is not all: what remains is a new attempt, with a key of its own, after a look at what the provider shows."""
    at = bank(gives_back=[1])
    refused(saga)

    work(saga, compensating=True)
    assert found(saga).state == SagaState.COMPENSATING
    assert record(saga).state == StepState.COMPENSATION_IN_DOUBT
    assert ledger.remaining(found(saga).order_id) == 99

    goes_on(saga)
    work(saga, compensating=True)

    assert at.asked == [("ORD-1:payment:compensate:1:testsnonce", 100), ("ORD-1:payment:compensate:2:testsnonce", 99)]
    assert entries(saga) == [("captured", 100), ("refunded", 1), ("refunded", 99)]
    assert found(saga).state == SagaState.COMPENSATED


def test_what_the_provider_shows_counts_more_than_what_it_has_said(saga: int, bank: Callable[..., Bank]) -> None:
    """It said 1, and had given back everything: nothing more is asked for."""
    at = bank(gives_back=[1], left_minor=0)
    refused(saga)
    work(saga, compensating=True)
    goes_on(saga)

    work(saga, compensating=True)

    assert len(at.asked) == 1
    assert found(saga).state == SagaState.COMPENSATED


def test_a_refund_that_comes_in_pieces_for_ever_is_a_person_s(saga: int, bank: Callable[..., Bank]) -> None:
    bank(gives_back=[1] * settings.COMPENSATION_TRIES)
    refused(saga)
    for _ in range(settings.COMPENSATION_TRIES):
        work(saga, compensating=True)
        goes_on(saga)

    assert found(saga).state == SagaState.NEEDS_ATTENTION
    assert Incident.objects.get().amount_minor == 100 - settings.COMPENSATION_TRIES


@pytest.mark.parametrize(
    ("gives_back", "currency", "code", "left"),
    [
        (0, "EUR", "unusable_amount", 100),
        (-5, "EUR", "unusable_amount", 100),
        (100, "IDR", "other_currency", 100),
        (150, "EUR", "gave_back_too_much", 0),
    ],
)
def test_a_refund_that_was_not_asked_for_is_a_person_s(
    saga: int, bank: Callable[..., Bank], gives_back: int, currency: str, code: str, left: int
) -> None:
    bank(gives_back=[gives_back], refund_currency=currency)
    refused(saga)

    work(saga, compensating=True)

    assert found(saga).state == SagaState.NEEDS_ATTENTION
    assert found(saga).order.status == "compensating"
    assert record(saga).state == StepState.COMPENSATION_FAILED
    incident = Incident.objects.get()
    assert (incident.kind, incident.code, incident.amount_minor) == ("compensation_exhausted", code, left)


# --- compensated ------------------------------------------------------------------------------------------------------------


def test_compensated_is_impossible_while_the_ledger_says_that_something_remains(saga: int, order: Order) -> None:
    """Whatever a compensation has answered: the transition itself asks the ledger."""
    refused(saga)

    engine.record_success(start(saga, compensating=True), None)

    assert found(saga).state == SagaState.NEEDS_ATTENTION
    assert record(saga).state == StepState.COMPENSATION_FAILED
    incident = Incident.objects.get()
    assert (incident.kind, incident.code, incident.amount_minor) == ("compensation_exhausted", "money_remains", 100)
    legal = {choice.verb: choice for choice in recovery.choices(found(saga), True)}
    assert {"retry", "undone_by_hand", "close"} <= set(legal)
    assert legal["close"].amount_minor == 100


def test_a_person_ends_it_with_the_rest(saga: int, order: Order) -> None:
    refused(saga)
    engine.record_success(start(saga, compensating=True), {"amount_minor": 60})
    assert found(saga).state == SagaState.NEEDS_ATTENTION

    decide(
        Request(
            order=order.number,
            verb="undone_by_hand",
            version=version_of(order.pk),
            actor=AMARA,
            reason="by transfer",
            evidence="t-1",
            amount_minor=40,
        )
    )

    assert found(saga).state == SagaState.COMPENSATED
    assert entries(saga) == [("captured", 100), ("refunded", 60), ("refunded", 40)]


def test_a_compensation_without_money_is_not_asked_for_any(saga: int) -> None:
    paid(saga)
    StockLevel.objects.update(on_hand=5)
    engine.run_local(saga, 1, "inventory", compensating=False)
    engine.record_failure(start(saga, "shipping"), InDoubt("?"))
    recovery.cancel(found(saga).order.number, "web-shop")
    goes_on(saga)
    engine.record_success(start(saga, "shipping", compensating=True), {"label_id": None})
    engine.run_local(saga, found(saga).epoch, "inventory", compensating=True)
    engine.record_success(start(saga, compensating=True), {"amount_minor": 100})

    assert found(saga).state == SagaState.COMPENSATED
