"""Promise: two people at once, about one order: one wins, the other hears of it, and nobody waits for the order's row."""

from typing import Any

import pytest
from django.conf import settings
from django.db import transaction

from fulfillment import engine, ledger, recovery
from fulfillment.models import SagaState, StepRecord
from fulfillment.recovery import Refused, Request, decide, version_of
from orders.incidents import Incident, IncidentKind, open_incident
from orders.models import Order
from orders.operators import Actor
from orders.timeline import TimelineEntry
from tests.actors import AMARA, BELA
from tests.fulfillment.conftest import now_due
from tests.fulfillment.driving import compensation_failed, found, parked_forward
from tests.fulfillment.two_at_once.sessions import DOWN, in_one
from tests.sides import at_once

pytestmark = pytest.mark.django_db(transaction=True)

# --- the order's own row ---------------------------------------------------------------------------------------------------


def edits(order: Order) -> Any:
    """As a person does in the admin."""
    return in_one(lambda: Order.objects.filter(pk=order.pk).update(reference="call before delivery"))


@pytest.mark.parametrize("what", ["start", "record", "sweep", "errback"])
def test_whoever_edits_an_order_keeps_no_transition_of_its_saga_waiting(saga: int, order: Order, what: str) -> None:
    Order.objects.filter(pk=order.pk).update(status="processing")
    claim = None if what == "start" else engine.start(saga, 1, "payment", False)
    now_due(saga)
    work: dict[str, Any] = {
        "start": lambda: engine.start(saga, 1, "payment", False),
        "record": lambda: claim and engine.record_success(claim, {"charge_id": "c", "amount_minor": 100}),
        "sweep": lambda: recovery.inspect_saga(saga),
        "errback": lambda: engine.chain_stopped(saga, 1),
    }

    at_once(edits(order), "UPDATE", work[what], must_wait=False)

    assert StepRecord.objects.get(name="payment").state in ("started", "succeeded", "scheduled", "in_doubt")


def test_a_transition_keeps_nobody_who_writes_about_its_order_waiting(saga: int, order: Order) -> None:
    """A delivery's line of history refers to the order; it is not the saga's business."""
    claim = engine.start(saga, 1, "payment", False)
    assert claim is not None

    at_once(
        lambda: engine.record_failure(claim, DOWN),
        "FOR UPDATE",
        lambda: TimelineEntry.objects.create(order_id=order.pk, kind="delivery", name="email", to_state="delivered"),
        must_wait=False,
    )

    assert TimelineEntry.objects.filter(kind="delivery").count() == 1


# --- persons ------------------------------------------------------------------------------------------------------------------


def asks(order: Order, verb: str, actor: Actor, **more: Any) -> Any:
    request = Request(order=order.number, verb=verb, version=version_of(order.pk), actor=actor, reason="because", **more)
    return lambda: decide(request)


def test_one_incident_is_opened_once_however_many_find_it(order: Order) -> None:
    def open_one() -> None:
        with transaction.atomic():
            open_incident(IncidentKind.STUCK, subject=order.number, order_id=order.pk, currency="EUR", amount_minor=100)

    first, second = at_once(open_one, 'INSERT INTO "orders_incident"', open_one, must_wait=True)

    assert (first, second) == (None, None)
    assert Incident.objects.count() == 1
    assert TimelineEntry.objects.filter(kind="incident", to_state="open").count() == 1


def test_of_two_decisions_about_one_version_one_is_refused(saga: int, order: Order) -> None:
    compensation_failed(saga)

    first, second = at_once(
        asks(order, "retry", AMARA),
        "FOR UPDATE",
        asks(order, "undone_by_hand", BELA, amount_minor=100, evidence="receipt"),
        must_wait=True,
    )

    assert first.outcome == "done"
    assert isinstance(second, Refused)
    assert ledger.remaining(order.pk) == 100


def test_two_presses_of_one_person_at_once_are_one_decision(saga: int, order: Order) -> None:
    compensation_failed(saga)
    epoch = found(saga).epoch

    first, second = at_once(asks(order, "retry", AMARA), "FOR UPDATE", asks(order, "retry", AMARA), must_wait=True)

    assert (first.outcome, second.outcome) == ("done", "repeated")
    assert found(saga).epoch == epoch + 1


def test_two_persons_who_propose_at_once_have_not_agreed(saga: int, order: Order) -> None:
    """The second has not seen the first one's proposal: nothing is written off."""
    compensation_failed(saga)

    first, second = at_once(
        asks(order, "close", AMARA, amount_minor=100), "FOR UPDATE", asks(order, "close", BELA, amount_minor=100), must_wait=True
    )

    assert first.outcome == "proposed"
    assert isinstance(second, Refused)
    assert found(saga).state == SagaState.NEEDS_ATTENTION
    assert ledger.remaining(order.pk) == 100


def test_a_cancel_by_the_customer_and_a_retry_by_a_person_at_once_are_both_heard(saga: int, order: Order) -> None:
    parked_forward(saga, settings.POISON_AFTER)

    _, answer = at_once(asks(order, "retry", AMARA), "FOR UPDATE", lambda: recovery.cancel(order.number, "web-shop"), must_wait=True)

    assert answer == "accepted"
    now_due(saga)
    recovery.inspect_saga(saga)
    assert found(saga).state == SagaState.COMPENSATING
