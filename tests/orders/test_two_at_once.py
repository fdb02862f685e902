"""Promise: of two processes that reach for one turn, or one incident, in the same instant, one has it."""

from collections.abc import Callable

import pytest
from django.db import transaction

from orders import turns
from orders.incidents import Incident, IncidentKind, open_incident, resolve_incidents
from orders.models import Order
from orders.timeline import TimelineEntry
from orders.turns import Turn, TurnRow
from tests.orders.conftest import Client
from tests.sides import at_once

pytestmark = pytest.mark.django_db(transaction=True)
TAKEN = "INSERT INTO orders_turnrow"


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The row is waited for longer than a busy machine needs to show that it is."""
    for statement in ("TAKE", "RENEW"):
        monkeypatch.setattr(turns, statement, vars(turns)[statement].replace(turns.WAIT_FOR_THE_ROW, "20s"))


def taken_by(turn: Turn) -> Callable[[], bool]:
    """In a transaction that the other one can meet."""

    def take() -> bool:
        with transaction.atomic():
            return turn.take()

    return take


def test_a_turn_that_is_taken_for_the_first_time_is_one_process_s(patient: None) -> None:
    assert at_once(taken_by(Turn("sweep", 1)), TAKEN, Turn("sweep", 1).take, must_wait=True) == (True, False)


def test_a_turn_that_has_become_free_is_one_process_s(patient: None) -> None:
    assert Turn("sweep", 1).take()
    TurnRow.objects.update(until="2020-01-01T00:00Z")

    assert at_once(taken_by(Turn("sweep", 1)), TAKEN, Turn("sweep", 1).take, must_wait=True) == (True, False)


def test_a_holder_that_renews_while_a_spare_reaches_for_it_keeps_it(patient: None) -> None:
    holder = Turn("sweep", 1)
    assert holder.take()
    TurnRow.objects.update(until="2020-01-01T00:00Z")

    assert at_once(taken_by(holder), TAKEN, Turn("sweep", 1).take, must_wait=True) == (True, False)
    assert holder.keep()


def test_what_is_resolved_twice_at_once_is_resolved_once(client: Client) -> None:
    """By a person and by the engine: one line of history."""
    columns = {"currency": "EUR", "total_minor": 100, "customer_email": "a@example.com", "customer_name": "A", "correlation_id": "c"}
    order = Order.objects.create(number="ORD-1", client=client.user, shipping_address={}, payment_token="t", idempotency_key="k", **columns)
    with transaction.atomic():
        open_incident(IncidentKind.STUCK, subject="ORD-1", order_id=order.pk, currency="EUR")

    def resolves(actor: str) -> Callable[[], int]:
        def resolve() -> int:
            with transaction.atomic():
                return resolve_incidents(order.pk, "went_on", "It goes on", actor)

        return resolve

    assert at_once(resolves("amara"), 'FROM "orders_incident"', resolves("engine"), must_wait=True) == (1, 0)
    assert Incident.objects.get().outcome == "went_on"
    assert list(TimelineEntry.objects.filter(to_state="resolved").values_list("actor", flat=True)) == ["amara"]
