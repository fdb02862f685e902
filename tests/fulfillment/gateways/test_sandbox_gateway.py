"""The sandbox as a gateway: what its answers mean to the core."""

import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from fulfillment.capabilities import Capabilities
from fulfillment.errors import Busy, InDoubt, Rejected
from fulfillment.gateways import Charge, Label, Refund
from fulfillment.gateways.sandbox import SandboxCarrier, SandboxPayments

if TYPE_CHECKING:
    from tests.fulfillment.conftest import SandboxProcess
from tests.fulfillment.gateways.conftest import DEADLINE_S, RawServer, answering, fault_of, http_answer

ADDRESS = {"name": "Amara Okafor", "line1": "12 Harbour Rd", "city": "Cork", "postal_code": "T12 X7YZ", "country": "IE"}
PARCELS = [{"sku": "TENT-2P-GRN", "quantity": 1}]
CAPABILITIES = Capabilities(key_window_s=86_400, keeps_rejections=True, tombstone=True, lookup_lag_s=1.5)


@pytest.fixture
def paying(sandbox: "SandboxProcess") -> SandboxPayments:
    return SandboxPayments(sandbox.url, 3.0, CAPABILITIES)


@pytest.fixture
def shipping(sandbox: "SandboxProcess") -> SandboxCarrier:
    return SandboxCarrier(sandbox.url, 3.0, CAPABILITIES)


def charge(paying: SandboxPayments, order: str, token: str = "tok_ok", deadline_s: float = 3.0) -> Charge:
    return replace(paying, deadline_s=deadline_s).charge(order, 8420, "EUR", token, key=f"{order}:do")


def test_charge_and_refund(paying: SandboxPayments, sandbox: "SandboxProcess") -> None:
    """Asked twice under one key, both are one effect; the look-up shows both."""
    charges = [charge(paying, "ORD-1") for _ in range(2)]
    refunds = [paying.refund(charges[0].id, 420, key="ORD-1:compensate") for _ in range(2)]

    assert charges[0] == charges[1] == Charge(id=charges[0].id, amount_minor=8420, currency="EUR", key="ORD-1:do", order_number="ORD-1")
    assert refunds[0] == refunds[1] == Refund(id=refunds[0].id, charge_id=charges[0].id, amount_minor=420)
    assert paying.find("ORD-1:do") == replace(charges[0], refunded_minor=420)
    assert paying.find("ORD-1:nothing/to&see here") is None
    assert sandbox.effects("ORD-1") == [("charge", "ORD-1:do", 8420), ("refund", "ORD-1:do", 420)]


def test_a_declined_card_is_rejected_and_stays_so(paying: SandboxPayments) -> None:
    """Final, under the same key as well."""
    assert [fault_of(lambda: charge(paying, "ORD-2", "tok_declined")) for _ in range(2)] == [(Rejected, "card_declined")] * 2
    assert fault_of(lambda: charge(paying, "ORD-3", "tok_nonsense")) == (Rejected, "unknown_token")


def test_a_charge_that_landed_without_an_answer_is_found(paying: SandboxPayments, sandbox: "SandboxProcess") -> None:
    """In doubt at the deadline; the same key, or the look-up, tells that the customer has paid, once."""
    assert fault_of(lambda: charge(paying, "ORD-4", "tok_timeout_charged", DEADLINE_S)) == (InDoubt, "timeout")

    assert paying.find("ORD-4:do") == charge(paying, "ORD-4", "tok_timeout_charged")
    assert len(sandbox.effects("ORD-4")) == 1


def test_a_charge_that_was_lost_happens_under_the_same_key(paying: SandboxPayments, sandbox: "SandboxProcess") -> None:
    """In doubt at the deadline, and nothing had happened."""
    assert fault_of(lambda: charge(paying, "ORD-5", "tok_timeout_not_charged", DEADLINE_S)) == (InDoubt, "timeout")

    assert paying.find("ORD-5:do") is None
    assert charge(paying, "ORD-5", "tok_timeout_not_charged").amount_minor == 8420
    assert len(sandbox.effects("ORD-5")) == 1


def test_errors_of_the_provider_are_in_doubt(paying: SandboxPayments) -> None:
    """A 503 after sending proves nothing, so the same key asks until there is an answer."""
    assert [fault_of(lambda: charge(paying, "ORD-6", "tok_flaky_2")) for _ in range(2)] == [(InDoubt, "unavailable")] * 2
    assert charge(paying, "ORD-6", "tok_flaky_2").amount_minor == 8420


def test_a_slow_charge_succeeds_and_meanwhile_is_busy(paying: SandboxPayments) -> None:
    """A second worker with the same key is told to wait, which is a doubt that spends no try."""
    with pytest.raises(InDoubt):
        charge(paying, "ORD-7", "tok_slow_8s", deadline_s=0.1)

    assert fault_of(lambda: charge(paying, "ORD-7", "tok_slow_8s")) == (Busy, "in_progress")

    time.sleep(0.5)
    assert charge(paying, "ORD-7", "tok_slow_8s").amount_minor == 8420


def test_a_key_used_for_something_else_is_in_doubt(paying: SandboxPayments) -> None:
    """Under this key something was done, only not this."""
    charge(paying, "ORD-8")

    assert fault_of(lambda: paying.charge("ORD-8", 1, "EUR", "tok_ok", key="ORD-8:do")) == (InDoubt, "key_reused")


def test_a_refusal_is_never_a_success_of_a_compensation(paying: SandboxPayments, shipping: SandboxCarrier) -> None:
    """A charge or label that nobody knows, or too large an amount: still open, not done."""
    charged = charge(paying, "ORD-9")

    assert fault_of(lambda: paying.refund("ch_unknown", 1, key="ORD-9:u1")) == (InDoubt, "unknown_charge")
    assert fault_of(lambda: paying.refund(charged.id, 8421, key="ORD-9:u2")) == (InDoubt, "amount_exceeds_captured")
    assert fault_of(lambda: shipping.cancel("lb_unknown/..", key="ORD-9:u3")) == (InDoubt, "unknown_label")


def test_cancel_by_key(paying: SandboxPayments, sandbox: "SandboxProcess") -> None:
    """What was charged is given back, what was not can never be; both refuse the charge from then on."""
    charge(paying, "ORD-10")

    assert paying.cancel_by_key("ORD-10:do", "ORD-10", key="ORD-10:compensate") == 8420
    assert paying.cancel_by_key("ORD-11:do", "ORD-11", key="ORD-11:compensate") == 0
    assert fault_of(lambda: charge(paying, "ORD-10")) == (Rejected, "cancelled_by_key")
    assert fault_of(lambda: charge(paying, "ORD-11")) == (Rejected, "cancelled_by_key")
    assert sandbox.effects("ORD-11") == []


def test_a_flaky_refund_is_in_doubt_until_it_works(paying: SandboxPayments, sandbox: "SandboxProcess") -> None:
    """The customer gets the money once, at the third try."""
    charged = charge(paying, "ORD-12", "tok_refund_flaky_2")

    assert [fault_of(lambda: paying.refund(charged.id, 8420, key="ORD-12:compensate")) for _ in range(2)] == [(InDoubt, "unavailable")] * 2
    assert paying.refund(charged.id, 8420, key="ORD-12:compensate").amount_minor == 8420
    assert sandbox.effects("ORD-12") == [("charge", "ORD-12:do", 8420), ("refund", "ORD-12:do", 8420)]


def test_book_and_cancel(shipping: SandboxCarrier, sandbox: "SandboxProcess") -> None:
    """One label for an order, and none after it was cancelled."""
    label = shipping.book("ORD-20", ADDRESS, PARCELS, key="ORD-20:do")
    assert shipping.find("ORD-20:do") == label == Label(id=label.id, tracking=label.tracking, key="ORD-20:do", order_number="ORD-20")

    shipping.cancel(label.id, key="ORD-20:compensate")

    assert shipping.find("ORD-20:do") == replace(label, cancelled=True)
    assert [operation for operation, _, _ in sandbox.effects("ORD-20")] == ["label", "cancel_label"]


def test_a_refused_address_is_rejected(shipping: SandboxCarrier) -> None:
    """The carrier does not go there."""
    address = ADDRESS | {"postal_code": "00422"}

    assert fault_of(lambda: shipping.book("ORD-21", address, PARCELS, key="ORD-21:do")) == (Rejected, "address_refused")


def test_a_booking_in_doubt_is_found_or_cancelled_by_key(sandbox: "SandboxProcess", shipping: SandboxCarrier) -> None:
    """The label was booked and the answer never came: look-up finds it, cancel by key ends it, and a later booking is refused."""
    address, hasty = ADDRESS | {"postal_code": "00408"}, SandboxCarrier(sandbox.url, DEADLINE_S, CAPABILITIES)
    assert fault_of(lambda: hasty.book("ORD-22", address, PARCELS, key="ORD-22:do")) == (InDoubt, "timeout")
    label = shipping.find("ORD-22:do")
    assert label is not None

    assert shipping.cancel_by_key("ORD-22:do", "ORD-22", key="ORD-22:compensate") == label.id
    assert shipping.cancel_by_key("ORD-23:do", "ORD-23", key="ORD-23:compensate") is None

    assert fault_of(lambda: shipping.book("ORD-22", address, PARCELS, key="ORD-22:do")) == (Rejected, "cancelled_by_key")


@pytest.mark.parametrize(
    "body", [{}, {"id": 7}, {"id": "ch_1", "amount": "8420", "currency": "EUR"}, {"id": "ch_1", "amount": True, "currency": "EUR"}]
)
def test_a_success_without_its_receipt_is_in_doubt(raw_server: Callable[..., RawServer], body: dict[str, Any]) -> None:
    """A charge that could never be refunded for lack of its reference does not count as known."""
    server = raw_server(answering(http_answer(201, body)))

    assert fault_of(lambda: charge(SandboxPayments(server.url, 3.0, CAPABILITIES), "ORD-30")) == (InDoubt, "undecodable_answer")


@pytest.mark.parametrize("body", [{}, {"data": {}}, {"data": ["ch_1"]}, {"data": [{}]}])
def test_a_look_up_that_says_nothing_is_in_doubt(raw_server: Callable[..., RawServer], body: dict[str, Any]) -> None:
    """Only an empty list means that nothing is there."""
    server = raw_server(answering(http_answer(200, body)))

    assert fault_of(lambda: SandboxPayments(server.url, 3.0, CAPABILITIES).find("ORD-31:do")) == (InDoubt, "undecodable_answer")


@pytest.mark.parametrize(
    "body",
    [
        {"data": []},
        {"data": [], "has_more": True},
        {"data": [{"id": "ch_1", "amount": 1, "currency": "EUR"}], "has_more": True},  # and the next page is the same one
        {"data": [{"id": "ch_1"}], "has_more": False},
    ],
)
def test_a_listing_that_never_ends_or_says_nothing_is_in_doubt(raw_server: Callable[..., RawServer], body: dict[str, Any]) -> None:
    """Half a list is never taken for a whole one."""
    server = raw_server(answering(http_answer(200, body)))

    assert fault_of(lambda: list(SandboxPayments(server.url, 3.0, CAPABILITIES).listing())) == (InDoubt, "undecodable_answer")
