"""Promise: what a person says of money is compared with what the provider shows: a part that was given back elsewhere is neither paid twice nor written off."""

import math
import zlib
from dataclasses import replace
from typing import Any

import pytest

from fulfillment import engine, ledger, recovery
from fulfillment.clock import lease_s
from fulfillment.errors import StepError
from fulfillment.gateways import ROLES, SANDBOXES
from fulfillment.gateways.lease import Lease
from fulfillment.models import SagaState, StepState
from fulfillment.provider_call import call_provider
from fulfillment.recovery import Refused, Request, decide, version_of
from fulfillment.steps import known
from orders.models import Order
from orders.timeline import EntryKind, TimelineEntry
from tests.actors import AMARA, BELA
from tests.fulfillment.conftest import ADDRESS, SandboxProcess, now_due
from tests.fulfillment.driving import REFUSED, compensation_failed, copy_of, found, record, start, work

VERBS = ("undone_by_hand", "close")
UNKNOWN_PART = r"The provider shows €0\.60 left of the €1\.00 that our ledger says is captured\. `retry` first"


@pytest.fixture
def gateway(request: pytest.FixtureRequest) -> str:
    return getattr(request, "param", "sandbox")


@pytest.fixture
def number(request: pytest.FixtureRequest) -> str:
    return f"ORD-{zlib.crc32(request.node.name.encode())}"


@pytest.fixture
def saga(order: Order, number: str, gateway: str, sandbox: SandboxProcess, settings: Any) -> int:
    """Of an order that was charged €1.00, and whose refund the bank has declined."""
    settings.SANDBOX_URL, settings.PAYMENTS_GATEWAY, settings.SECOND_PERSON_ABOVE_MINOR = sandbox.url, gateway, 50
    saga = copy_of(order, number)
    plant(sandbox, "charge", number, gateway, amount=100)
    compensation_failed(saga)
    return saga


def plant(sandbox: SandboxProcess, operation: str, number: str, gateway: str = "sandbox", step: str = "payment", **more: Any) -> None:
    """What somebody does at the provider's own pages."""
    profile = gateway.removeprefix("sandbox").lstrip("_")
    planted = {"operation": operation, "order": number, "key": f"{number}:{step}:do:1:testsnonce", "currency": "EUR", "profile": profile}
    assert sandbox.client.post("/control/plant", json=planted | more).status_code == 201


def say(saga: int, verb: str, amount_minor: int | None = None) -> recovery.Answer:
    """Two persons ask for it."""
    order = found(saga).order
    given: dict[str, Any] = {"evidence": "transfer 2026-114", "amount_minor": amount_minor, "reason": "agreed"}
    for actor in (AMARA, BELA):
        answer = decide(Request(order=order.number, verb=verb, version=version_of(order.pk), actor=actor, **given))
        if answer.outcome == "done":
            break
    return answer


def shown_in_the_decision(saga: int, verb: str) -> str:
    entry = TimelineEntry.objects.get(order_id=found(saga).order_id, kind=EntryKind.OPERATOR, code=verb)
    answer: str = entry.detail["answer"]
    return answer


# --- a part was given back elsewhere ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("gateway", SANDBOXES, indirect=True)
@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("named_minor", [100, 60], ids=["what the ledger says", "what the provider shows"])
def test_a_part_given_back_elsewhere_is_entered_first(
    saga: int, number: str, gateway: str, sandbox: SandboxProcess, verb: str, named_minor: int
) -> None:
    """Support has given back €0.40 at the bank's pages: nobody pays me this twice, and nobody writes it off."""
    plant(sandbox, "refund", number, gateway, amount=40)

    with pytest.raises(Refused, match=UNKNOWN_PART):
        say(saga, verb, named_minor)

    assert record(saga).state == StepState.COMPENSATION_FAILED
    assert ledger.remaining(found(saga).order_id) == 100
    assert not TimelineEntry.objects.filter(order_id=found(saga).order_id, kind=EntryKind.OPERATOR).exists()


@pytest.mark.parametrize(("verb", "ends"), [("undone_by_hand", SagaState.COMPENSATED), ("close", SagaState.CLOSED_BY_OPERATOR)])
@pytest.mark.parametrize("gateway", SANDBOXES, indirect=True)
def test_retry_is_the_way_to_the_true_amount(saga: int, number: str, gateway: str, sandbox: SandboxProcess, verb: str, ends: str) -> None:
    """The bank still declines. What is left can then be paid back another way, or written off."""
    plant(sandbox, "refund", number, gateway, amount=40)
    say(saga, "retry")
    asks_what_is_left(saga)
    assert ledger.remaining(found(saga).order_id) == 60
    now_due(saga)
    recovery.inspect_saga(saga)
    engine.record_failure(start(saga, compensating=True), REFUSED)

    say(saga, verb, 60)

    assert found(saga).state == ends
    assert "€0.60 of it is left" in shown_in_the_decision(saga, verb)


def asks_what_is_left(saga: int) -> None:
    """What a worker does, once the attempt that was refused can no longer land."""
    quiet: dict[str, Any] = {"watched_s": math.inf, "refused_quiet_s": math.inf, "own_quiet_s": math.inf}
    claim, payment = replace(start(saga, compensating=True), **quiet), known("payment")
    assert payment is not None
    answer = call_provider(payment, claim, Lease.begin(lease_s()))
    assert isinstance(answer, StepError), answer
    engine.record_failure(claim, answer)


# --- all of it, or nothing --------------------------------------------------------------------------------------------------


def test_all_of_it_given_back_there_is_what_the_person_says(saga: int, number: str, sandbox: SandboxProcess) -> None:
    plant(sandbox, "refund", number, amount=100)

    say(saga, "undone_by_hand", 100)

    assert found(saga).state == SagaState.COMPENSATED
    assert "nothing of it is left" in shown_in_the_decision(saga, "undone_by_hand")


def test_what_was_all_given_back_is_not_written_off(saga: int, number: str, sandbox: SandboxProcess) -> None:
    plant(sandbox, "refund", number, amount=100)

    with pytest.raises(Refused, match=r"shows €0\.00 left of the €1\.00"):
        say(saga, "close", 100)

    assert found(saga).state == SagaState.NEEDS_ATTENTION


@pytest.mark.parametrize("gateway", SANDBOXES, indirect=True)
@pytest.mark.parametrize(("verb", "ends"), [("undone_by_hand", SagaState.COMPENSATED), ("close", SagaState.CLOSED_BY_OPERATOR)])
def test_what_the_provider_shows_is_part_of_the_decision(saga: int, number: str, verb: str, ends: str) -> None:
    answer = say(saga, verb, 100)

    assert found(saga).state == ends
    shown = f"the provider shows payment under {number}:payment:do:1:testsnonce (charge_id ch_"
    assert shown_in_the_decision(saga, verb).startswith(shown)
    assert "€1.00 of it is left" in shown_in_the_decision(saga, verb)
    assert shown[1:] in answer.sentence


# --- nobody answers ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("verb", "ends"), [("undone_by_hand", SagaState.COMPENSATED), ("close", SagaState.CLOSED_BY_OPERATOR)])
def test_without_an_answer_the_word_of_two_persons_counts(saga: int, settings: Any, verb: str, ends: str) -> None:
    """A provider may be gone for good, and its orders must end."""
    settings.SANDBOX_URL = "http://127.0.0.1:9"

    say(saga, verb, 100)

    assert found(saga).state == ends
    assert shown_in_the_decision(saga, verb).startswith("the provider did not answer (")


@pytest.mark.parametrize(("verb", "ends"), [("undone_by_hand", SagaState.COMPENSATED), ("close", SagaState.CLOSED_BY_OPERATOR)])
def test_a_provider_that_exists_no_more_stops_nobody(
    saga: int, settings: Any, monkeypatch: pytest.MonkeyPatch, verb: str, ends: str
) -> None:
    settings.PAYMENTS_GATEWAY = "sandbox_burn"
    others = {name: provider for name, provider in ROLES["payments"].providers.items() if name != "sandbox"}
    monkeypatch.setitem(ROLES, "payments", ROLES["payments"]._replace(providers=others))

    say(saga, verb, 100)

    assert found(saga).state == ends
    assert shown_in_the_decision(saga, verb) == "nobody could be asked, because this code does not serve payment"


# --- a parcel ---------------------------------------------------------------------------------------------------------------


@pytest.fixture
def parcel_leaves(order: Order, number: str, sandbox: SandboxProcess, settings: Any) -> int:
    """Paid and booked in doubt; turned back; and the carrier has refused to cancel the label."""
    settings.SANDBOX_URL, settings.SECOND_PERSON_ABOVE_MINOR = sandbox.url, 50
    saga = copy_of(order, number)
    Order.objects.filter(number=number).update(shipping_address=ADDRESS)
    work(saga)
    engine.run_local(saga, 1, "inventory", compensating=False)
    plant(sandbox, "label", number, step="shipping")
    start(saga, "shipping")
    recovery.cancel(number, "web-shop")
    now_due(saga)
    engine.record_failure(start_undo(saga), REFUSED)
    return saga


def start_undo(saga: int) -> engine.Claim:
    for _ in range(3):
        now_due(saga)
        recovery.inspect_saga(saga)
        if found(saga).is_backward:
            break
    return start(saga, "shipping", compensating=True)


def test_what_the_carrier_shows_is_part_of_the_decision(parcel_leaves: int) -> None:
    say(parcel_leaves, "undone_by_hand", 0)

    assert "it has not been undone" in shown_in_the_decision(parcel_leaves, "undone_by_hand")
    assert record(parcel_leaves, "shipping").state == StepState.COMPENSATED_BY_HAND


def test_a_closed_order_whose_parcel_leaves_shows_what_the_bank_shows(parcel_leaves: int, number: str, sandbox: SandboxProcess) -> None:
    """No verb could enter the discount of €0.40, because the refund waits for the parcel: the close counts, and says what is left."""
    plant(sandbox, "refund", number, amount=40)

    say(parcel_leaves, "close", 100)

    assert found(parcel_leaves).state == SagaState.CLOSED_BY_OPERATOR
    assert "€0.60 of it is left" in shown_in_the_decision(parcel_leaves, "close")
