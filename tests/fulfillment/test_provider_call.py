"""Promise: one provider call obeys its capabilities, with the real sandbox on the other side."""

import zlib
from collections.abc import Callable
from typing import Any

import pytest

from fulfillment.engine import Claim
from fulfillment.errors import Busy, Changed, InDoubt, Rejected, StepError
from fulfillment.gateways.lease import Lease
from fulfillment.provider_call import call_provider
from fulfillment.step import Kind, Receipt, Step
from fulfillment.steps.payment import Payment
from fulfillment.steps.shipping import Shipping
from orders.models import Order
from tests.fulfillment.conftest import SandboxProcess

A_DAY_S = 90_000.0
Ask = Callable[..., Receipt | StepError | None]


@pytest.fixture
def ask(order: Order, sandbox: SandboxProcess, settings: Any, request: pytest.FixtureRequest) -> Ask:
    """A provider call for an order of this test's own."""
    settings.SANDBOX_URL = sandbox.url
    settings.CALL_DEADLINE_S = 0.5
    order.number = f"ORD-{zlib.crc32(request.node.name.encode())}"
    order.shipping_address = {"name": "A", "line1": "B", "city": "C", "postal_code": "1", "country": "IE"}
    order.save()

    def calls(
        step: Step | None = None, gateway: str = "sandbox", token: str = "tok_ok", compensating: bool = False, **known: Any
    ) -> Receipt | StepError | None:
        step = step or Payment()
        Order.objects.filter(pk=order.pk).update(payment_token=token)
        do_key = f"{order.number}:{step.name}:do:1"
        claim = Claim(
            saga=1, epoch=1, placed=Order.objects.get(pk=order.pk), name=step.name, compensating=compensating, claim=None,
            key=f"{order.number}:{step.name}:compensate:1" if compensating else do_key, do_key=do_key, tries=1, role=step.role, gateway=gateway,
            **{"receipt": None, "amount_minor": None} | known,
        )  # fmt: skip
        return call_provider(step, claim, Lease.begin(30))

    return calls


def effects(sandbox: SandboxProcess, order: Order) -> list[str]:
    return [operation for operation, _, _ in sandbox.effects(order.number)]


def test_within_the_window_the_same_key_asks_again(ask: Ask, sandbox: SandboxProcess, order: Order) -> None:
    first, second = ask(), ask()

    assert isinstance(first, dict)
    assert second == first
    assert effects(sandbox, order) == ["charge"]


def test_after_the_window_it_looks_up_first(ask: Ask, sandbox: SandboxProcess, order: Order) -> None:
    first = ask()
    sandbox.client.post("/control/forget", json={"profile": "", "key": f"{order.number}:payment:do:1"})

    second = ask(age_s=A_DAY_S, quiet_s=A_DAY_S)

    assert second == first
    assert effects(sandbox, order) == ["charge"]


def test_what_somebody_else_has_reversed_is_not_adopted(ask: Ask, sandbox: SandboxProcess, order: Order) -> None:
    """Found, and refunded since: going on would ship for free."""
    ask()
    key = f"{order.number}:payment:do:1"
    sandbox.client.post("/control/plant", json={"operation": "refund", "order": order.number, "key": key, "amount": 100, "currency": "EUR"})

    refused = ask(age_s=A_DAY_S, quiet_s=A_DAY_S)

    assert isinstance(refused, Rejected)
    assert refused.code == "reversed_elsewhere"


def test_nothing_there_counts_only_after_the_lag(ask: Ask, sandbox: SandboxProcess, order: Order) -> None:
    early = ask(age_s=A_DAY_S, quiet_s=0.1)
    assert isinstance(early, Busy)
    assert early.code == "lag"
    assert effects(sandbox, order) == []

    assert isinstance(ask(age_s=A_DAY_S, quiet_s=A_DAY_S), dict)
    assert effects(sandbox, order) == ["charge"]


@pytest.mark.parametrize("gateway", ["sandbox", "sandbox_burn"])
def test_blind_compensation_of_what_never_happened_leaves_a_tombstone(
    ask: Ask, sandbox: SandboxProcess, order: Order, gateway: str
) -> None:
    """Tombstone or burnt key: nothing remains, and nothing can come."""
    assert not isinstance(ask(compensating=True, gateway=gateway), StepError)

    ask(gateway=gateway)
    money = [amount if operation == "charge" else -(amount or 0) for operation, _, amount in sandbox.effects(order.number) if amount]
    assert sum(money) == 0


def test_burning_a_declined_key_ends_the_doubt(ask: Ask, sandbox: SandboxProcess, order: Order) -> None:
    assert ask(compensating=True, gateway="sandbox_burn", token="tok_declined") == {"burnt": True}
    assert effects(sandbox, order) == []


def test_watching_ends_with_a_person_never_with_done(ask: Ask) -> None:
    watching = ask(compensating=True, gateway="sandbox_watch", age_s=10.0, quiet_s=10.0)
    assert isinstance(watching, Busy)

    over = ask(compensating=True, gateway="sandbox_watch", age_s=A_DAY_S, quiet_s=A_DAY_S)
    assert isinstance(over, Rejected)
    assert over.code == "watched_in_vain"


def test_a_compensation_in_doubt_asks_what_is_left_before_it_gives_back_again(ask: Ask, sandbox: SandboxProcess, order: Order) -> None:
    """On a bank without keys the first refund had landed: a second one is not asked for."""
    receipt = ask(gateway="sandbox_keyless")
    known = {"receipt": receipt, "amount_minor": order.total_minor, "gateway": "sandbox_keyless"}
    assert not isinstance(ask(compensating=True, **known), StepError)

    again = ask(compensating=True, doubt=True, **known)

    assert again == {"found_compensated": True, "amount_minor": order.total_minor}
    assert effects(sandbox, order) == ["charge", "refund"]


def test_what_somebody_else_has_given_back_is_noticed(ask: Ask, sandbox: SandboxProcess, order: Order) -> None:
    receipt = ask()
    key = f"{order.number}:payment:do:1"
    planted = {"operation": "refund", "order": order.number, "key": key, "amount": 40, "currency": "EUR"}
    assert sandbox.client.post("/control/plant", json=planted).status_code == 201

    found = ask(compensating=True, doubt=True, receipt=receipt, amount_minor=order.total_minor)

    assert isinstance(found, Changed)
    assert found.given_back_minor == 40


def test_a_receipt_of_an_older_version_is_compensated_by_its_key(ask: Ask, sandbox: SandboxProcess, order: Order) -> None:
    """It lacks what this code needs: that says no more than no receipt, and strands nobody."""
    ask()

    compensated = ask(compensating=True, receipt={"charge": "ch_in_an_older_shape"}, amount_minor=None)

    assert compensated == {"amount_minor": order.total_minor}
    assert effects(sandbox, order) == ["charge", "refund"]


def test_a_carrier_that_rejects_the_cancel_is_heard(ask: Ask, order: Order) -> None:
    order.shipping_address["postal_code"] = "00410"
    order.save()
    receipt = ask(step=Shipping())

    refused = ask(step=Shipping(), compensating=True, receipt=receipt)

    assert isinstance(refused, Rejected)
    assert refused.code == "handed_over"


class Surprising(Payment):
    def execute(self, order: Order, key: str) -> Receipt:
        raise LookupError("nobody listed this")


class Unstorable(Payment):
    def execute(self, order: Order, key: str) -> Receipt:
        return {"at": object()}


@pytest.mark.parametrize(("step", "code"), [(Surprising, "unknown_error"), (Unstorable, "receipt_unusable")])
def test_what_nobody_expected_is_in_doubt(ask: Ask, step: type[Payment], code: str) -> None:
    outcome = ask(step=step())

    assert isinstance(outcome, InDoubt)
    assert outcome.code == code


class Homeless(Step):
    """A step that names no role calls whomever it likes."""

    name = "homeless"
    kind = Kind.COMPENSABLE

    def execute(self, order: Order, key: str) -> Receipt:
        return {"ok": True}


def test_a_step_without_a_role_needs_no_capabilities(ask: Ask) -> None:
    assert ask(step=Homeless(), gateway="") == {"ok": True}
