"""Promise: what a provider answers is compared with what it was asked for, and nobody's money counts as given back while our own ledger says that some remains."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from django.conf import settings

from fulfillment import engine, ledger, recovery
from fulfillment.clock import lease_s
from fulfillment.errors import InDoubt, StepError
from fulfillment.gateways import payments
from fulfillment.gateways.lease import Lease
from fulfillment.gateways.ports import Charge, Refund
from fulfillment.ledger import LedgerEntry
from fulfillment.models import SagaState, StepState, StockLevel
from fulfillment.recovery import Request, decide, version_of
from fulfillment.steps.payment import Payment
from fulfillment.talk import talk
from orders.attention import Incident
from orders.models import Order
from tests.actors import AMARA
from tests.fulfillment.conftest import now_due
from tests.fulfillment.driving import found, paid, record, refused, start, work


@dataclass
class Bank:
    """Answers a charge with ``takes`` in ``currency``, and each refund with the next of ``gives_back`` (None: what was asked)."""

    card: Any
    takes: int = 100
    currency: str = "EUR"
    gives_back: list[int | None] = field(default_factory=list)
    refund_currency: str = "EUR"
    left_minor: int | None = None
    cancels: int | None = None
    asked: list[tuple[str, int]] = field(default_factory=list)
    given_minor: int = 0

    def charge(self, order_number: str, amount_minor: int, currency: str, token: str, *, key: str) -> Charge:
        return self._charge

    @property
    def _charge(self) -> Charge:
        left = self.takes - self.given_minor if self.left_minor is None else self.left_minor
        return Charge(id="ch_1", amount_minor=self.takes, currency=self.currency, refunded_minor=self.takes - left)

    def refund(self, charge_id: str, amount_minor: int, *, key: str) -> Refund:
        self.asked.append((key, amount_minor))
        given = self.gives_back[len(self.asked) - 1] if len(self.asked) <= len(self.gives_back) else None
        given = amount_minor if given is None else given
        self.given_minor += given
        return Refund(id="re_1", charge_id=charge_id, amount_minor=given, currency=self.refund_currency)

    def cancel_by_key(self, do_key: str, order_number: str, *, key: str) -> int:
        """Gives back ``cancels`` (None: all that is left), and closes the door."""
        self.asked.append((key, self.takes))
        given = self.takes - self.given_minor if self.cancels is None else self.cancels
        self.given_minor += given
        return given

    def find(self, key: str) -> Charge | None:
        return self._charge


@pytest.fixture
def bank(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Bank]:
    def opens(**answers: Any) -> Bank:
        it = Bank(payments().card, **answers)
        monkeypatch.setattr("fulfillment.steps.payment.payments", lambda: it)
        return it

    return opens


def goes_on(saga: int) -> None:
    now_due(saga)
    recovery.look(saga)


def entries(saga: int) -> list[tuple[str, int]]:
    return [(entry.operation, entry.amount_minor) for entry in LedgerEntry.objects.filter(order_id=found(saga).order_id)]


# --- a charge --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("takes", [1, 99, 101])
def test_a_charge_of_another_amount_turns_back_and_is_given_back(saga: int, bank: Callable[..., Bank], takes: int) -> None:
    """1 of 100 taken: the order is not shipped for it, and the customer has the 1 back."""
    at = bank(takes=takes)

    work(saga)

    assert found(saga).state == SagaState.COMPENSATING
    assert found(saga).failed_at == "payment"
    assert entries(saga) == [("captured", takes)]

    work(saga, undo=True)

    assert at.asked == [("ORD-1:payment:undo:1:testsnonce", takes)]
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
    work(saga, undo=True)
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
    claim = replace(start(saga), age_s=settings.KEY_WINDOW_S + 1, quiet_s=10.0)

    answer = talk(Payment(), claim, Lease.begin(lease_s()))
    assert isinstance(answer, StepError)
    engine.settle_failure(claim, answer)

    assert found(saga).state == SagaState.COMPENSATING
    assert entries(saga) == [("captured", 1)]


def test_a_cancel_that_meets_another_amount_is_still_a_cancel(saga: int, order: Order, bank: Callable[..., Bank]) -> None:
    bank(takes=1)
    claim = start(saga)
    assert recovery.cancel(order.number, "web-shop") == "accepted"
    answer = talk(Payment(), claim, Lease.begin(lease_s()))
    assert isinstance(answer, StepError)
    assert engine.settle_failure(claim, answer).turned is not None

    work(saga, undo=True)

    assert (found(saga).state, found(saga).order.status) == (SagaState.COMPENSATED, "cancelled")


# --- a refund --------------------------------------------------------------------------------------------------------------


def test_a_refund_of_a_part_is_followed_by_one_of_the_rest(saga: int, bank: Callable[..., Bank]) -> None:
    """1 of 100 is not all: what remains is a new attempt, with a key of its own, after a look at what the provider shows."""
    at = bank(gives_back=[1])
    refused(saga)

    work(saga, undo=True)
    assert found(saga).state == SagaState.COMPENSATING
    assert record(saga).state == StepState.UNDO_IN_DOUBT
    assert ledger.remaining(found(saga).order_id) == 99

    goes_on(saga)
    work(saga, undo=True)

    assert at.asked == [("ORD-1:payment:undo:1:testsnonce", 100), ("ORD-1:payment:undo:2:testsnonce", 99)]
    assert entries(saga) == [("captured", 100), ("refunded", 1), ("refunded", 99)]
    assert found(saga).state == SagaState.COMPENSATED


def test_what_the_provider_shows_counts_more_than_what_it_has_said(saga: int, bank: Callable[..., Bank]) -> None:
    """It said 1, and had given back everything: nothing more is asked for."""
    at = bank(gives_back=[1], left_minor=0)
    refused(saga)
    work(saga, undo=True)
    goes_on(saga)

    work(saga, undo=True)

    assert len(at.asked) == 1
    assert found(saga).state == SagaState.COMPENSATED


def test_a_refund_that_comes_in_pieces_for_ever_is_a_person_s(saga: int, bank: Callable[..., Bank]) -> None:
    bank(gives_back=[1] * settings.UNDO_TRIES)
    refused(saga)
    for _ in range(settings.UNDO_TRIES):
        work(saga, undo=True)
        goes_on(saga)

    assert found(saga).state == SagaState.NEEDS_ATTENTION
    assert Incident.objects.get().amount_minor == 100 - settings.UNDO_TRIES


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

    work(saga, undo=True)

    assert found(saga).state == SagaState.NEEDS_ATTENTION
    assert found(saga).order.status == "compensating"
    assert record(saga).state == StepState.UNDO_FAILED
    incident = Incident.objects.get()
    assert (incident.kind, incident.code, incident.amount_minor) == ("undo_exhausted", code, left)


# --- compensated ------------------------------------------------------------------------------------------------------------


def test_compensated_is_impossible_while_the_ledger_says_that_something_remains(saga: int, order: Order) -> None:
    """Whatever an undo has answered: the transition itself asks the ledger."""
    refused(saga)

    engine.settle_success(start(saga, undo=True), None)

    assert found(saga).state == SagaState.NEEDS_ATTENTION
    assert record(saga).state == StepState.UNDO_FAILED
    incident = Incident.objects.get()
    assert (incident.kind, incident.code, incident.amount_minor) == ("undo_exhausted", "money_remains", 100)
    legal = {choice.verb: choice for choice in recovery.choices(found(saga), True)}
    assert {"retry", "undone_by_hand", "close"} <= set(legal)
    assert legal["close"].amount_minor == 100


def test_a_person_ends_it_with_the_rest(saga: int, order: Order) -> None:
    refused(saga)
    engine.settle_success(start(saga, undo=True), {"amount_minor": 60})
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


def test_an_undo_without_money_is_not_asked_for_any(saga: int) -> None:
    paid(saga)
    StockLevel.objects.update(on_hand=5)
    engine.run_local(saga, 1, "inventory", undo=False)
    engine.settle_failure(start(saga, "shipping"), InDoubt("?"))
    recovery.cancel(found(saga).order.number, "web-shop")
    goes_on(saga)
    engine.settle_success(start(saga, "shipping", undo=True), {"label_id": None})
    engine.run_local(saga, found(saga).epoch, "inventory", undo=True)
    engine.settle_success(start(saga, undo=True), {"amount_minor": 100})

    assert found(saga).state == SagaState.COMPENSATED


# --- nobody has seen the answer ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("gateway", ["sandbox", "sandbox_burn", "sandbox_watch"])
def test_a_charge_of_another_amount_that_nobody_has_heard_of_is_given_back_as_what_it_is(
    order: Order, settings: Any, bank: Callable[..., Bank], gateway: str
) -> None:
    """The answer was lost, and the order is cancelled: a blind undo gives back what the provider shows."""
    settings.PAYMENTS_GATEWAY = gateway
    saga = engine.open_saga(order).saga
    at = bank(takes=1)
    engine.settle_failure(start(saga), InDoubt("?"))
    recovery.cancel(order.number, "web-shop")
    goes_on(saga)

    work(saga, undo=True)

    assert at.asked == [("ORD-1:payment:undo:1:testsnonce", 1)]
    assert entries(saga) == [("captured", 1), ("refunded", 1)]
    assert found(saga).state == SagaState.COMPENSATED


def test_a_cancel_by_key_that_gives_back_a_part_is_followed_by_a_refund_of_the_rest(
    saga: int, order: Order, bank: Callable[..., Bank]
) -> None:
    """The charge's answer was lost, and the cancel gave back 30 of 100: what the provider still shows is no longer somebody's guess."""
    at = bank(cancels=30)
    engine.settle_failure(start(saga), InDoubt("?"))
    recovery.cancel(order.number, "web-shop")
    goes_on(saga)

    work(saga, undo=True)

    assert found(saga).state == SagaState.COMPENSATING
    assert entries(saga) == [("captured", 100), ("refunded", 30)]
    goes_on(saga)
    work(saga, undo=True)
    assert at.asked[1:] == [("ORD-1:payment:undo:2:testsnonce", 70)]
    assert found(saga).state == SagaState.COMPENSATED
    assert (at.given_minor, ledger.remaining(order.pk)) == (100, 0)


def test_a_cancel_by_key_after_somebody_has_given_back_a_part_is_all_that_was_left(
    saga: int, order: Order, bank: Callable[..., Bank]
) -> None:
    bank(given_minor=40)
    engine.settle_failure(start(saga), InDoubt("?"))
    recovery.cancel(order.number, "web-shop")
    goes_on(saga)

    work(saga, undo=True)

    assert entries(saga) == [("captured", 60), ("refunded", 60)]
    assert found(saga).state == SagaState.COMPENSATED


@pytest.mark.parametrize("gateway", ["sandbox_burn", "sandbox_watch"])
def test_a_blind_refund_of_a_part_is_followed_by_one_of_the_rest(
    order: Order, settings: Any, bank: Callable[..., Bank], gateway: str
) -> None:
    settings.PAYMENTS_GATEWAY = gateway
    saga = engine.open_saga(order).saga
    at = bank(gives_back=[30])
    engine.settle_failure(start(saga), InDoubt("?"))
    recovery.cancel(order.number, "web-shop")
    goes_on(saga)
    work(saga, undo=True)
    assert entries(saga) == [("captured", 100), ("refunded", 30)]
    goes_on(saga)

    work(saga, undo=True)

    assert at.asked == [("ORD-1:payment:undo:1:testsnonce", 100), ("ORD-1:payment:undo:2:testsnonce", 70)]
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

    work(saga, undo=True)

    assert found(saga).state == ends
    assert entries(saga) == []


def test_a_blind_cancel_that_gives_back_less_than_nothing_is_a_person_s(saga: int, order: Order, bank: Callable[..., Bank]) -> None:
    bank(takes=-5)
    engine.settle_failure(start(saga), InDoubt("?"))
    recovery.cancel(order.number, "web-shop")
    goes_on(saga)

    work(saga, undo=True)

    assert found(saga).state == SagaState.NEEDS_ATTENTION
    assert Incident.objects.get().code == "unusable_amount"


def test_an_answer_of_another_amount_that_comes_too_late_belongs_to_nobody(saga: int, order: Order, bank: Callable[..., Bank]) -> None:
    bank(takes=1)
    claim = start(saga)
    now_due(saga)
    recovery.cancel(order.number, "web-shop")
    goes_on(saga)
    engine.settle_success(start(saga, undo=True), {"amount_minor": 0})
    answer = talk(Payment(), claim, Lease.begin(lease_s()))
    assert isinstance(answer, StepError)

    assert not engine.settle_failure(claim, answer).mine

    assert Incident.objects.get().kind == "orphan_payment"
