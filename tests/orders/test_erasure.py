"""Promise: a customer who asks for it is forgotten: afterwards no row of the shop's database names them, and its books still add up."""

import io
import json
from typing import Any

import pytest
from django.core.management import call_command
from django.db import DatabaseError, transaction

from fulfillment.circuit import Circuit, CircuitEntry
from fulfillment.models import Saga, SagaState, StepRecord, StockMovement
from fulfillment.retry_batches import RetryBatch, RetryItem
from orders.clock import ShopNow
from orders.incidents import Incident, IncidentState
from orders.models import Fact, Order
from orders.refusals import RefusedAttempt
from orders.timeline import EntryKind, HistoryRow, TimelineEntry
from sideeffects.models import Delivery, DeliveryState
from sideeffects.subscribers.loyalty.models import PointsEntry
from sideeffects.subscribers.loyalty.subscriber import audit
from tests.conftest import SignIn
from tests.orders.named_customer import ADDRESS, EMAIL, MARKS, an_order, everything


@pytest.fixture(autouse=True)
def kim(sign_in: SignIn) -> None:
    """Of another name than the customer."""
    sign_in("kim")


def run(*words: str) -> str:
    said = io.StringIO()
    call_command("forget", *words, stdout=said)
    return said.getvalue()


BY = ("--yes", "--reason", "Amara Okafor asked, ticket 512")


@pytest.mark.django_db
def test_a_customer_is_forgotten_everywhere() -> None:
    """I asked to be forgotten: my name, address, card and points account are nowhere, and what the tax office wants is still there."""
    an_order("ORD-1")
    an_order("ORD-2", email=EMAIL.upper())
    kept = an_order("ORD-3", email="someone@example.com", customer_name="Some One", shipping_address=ADDRESS | {"name": "Some One"})

    before = everything()
    assert all(mark in before for mark in MARKS)
    said = run(EMAIL.lower(), *BY)

    for number in ("ORD-1", "ORD-2"):
        order = Order.objects.get(number=number)
        assert (order.total_minor, order.shipping_address, order.lines.get().sku) == (
            8420,
            {"country": "IE", "state": "Co. Munster"},
            "MUG",
        )
        assert (order.request_digest, order.digest) == ("", "")
        assert order.timeline.get(code="forgotten").actor == "kim"
        assert order.saga.records.get().receipt == {"label_id": "lbl_1", "to": "forgotten"}
    left = [line for line in everything().splitlines() if any(mark in line for mark in MARKS) and "ord-3" not in line]
    assert [line for line in left if "someone@" not in line and not _belongs_to(line, kept)] == []
    assert "2 orders" in said
    assert list(audit_of_balances()) == []


def _belongs_to(line: str, order: Order) -> bool:
    row = json.loads(line.split(": ", 1)[1])
    mine = {order.pk, order.saga.pk}
    return row.get("order_id") in mine or row.get("saga_id") in mine or row.get("id") == order.pk


def audit_of_balances() -> list[str]:
    """What loyalty's own audit says about its balances. The facts of this test were never delivered."""
    return [complaint for complaint in audit(None) if complaint.startswith("account")]


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("postal_code", "kept"),
    [
        ("101", "€101.00 is still captured"),
        ("101", "€1,101.00, twice €9,101"),
        ("101", "¥101 or US$101 or 101%"),
        ("1040", "see ORD-1040 of 2026-11-27"),
        ("4073", "charge f3392f8b-6116-4073-ab96-e330819e2c07"),
        ("1043", "ORD-1043:payment:do:1:k3vq7m2xdc"),
        ("2026", "10:15 on 27.11.2026, 2026/114, 2026-11-27"),
    ],
)
def test_what_only_looks_like_a_part_of_the_address_stays(postal_code: str, kept: str) -> None:
    """My postal code is 101, as of half of Reykjavik: the books keep amounts, dates and the providers' references."""
    order = an_order("ORD-7", shipping_address=ADDRESS | {"postal_code": postal_code})
    TimelineEntry.objects.create(order=order, kind=EntryKind.OPERATOR, detail={"reason": kept, "answer": f"at {postal_code}, Amara"})
    StepRecord.objects.filter(saga__order=order).update(receipt={"charge_id": kept})

    run(EMAIL, *BY)

    entry = order.timeline.get(detail__has_key="answer")
    assert entry.detail == {"reason": kept, "answer": "at forgotten, forgotten"}
    assert order.saga.records.get().receipt == {"charge_id": kept}


@pytest.mark.django_db
def test_a_customer_is_forgotten_in_what_was_decided_about_many() -> None:
    """The reason of a bulk retry, and of a circuit that was held, may name me too."""
    an_order("ORD-1")
    batch = RetryBatch.objects.create(filters={}, reason="Okafor has asked", confirmed_at=ShopNow(), ended_at=ShopNow())
    RetryItem.objects.create(batch=batch, order="ORD-1", currency="EUR", outcome="refused", sentence="Refused: Amara Okafor.")
    Circuit.objects.create(name="payments.sandbox.do", reason=f"asked by {EMAIL}")
    CircuitEntry.objects.create(circuit="payments.sandbox.do", to_state="open", reason=f"asked by {EMAIL}")

    said = run(EMAIL, *BY)

    assert [line for line in everything().splitlines() if any(mark in line for mark in MARKS)] == []
    assert "2 bulk retries" in said
    assert "2 circuits" in said
    assert RetryItem.objects.get().sentence == "Refused: forgotten."


@pytest.mark.django_db
def test_first_it_only_counts() -> None:
    """A mistyped command costs nobody their orders."""
    an_order("ORD-1")
    before = everything()

    said = run(EMAIL)

    assert everything() == before
    for counted in (
        "1 orders",
        "1 history entries",
        "1 steps",
        "1 incidents",
        "1 deliveries",
        "1 admin log",
        "1 loyalty",
        "1 facts",
        "2 stock movements",
    ):
        assert counted in said
    assert "Nothing was written" in said


@pytest.mark.django_db
def test_twice_is_once() -> None:
    an_order("ORD-1")
    run(EMAIL, *BY)
    before = everything()

    assert "nothing is left to forget" in run(EMAIL, *BY)

    assert everything() == before


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("model", "changes", "why"),
    [
        (Saga, {"state": SagaState.RUNNING, "wake_at": ShopNow()}, "ORD-2 is under way (running)"),
        (Incident, {"state": IncidentState.OPEN}, "ORD-2 has an open incident"),
        (Fact, {"relayed_at": None}, "ORD-2 has side effects that nobody has begun"),
        (Delivery, {"state": DeliveryState.DEAD}, "ORD-2 waits for email (dead)"),
    ],
)
def test_an_order_that_is_under_way_is_refused(model: Any, changes: dict[str, Any], why: str) -> None:
    """My parcel still needs my address, and my refund my card: nothing is forgotten half."""
    an_order("ORD-1")
    an_order("ORD-2")
    of = {Saga: "order__number", Incident: "order__number", Fact: "order__number", Delivery: "fact__order__number"}
    model.objects.filter(**{of[model]: "ORD-2"}).update(**changes)
    before = everything()

    for words in ((EMAIL,), (EMAIL, *BY)):
        with pytest.raises(SystemExit, match="Refused: ORD-2 still needed") as refused:
            run(*words)
        assert why in str(refused.value)

    assert everything() == before
    assert [(one.actor, one.verb, why in one.sentence) for one in RefusedAttempt.objects.all()] == [("kim", "forget", True)]


@pytest.mark.django_db
def test_what_was_refused_about_an_order_names_nobody_afterwards() -> None:
    """The provider's words in a refusal are forgotten too."""
    an_order("ORD-1")
    RefusedAttempt.objects.create(verb="look_up", subject="ORD-1", sentence="The provider could not be asked: no card of Okafor.")

    run(EMAIL, *BY)

    assert RefusedAttempt.objects.get().sentence == "The provider could not be asked: no card of forgotten."


@pytest.mark.django_db
def test_history_and_facts_are_still_closed_to_everybody_else() -> None:
    """What was lifted for one customer's rows is down again, and a hand edit is refused, before and after."""
    order = an_order("ORD-1")

    for _ in range(2):
        for rows, change in (
            (HistoryRow.objects.filter(order=order), {"detail": {}}),
            (Fact.objects.filter(order=order), {"payload": {}}),
            (PointsEntry.objects.all(), {"account": "x"}),
            (StockMovement.objects.all(), {"note": ""}),
        ):
            with pytest.raises(DatabaseError, match="Cannot update"), transaction.atomic():
                rows.update(**change)
        run(EMAIL, *BY)


@pytest.mark.django_db
def test_a_fact_holds_no_name() -> None:
    """What every subscriber reads holds references and amounts."""
    an_order("ORD-1")

    assert not any(mark in json.dumps(Fact.objects.get().payload).lower() for mark in MARKS)


@pytest.mark.django_db
def test_the_key_of_a_forgotten_order_still_makes_no_second_one() -> None:
    """A request that comes again after a year is answered with the order that it has placed."""
    order = an_order("ORD-1", idempotency_key="7f4a")

    run(EMAIL, *BY)

    order.refresh_from_db()
    assert order.idempotency_key == "7f4a"


@pytest.mark.django_db
@pytest.mark.parametrize(("key", "counted"), [("amara-7", True), ("7f4a", False)])
def test_a_key_that_names_the_customer_is_counted_beforehand(key: str, counted: bool) -> None:
    """Its client must stop first: under such a key the same request would place a new order."""
    an_order("ORD-1", idempotency_key=key)

    for words in ((), BY):
        assert ("1 idempotency keys" in run(EMAIL, *words)) is counted
