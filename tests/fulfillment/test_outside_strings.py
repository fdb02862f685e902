"""Promise: whatever a stranger writes in an answer, the journal can hold what we keep of it: no order is stranded by a character."""

from typing import Any

import pytest

from fulfillment import engine
from fulfillment.answer_checks import storable
from fulfillment.errors import InDoubt, Rejected, StepError, Unavailable
from fulfillment.gateways.http import outcome
from fulfillment.models import SagaState
from orders.incidents import Incident, IncidentKind, open_incident, resolve_incidents
from orders.models import Order
from orders.timeline import TimelineEntry
from sideeffects.deliveries import Failure
from tests.fulfillment.driving import found, record, refused, start

NUL, HALF, TURNED, LONG = "a\x00b", "a\ud800b", "a\u202eb", "x" * 5000
EVIL = pytest.mark.parametrize(
    "text", [NUL, HALF, TURNED, LONG, NUL + HALF + LONG], ids=["nul", "half a pair", "turned", "long", "all of it"]
)


@EVIL
@pytest.mark.parametrize("kind", [InDoubt, Unavailable, Rejected])
def test_an_error_of_a_provider_is_kept_whatever_it_says(saga: int, text: str, kind: type[StepError]) -> None:
    engine.record_failure(start(saga), kind(f"The provider answered 500 ({text}).", code=text))

    at = record(saga)
    assert at.claim is None
    assert 0 < len(at.error_code) <= 60
    assert at.error_message.startswith("The provider answered 500 (")
    assert len(at.error_message) <= 300
    assert not set(at.error_code + at.error_message) & {"\x00", "\ud800", "\u202e"}


@EVIL
def test_a_compensation_that_is_refused_with_it_is_a_person_s(saga: int, text: str) -> None:
    refused(saga)

    engine.record_failure(start(saga, compensating=True), Rejected(text, code=text))

    assert found(saga).state == SagaState.NEEDS_ATTENTION
    assert Incident.objects.get().step == "payment"


@EVIL
def test_an_answer_s_error_code_is_kept(text: str) -> None:
    """As it comes from the wire."""
    error = outcome(500, {"error": {"code": text}}, ())

    assert isinstance(error, InDoubt)
    assert error.code.isprintable()
    assert len(error.code) <= 60


def test_an_error_code_without_anything_strange_is_kept_as_it_is() -> None:
    error = outcome(500, {"error": {"code": "no_funds: größer als 5 €"}}, ())

    assert error is not None
    assert (error.code, str(error)) == ("no_funds: größer als 5 €", "The provider answered 500 (no_funds: größer als 5 €).")


@EVIL
def test_a_person_is_notified_of_it(order: Order, text: str) -> None:
    """Also of an order that does not exist, under a number that a stranger has chosen."""
    columns: dict[str, Any] = {"subject": text, "step": text, "code": text, "message": text, "currency": "EUR", "order_id": order.pk}
    first = open_incident(IncidentKind.MISMATCH, **columns)
    again = open_incident(IncidentKind.MISMATCH, **columns)
    resolve_incidents(order.pk, "settled", text, "amara")

    assert first.pk == again.pk
    assert Incident.objects.get().state == "resolved"
    assert TimelineEntry.objects.filter(order=order).count() == 2


@EVIL
def test_a_side_effect_s_failure_is_kept(text: str) -> None:
    failure = Failure(code=text, message=text, retry_in_s=None)

    assert failure.code.isprintable()
    assert failure.message.isprintable()
    assert (len(failure.code) <= 60, len(failure.message) <= 300) == (True, True)


@pytest.mark.parametrize("text", [NUL, HALF])
def test_a_receipt_that_no_column_can_hold_is_in_doubt(text: str) -> None:
    """Changed, it would be the receipt of something else: the same key asks again, and the compensation goes by the key."""
    with pytest.raises(InDoubt, match="cannot be stored"):
        storable({"charge_id": text})


def test_a_receipt_with_a_smile_is_kept() -> None:
    assert storable({"note": "\N{SLIGHTLY SMILING FACE}"}) == {"note": "\N{SLIGHTLY SMILING FACE}"}
