"""Promise: nobody ships what the provider shows as given back: it is asked before a person's word counts, and before an answer that was repeated does."""

import zlib
from typing import Any

import pytest

from fulfillment import engine, ledger, recovery
from fulfillment.clock import lease_s
from fulfillment.errors import InDoubt, Rejected
from fulfillment.gateways.lease import Lease
from fulfillment.models import SagaState, StepState
from fulfillment.provider_call import call_provider
from fulfillment.recovery import Refused, Request, decide, version_of
from fulfillment.steps import known
from orders.incidents import Incident
from orders.models import Order, OrderLine
from orders.timeline import EntryKind, TimelineEntry
from tests.actors import AMARA
from tests.fulfillment.conftest import ADDRESS, SandboxProcess, now_due
from tests.fulfillment.driving import copy_of, found, in_doubt, record, start, work

SILENCE = InDoubt("No answer.")


@pytest.fixture
def number(request: pytest.FixtureRequest) -> str:
    return f"ORD-{zlib.crc32(request.node.name.encode())}"


@pytest.fixture
def saga(order: Order, number: str, sandbox: SandboxProcess, settings: Any) -> int:
    """Of an order whose charge is in doubt, and took place."""
    settings.SANDBOX_URL = sandbox.url
    saga = copy_of(order, number)
    in_doubt(saga)
    plant(sandbox, "charge", number, amount=100)
    return saga


def plant(sandbox: SandboxProcess, operation: str, number: str, step: str = "payment", **more: Any) -> None:
    planted = {"operation": operation, "order": number, "key": f"{number}:{step}:do:1:testsnonce", "currency": "EUR"} | more
    assert sandbox.client.post("/control/plant", json=planted).status_code == 201


def happened(saga: int, **more: Any) -> recovery.Answer:
    order = found(saga).order
    given: dict[str, Any] = {"evidence": "the bank's page"} | more
    return decide(Request(order=order.number, verb="it_happened", version=version_of(order.pk), actor=AMARA, reason="seen", **given))


def audited(saga: int) -> list[TimelineEntry]:
    return list(TimelineEntry.objects.filter(order_id=found(saga).order_id, kind=EntryKind.OPERATOR))


@pytest.mark.parametrize(("given_back", "left"), [(100, "nothing of it is left"), (40, "€0.60 of it is left")], ids=["all of it", "a part"])
def test_what_was_given_back_did_not_happen(saga: int, number: str, sandbox: SandboxProcess, given_back: int, left: str) -> None:
    """Support has refunded the charge; somebody else says that it happened."""
    plant(sandbox, "refund", number, amount=given_back)

    with pytest.raises(Refused, match=left):
        happened(saga)

    assert record(saga).state == StepState.IN_DOUBT
    assert ledger.remaining(found(saga).order_id) == 0
    assert audited(saga) == []


def test_what_the_provider_shows_is_part_of_the_decision(saga: int, number: str) -> None:
    answer = happened(saga)

    (entry,) = audited(saga)
    shown = f"the provider shows payment under {number}:payment:do:1:testsnonce (charge_id ch_"
    assert entry.detail["answer"].startswith(shown)
    assert "€1.00 of it is left" in entry.detail["answer"]
    assert shown[1:] in answer.sentence
    assert record(saga).state == StepState.DONE_BY_HAND


def test_a_charge_of_another_amount_did_not_happen(order: Order, sandbox: SandboxProcess, settings: Any) -> None:
    settings.SANDBOX_URL = sandbox.url
    saga = copy_of(order, "ORD-71001")
    in_doubt(saga)
    plant(sandbox, "charge", "ORD-71001", amount=1)

    with pytest.raises(Refused, match=r"Payment took €0\.01 where €1\.00 was asked for"):
        happened(saga)


def test_a_look_up_shows_an_amount_in_the_currency_of_the_answer(order: Order, sandbox: SandboxProcess, settings: Any) -> None:
    """A bank that has charged rupiah has not charged euros."""
    settings.SANDBOX_URL = sandbox.url
    saga = copy_of(order, "ORD-71004")
    in_doubt(saga)
    plant(sandbox, "charge", "ORD-71004", amount=100, currency="IDR")

    order = found(saga).order
    shown = decide(Request(order=order.number, verb="look_up", version=version_of(order.pk), actor=AMARA)).sentence

    assert "currency IDR); IDR1.00 of it is left" in shown
    assert "€" not in shown


def test_a_label_that_somebody_has_cancelled_was_not_booked(order: Order, sandbox: SandboxProcess, settings: Any) -> None:
    settings.SANDBOX_URL = sandbox.url
    number = "ORD-71002"
    saga = copy_of(order, number)
    Order.objects.filter(number=number).update(shipping_address=ADDRESS)
    work(saga)
    engine.run_local(saga, 1, "inventory", compensating=False)
    plant(sandbox, "label", number, "shipping")
    in_doubt_at(saga, "shipping")
    plant(sandbox, "cancel_label", number, "shipping")

    with pytest.raises(Refused, match="nothing of it is left"):
        happened(saga)

    assert found(saga).state == SagaState.RUNNING


def in_doubt_at(saga: int, name: str) -> None:
    engine.record_failure(start(saga, name), SILENCE)


def test_without_an_answer_nobody_s_word_counts(saga: int, settings: Any) -> None:
    settings.SANDBOX_URL = "http://127.0.0.1:9"

    with pytest.raises(Refused, match="The provider could not be asked"):
        happened(saga)

    assert record(saga).state == StepState.IN_DOUBT


def test_nobody_is_asked_for_a_decision_that_lacks_something(saga: int, settings: Any) -> None:
    settings.SANDBOX_URL = "http://127.0.0.1:9"

    with pytest.raises(Refused, match="it_happened needs evidence"):
        happened(saga, evidence="")


def test_that_the_provider_shows_nothing_is_part_of_the_decision(order: Order, sandbox: SandboxProcess, settings: Any) -> None:
    """Paid another way, says the person: that is their word, and what the provider showed stands beside it."""
    settings.SANDBOX_URL = sandbox.url
    saga = copy_of(order, "ORD-71003")
    in_doubt(saga)

    happened(saga)

    (entry,) = audited(saga)
    assert entry.detail["answer"] == "the provider shows no payment under ORD-71003:payment:do:1:testsnonce"


@pytest.fixture
def paid_another_way(request: pytest.FixtureRequest, order: Order, number: str, sandbox: SandboxProcess, settings: Any) -> int:
    """In doubt, nothing at the provider; paid by transfer, says a person; and then there are too few pieces."""
    settings.SANDBOX_URL, settings.PAYMENTS_GATEWAY = sandbox.url, getattr(request, "param", "sandbox")
    saga = copy_of(order, number)
    in_doubt(saga)
    happened(saga, evidence="transfer 2026-114")
    OrderLine.objects.create(order=found(saga).order, sku="MUG", name="Mug", quantity=99, unit_price_minor=1)
    with pytest.raises(Rejected):
        engine.run_local(saga, found(saga).epoch, "inventory", compensating=False)
    assert engine.chain_stopped(saga, found(saga).epoch) is not None
    return saga


def compensate(saga: int) -> None:
    claim, step = start(saga, compensating=True), known("payment")
    assert step is not None
    receipt = call_provider(step, claim, Lease.begin(lease_s()))
    assert isinstance(receipt, dict), receipt
    engine.record_success(claim, receipt)


@pytest.mark.parametrize("paid_another_way", ["sandbox", "sandbox_forgetful", "sandbox_burn"], indirect=True)
def test_what_was_paid_another_way_is_not_given_back_by_finding_nothing(paid_another_way: int) -> None:
    """I have paid by transfer, and get no parcel: somebody must send my money back, and is told."""
    compensate(paid_another_way)

    assert found(paid_another_way).state == SagaState.NEEDS_ATTENTION
    assert found(paid_another_way).order.status == "compensating"
    incident = Incident.objects.get()
    assert (incident.kind, incident.step, incident.code, incident.amount_minor) == (
        "compensation_exhausted",
        "payment",
        "paid_another_way",
        100,
    )
    assert "transfer 2026-114" in incident.message


def test_a_person_ends_what_was_paid_another_way(paid_another_way: int) -> None:
    compensate(paid_another_way)
    order = found(paid_another_way).order

    given: dict[str, Any] = {"evidence": "transfer 2026-120", "amount_minor": 100, "reason": "sent back"}
    decide(Request(order=order.number, verb="undone_by_hand", version=version_of(order.pk), actor=AMARA, **given))

    assert found(paid_another_way).state == SagaState.COMPENSATED
    assert found(paid_another_way).order.status == "inventory_failed"


def test_what_lands_after_all_is_given_back_as_ever(paid_another_way: int, number: str, sandbox: SandboxProcess) -> None:
    """The person has seen the charge where our look-up did not show it yet."""
    plant(sandbox, "charge", number, amount=100)

    compensate(paid_another_way)

    assert found(paid_another_way).state == SagaState.COMPENSATED
    assert ledger.remaining(found(paid_another_way).order_id) == 0


@pytest.mark.parametrize("gateway", ["sandbox", "sandbox_forgetful", "sandbox_burn", "sandbox_watch"])
def test_an_answer_that_is_only_repeated_is_not_believed(order: Order, sandbox: SandboxProcess, settings: Any, gateway: str) -> None:
    """The answer was lost, support has refunded the charge, and the same key is answered with "charged" again."""
    settings.SANDBOX_URL, settings.PAYMENTS_GATEWAY = sandbox.url, gateway
    number = f"ORD-72{len(gateway)}"
    saga = copy_of(order, number)
    claim, payment = start(saga), known("payment")
    assert payment is not None
    assert isinstance(call_provider(payment, claim, Lease.begin(lease_s())), dict)
    engine.record_failure(claim, SILENCE)
    plant(sandbox, "refund", number, amount=100, profile=gateway.removeprefix("sandbox").lstrip("_"))
    now_due(saga)
    recovery.inspect_saga(saga)

    answer = work(saga)

    assert getattr(answer, "code", answer) == "reversed_elsewhere"
    assert record(saga, "inventory").state == StepState.PENDING
