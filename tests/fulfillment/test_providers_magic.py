"""Magic values that make trouble: late landings, silence for ever, compensations that fail or are refused, answers that are not what was asked for."""

import itertools
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import httpx
import pytest

if TYPE_CHECKING:
    from tests.fulfillment.conftest import SandboxProcess

HANGS = 0.2  # seconds; longer than any answer takes, shorter than any silence or late landing at the fixture's time scale
GONE = pytest.raises(httpx.ReadTimeout)
ADDRESS = {"name": "Amara Okafor", "line1": "12 Harbour Rd", "city": "Cork", "postal_code": "T12 X7YZ", "country": "IE"}
numbers = itertools.count(1)


class Customer:
    """One order at one provider; every call is under the order's own keys."""

    def __init__(self, sandbox: "SandboxProcess", profile: str) -> None:
        self._sandbox, self._profile = sandbox, profile
        self.order = f"ORD-{next(numbers)}"
        self.key = f"{self.order}:do"

    def pay(self, token: str, timeout: float = 5.0) -> httpx.Response:
        body = {"order": self.order, "amount": 8420, "currency": "EUR", "token": token}
        return self._sandbox.post(f"{self._profile}/v1/charges", self.key, timeout, **body)

    def book(self, postal_code: str, timeout: float = 5.0) -> httpx.Response:
        body = {"order": self.order, "address": ADDRESS | {"postal_code": postal_code}, "parcels": [{"sku": "TENT", "quantity": 1}]}
        return self._sandbox.post(f"{self._profile}/v1/labels", self.key, timeout, **body)

    def compensate(self, path: str, under: str = "", **body: object) -> httpx.Response:
        """``under``: a key of its own, where it is not to be a new one."""
        return self._sandbox.post(f"{self._profile}/v1/{path}", f"{self.order}:compensate:{under or next(numbers)}", 5.0, **body)

    def cancel_by_key(self, of: str) -> httpx.Response:
        return self.compensate(f"{of}/cancel_by_key", key=self.key, order=self.order)

    def listed(self, what: str) -> list[dict[str, Any]]:
        return list(self._sandbox.client.get(f"{self._profile}/v1/{what}", params={"key": self.key}).json()["data"])

    def found(self, what: str) -> list[str]:
        return [thing["id"] for thing in self.listed(what)]

    def done(self) -> list[str]:
        return [operation for operation, _, _ in self._sandbox.effects(self.order)]

    def wait_for(self, operations: list[str], seconds: float = 3.0) -> None:
        until = time.monotonic() + seconds
        while self.done() != operations:
            assert time.monotonic() < until, f"{self.done()} instead of {operations}"
            time.sleep(0.02)


@pytest.fixture
def customer_of(sandbox: "SandboxProcess") -> Callable[[str], Customer]:
    return lambda profile: Customer(sandbox, profile)


def status_and_code(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


# --- late landings ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("profile", ["", "/forgetful", "/burn", "/watch"])
def test_a_charge_lands_late_and_once(customer_of: Callable[[str], Customer], profile: str) -> None:
    """Nobody was notified; until it has landed its key is in progress, and then the same key tells."""
    customer = customer_of(profile)
    with GONE:
        customer.pay("tok_lands_late", HANGS)
    assert (customer.done(), customer.found("charges")) == ([], [])
    assert status_and_code(customer.pay("tok_lands_late")) == (409, "in_progress")

    customer.wait_for(["charge"])

    assert customer.pay("tok_lands_late").json()["id"] in customer.found("charges")
    assert customer.done() == ["charge"]


def test_without_keys_a_late_landing_is_a_second_charge(customer_of: Callable[[str], Customer]) -> None:
    """Whoever asked again before it landed has charged twice, and the look-up shows both."""
    customer = customer_of("/keyless")
    with GONE:
        customer.pay("tok_lands_late", HANGS)
    assert customer.pay("tok_lands_late").status_code == 201

    customer.wait_for(["charge", "charge"])

    assert len(customer.found("charges")) == 2


@pytest.mark.parametrize("profile", ["", "/forgetful"])
@pytest.mark.parametrize("token", ["tok_lands_late", "tok_late_then_declined"])
def test_a_late_landing_finds_a_tombstone(customer_of: Callable[[str], Customer], profile: str, token: str) -> None:
    """After cancel by key nothing lands, however late."""
    customer = customer_of(profile)
    with GONE:
        customer.pay(token, HANGS)

    assert customer.cancel_by_key("charges").json()["refunded"] == 0
    assert status_and_code(customer.pay(token)) == (402, "cancelled_by_key")

    time.sleep(0.6)
    assert customer.done() == []


@pytest.mark.parametrize(("profile", "kept"), [("", True), ("/forgetful", False), ("/burn", True), ("/watch", False), ("/keyless", False)])
def test_a_decline_is_no_last_word_where_it_is_not_kept(customer_of: Callable[[str], Customer], profile: str, kept: bool) -> None:
    """The first try is still on its way while the second is declined: only a decline that is kept under the key stops it."""
    customer = customer_of(profile)
    with GONE:
        customer.pay("tok_late_then_declined", HANGS)

    assert [status_and_code(customer.pay("tok_late_then_declined")) for _ in range(2)] == [(402, "card_declined")] * 2
    assert customer.done() == []

    if kept:
        time.sleep(0.6)
        assert (customer.done(), status_and_code(customer.pay("tok_late_then_declined"))) == ([], (402, "card_declined"))
    else:
        customer.wait_for(["charge"])


# --- silence ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("profile", ["", "/keyless"])
def test_a_provider_may_never_answer_and_do_nothing(customer_of: Callable[[str], Customer], profile: str) -> None:
    """No number of tries tells anything."""
    customer = customer_of(profile)
    for _ in range(3):
        with GONE:
            customer.pay("tok_never_answers", HANGS)

    assert (customer.done(), customer.found("charges")) == ([], [])


@pytest.mark.parametrize("profile", ["", "/forgetful", "/keyless"])
def test_a_provider_may_never_answer_and_have_charged(customer_of: Callable[[str], Customer], profile: str) -> None:
    """Only the look-up tells; later tries are as silent, and charge nothing, with keys or without."""
    customer = customer_of(profile)
    for _ in range(3):
        with GONE:
            customer.pay("tok_charged_never_answers", HANGS)

    assert customer.done() == ["charge"]
    assert len(customer.found("charges")) == 1


# --- compensations that fail --------------------------------------------------------------------------------------------


def test_a_refund_may_always_fail(customer_of: Callable[[str], Customer]) -> None:
    """Whichever way, however often: an error, and no money moves."""
    customer = customer_of("")
    charge = customer.pay("tok_refund_always_fails").json()["id"]

    refunds = [customer.compensate("refunds", charge=charge, amount=8420) for _ in range(4)]

    assert {status_and_code(answer) for answer in [*refunds, customer.cancel_by_key("charges")]} == {(503, "unavailable")}
    assert customer.done() == ["charge"]


def test_a_refund_may_be_declined_for_good(customer_of: Callable[[str], Customer]) -> None:
    """Whichever way it is asked; the money stays where it is."""
    customer = customer_of("")
    charge = customer.pay("tok_refund_declined").json()["id"]

    answers = [customer.compensate("refunds", charge=charge, amount=8420), customer.cancel_by_key("charges")]

    assert [status_and_code(answer) for answer in answers] == [(402, "refund_declined")] * 2
    assert customer.done() == ["charge"]


@pytest.mark.parametrize(("profile", "kept"), [("", True), ("/forgetful", False), ("/burn", True), ("/watch", False), ("/keyless", False)])
def test_a_refund_may_be_declined_once(customer_of: Callable[[str], Customer], profile: str, kept: bool) -> None:
    """Where rejections are kept, whoever asks again under the same key is declined again, for ever; under another key it works."""
    customer = customer_of(profile)
    charge = customer.pay("tok_refund_declined_once").json()["id"]
    asked = {"charge": charge, "amount": 8420}
    assert status_and_code(customer.compensate("refunds", "a", **asked)) == (402, "refund_declined")

    if kept:
        assert [status_and_code(customer.compensate("refunds", "a", **asked)) for _ in range(2)] == [(402, "refund_declined")] * 2
        assert customer.done() == ["charge"]
    assert customer.compensate("refunds", "b" if kept else "a", **asked).status_code == 201

    assert customer.done() == ["charge", "refund"]


# --- answers that are not what was asked for ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("token", "amount", "currency"), [("tok_takes_1", 1, "EUR"), ("tok_takes_nothing", 0, "EUR"), ("tok_takes_idr", 8420, "IDR")]
)
def test_what_was_taken_is_what_is_answered_and_listed(
    customer_of: Callable[[str], Customer], token: str, amount: int, currency: str
) -> None:
    """The same again under the same key."""
    customer = customer_of("")

    answers = [customer.pay(token).json() for _ in range(2)]

    (listed,) = customer.listed("charges")
    assert [(charge["amount"], charge["currency"]) for charge in (*answers, listed)] == [(amount, currency)] * 3
    assert customer.done() == ["charge"]


def test_the_first_refund_may_give_back_a_part(customer_of: Callable[[str], Customer]) -> None:
    """It says so, also when it is asked for again; the next one gives back the rest."""
    customer = customer_of("")
    charge = customer.pay("tok_refunds_1_first").json()["id"]

    first, rest = (customer.compensate("refunds", charge=charge, amount=amount) for amount in (8420, 8419))

    assert (first.json()["amount"], rest.json()["amount"]) == (1, 8419)
    assert customer.listed("charges")[0]["refunded"] == 8420


def test_a_cancel_by_key_gives_back_whatever_was_taken(customer_of: Callable[[str], Customer]) -> None:
    customer = customer_of("")
    customer.pay("tok_refunds_1_first")

    assert customer.cancel_by_key("charges").json()["refunded"] == 8420


# --- carriers -----------------------------------------------------------------------------------------------------------


def test_a_carrier_may_be_down(customer_of: Callable[[str], Customer]) -> None:
    """Every booking fails, nothing is done."""
    customer = customer_of("")

    assert [status_and_code(customer.book("00503")) for _ in range(3)] == [(503, "unavailable")] * 3
    assert customer.done() == []


@pytest.mark.parametrize("profile", ["", "/keyless"])
def test_a_parcel_may_leave_without_an_answer(customer_of: Callable[[str], Customer], profile: str) -> None:
    """Only the look-up shows the label, and it cannot be cancelled any more."""
    customer = customer_of(profile)
    for _ in range(2):
        with GONE:
            customer.book("00409", HANGS)
    (label,) = customer.found("labels")

    answers = [customer.compensate(f"labels/{label}/cancel")] + ([] if profile else [customer.cancel_by_key("labels")])

    assert {status_and_code(answer) for answer in answers} == {(400, "handed_over")}
    assert customer.done() == ["label"]


def test_a_parcel_may_have_left(customer_of: Callable[[str], Customer]) -> None:
    """Booked and answered; whichever way it is asked, cancelling comes too late."""
    customer = customer_of("")
    label = customer.book("00410").json()["id"]

    answers = [customer.compensate(f"labels/{label}/cancel"), customer.cancel_by_key("labels")]

    assert [status_and_code(answer) for answer in answers] == [(400, "handed_over")] * 2
    assert customer.done() == ["label"]


def test_trouble_is_refused_without_demo_values(new_sandbox: Callable[..., "SandboxProcess"]) -> None:
    """A real shop never meets it."""
    strict = new_sandbox(demo_values=False)
    tokens = ["lands_late", "late_then_declined", "never_answers", "charged_never_answers", "refund_always_fails", "refund_declined"]
    tokens += ["refund_declined_once"]
    tokens += ["takes_1", "takes_nothing", "takes_idr", "refunds_1_first"]

    charges = [strict.charge(f"ORD-{token}", f"tok_{token}") for token in tokens]
    labels = [strict.book(f"ORD-{code}", code) for code in ("00409", "00410", "00503")]

    assert {status_and_code(answer) for answer in charges + labels} == {(400, "test_value_refused")}
