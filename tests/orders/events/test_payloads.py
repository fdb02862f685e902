"""Promise: an event is read as it was recorded, also by code that is one version or one field further on, or behind; and what cannot be read names the field."""

from dataclasses import fields
from typing import Any

import pytest

from orders.events import (
    EVENTS,
    Event,
    InvalidPayload,
    Line,
    NewerVersion,
    OrderCreated,
    OrderFulfilled,
    OrderNeedsAttention,
    PaymentCompleted,
    PaymentRefunded,
    PaymentRefundRequested,
)
from tests.event_schemas import faults

FULFILLED = OrderFulfilled(
    number="ORD-1",
    currency="EUR",
    total_minor=8420,
    tracking="TR-1",
    fulfilled_on="2026-11-24",
    lines=(Line(sku="A", quantity=2, unit_price_minor=4210),),
)
PERSONAL = ("name", "email", "address", "customer", "token", "message", "city", "country", "phone")
VALUES: dict[str, Any] = {
    "number": "ORD-1", "currency": "EUR", "total_minor": 8420, "amount_minor": 8420, "attempt": 2, "by_hand": True, "code": "card_declined",
    "tracking": "TR-1", "fulfilled_on": "2026-11-24", "reason": "payment_failed", "incident": 7, "kind": "stuck", "lines": FULFILLED.lines,
}  # fmt: skip


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.type)
def test_what_was_written_is_read_and_matches_its_schema(event: type[Event]) -> None:
    written = event.of(VALUES)

    payload = written.to_json()

    assert event.from_json(payload, event.version) == written
    assert faults(event.type, payload) == []


def test_no_event_has_a_field_for_personal_data() -> None:
    named = {field.name for event in EVENTS for field in fields(event)}

    assert [name for name in named if any(word in name for word in PERSONAL)] == []


def test_what_is_as_usual_is_not_written() -> None:
    """Each order records five events: their bytes count."""
    assert PaymentCompleted(number="ORD-1", currency="EUR", amount_minor=8420).to_json() == {
        "number": "ORD-1",
        "currency": "EUR",
        "amount_minor": 8420,
    }


def test_the_same_fact_has_the_same_id_and_another_attempt_another() -> None:
    def refund(attempt: int) -> PaymentRefundRequested:
        return PaymentRefundRequested(number="ORD-1", currency="EUR", amount_minor=1, attempt=attempt)

    assert refund(1).fact_id == refund(1).fact_id != refund(2).fact_id
    by_hand = PaymentRefunded(number="ORD-1", currency="EUR", amount_minor=1, by_hand=True)
    assert by_hand.fact_id != PaymentRefunded(number="ORD-1", currency="EUR", amount_minor=1).fact_id
    attention: dict[str, Any] = {"number": "ORD-1", "kind": "stuck", "currency": "EUR", "amount_minor": 0}
    assert OrderNeedsAttention(incident=1, **attention).fact_id != OrderNeedsAttention(incident=2, **attention).fact_id


def test_the_id_of_order_fulfilled_is_what_it_was_in_the_first_release() -> None:
    """A delivery of then is found under it."""
    assert str(FULFILLED.fact_id) == "b38318ff-e025-53c5-ae9a-0de36664deb3"


def test_version_one_of_order_fulfilled_is_read() -> None:
    """It carried the customer's name and address."""
    first = FULFILLED.to_json() | {"customer_name": "Amara Okafor", "shipping_address": {"city": "Cork"}}

    assert OrderFulfilled.from_json(first, version=1) == FULFILLED


def test_a_field_that_only_newer_code_knows_is_ignored() -> None:
    assert OrderFulfilled.from_json(FULFILLED.to_json() | {"gift": True}) == FULFILLED


def test_a_newer_version_is_not_guessed_at() -> None:
    with pytest.raises(NewerVersion, match=r"order\.fulfilled has version 3, and this code knows 2"):
        OrderFulfilled.from_json({}, version=3)


CREATED = OrderCreated(number="ORD-1", currency="EUR", total_minor=8420, lines=FULFILLED.lines).to_json()
WRONG: dict[str, tuple[Any, str]] = {
    "no object": ([], "order.created: the payload must be an object"),
    "a missing field": ({name: value for name, value in CREATED.items() if name != "currency"}, "order.created: currency is missing"),
    "a text for a number": (CREATED | {"total_minor": "8420"}, "order.created: total_minor must be integer"),
    "a boolean for a number": (CREATED | {"total_minor": True}, "order.created: total_minor must be integer"),
    "null": (CREATED | {"number": None}, "order.created: number must be string"),
    "no list": (CREATED | {"lines": {}}, "order.created: lines must be array"),
    "a line that is none": (CREATED | {"lines": [*CREATED["lines"], 7]}, "order.created: lines[1] must be an object"),
    "a line with a wrong field": (
        CREATED | {"lines": [CREATED["lines"][0] | {"quantity": 1.5}]},
        "order.created: lines[0]: quantity must be integer",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_matches_no_schema_names_the_field_and_quotes_no_value(name: str) -> None:
    payload, message = WRONG[name]

    with pytest.raises(InvalidPayload) as refused:
        OrderCreated.from_json(payload)

    assert str(refused.value) == message
