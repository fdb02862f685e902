"""Promise: the release that brought facts loses nothing of the one before it: its rows, its messages, nor what its workers write while both run."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection

from orders.models import Fact
from sideeffects import audit, discovery, relay, tasks
from sideeffects.deliveries import Failure
from sideeffects.models import Delivery, Subscriber
from tests.sideeffects.conftest import ALL_LOST

PAYLOAD = {
    "number": "ORD-1", "email": "amara@example.com", "name": "Amara Okafor", "currency": "EUR", "total_minor": 8420, "tracking": "TR-1",
    "fulfilled_on": "2026-11-24", "lines": [{"sku": "A", "name": "Product A", "quantity": 2, "unit_price_minor": 4210}],
}  # fmt: skip
ORDER = """
INSERT INTO auth_user (id, username, password, is_superuser, first_name, last_name, email, is_staff, is_active, date_joined)
VALUES (1, 'web-shop', '', false, '', '', '', false, true, now()) ON CONFLICT DO NOTHING;
INSERT INTO orders_order (id, number, reference, status, currency, total_minor, customer_email, customer_name, shipping_address, payment_token, client_id,
    idempotency_key, request_digest, correlation_id)
VALUES ({id}, 'ORD-{id}', '', 'fulfilled', 'EUR', 8420, 'amara@example.com', 'Amara Okafor', '{{}}', 'tok_ok', 1, 'k{id}', '', 'c')
"""
# As the first release wrote them.
EVENT = """
INSERT INTO sideeffects_event (id, order_id, type, version, correlation_id, payload, at)
VALUES (%s, %s, 'order.fulfilled', 1, 'c', %s, DEFAULT) RETURNING at
"""
DELIVERY = """
INSERT INTO sideeffects_delivery (event_id, subscriber, state, tries, relaunches, wake_at, claim, error_code, error_message, delivered_at)
VALUES (%s, %s, %s, 0, 0, shop_now(), NULL, '', '', NULL) RETURNING id
"""


def an_order_is_fulfilled_by_the_first_release(order: int, event: str, waiting: tuple[str, ...] = ("email", "loyalty")) -> None:
    with connection.cursor() as cursor:
        cursor.execute(ORDER.format(id=order))
        cursor.execute("SELECT 1 FROM sideeffects_event WHERE id = %s", [event])
        assert cursor.fetchone() is None
        cursor.execute(EVENT, [event, order, json.dumps(PAYLOAD | {"number": f"ORD-{order}"})])
        assert cursor.fetchone()[0] is not None
        for subscriber in waiting:
            cursor.execute(DELIVERY, [event, subscriber, "pending"])


@pytest.fixture
def deployed(transactional_db: None) -> Iterator[None]:
    """One order was fulfilled and told to nobody yet; then this release's migrations ran."""
    call_command("migrate", "sideeffects", "0001", verbosity=0, fake=True)
    with connection.cursor() as cursor:
        cursor.execute("DROP VIEW sideeffects_event; DROP FUNCTION sideeffects_event_is_a_fact, sideeffects_without_names")
        cursor.execute("DROP TABLE sideeffects_delivery, sideeffects_subscriber, sideeffects_relaybeat, sideeffects_circuit")
        cursor.execute("DELETE FROM django_migrations WHERE app = 'sideeffects'")
    call_command("migrate", "sideeffects", "0001", verbosity=0)
    an_order_is_fulfilled_by_the_first_release(1, "00000000-0000-0000-0000-000000000001")
    call_command("migrate", "sideeffects", verbosity=0)
    yield
    call_command("migrate", verbosity=0)


def due() -> list[tuple[str, str]]:
    """(order, subscriber)"""
    messages = relay.due(discovery.names(), None, lambda *_: Failure(code="lost", message="", retry_in_s=1))
    return sorted((message.order, message.subscriber) for message in messages)


def test_what_was_recorded_before_is_delivered_afterwards(deployed: None, mailoutbox: list[Any]) -> None:
    fact = Fact.objects.get()
    assert (fact.number, fact.version, fact.relayed_at is not None) == (1, 2, True)
    assert "amara" not in str(fact.payload).lower()
    assert set(Subscriber.objects.values_list("name", "starts_at", "state")) == {("email", 1, "active"), ("loyalty", 1, "active")}

    assert due() == [("ORD-1", "email"), ("ORD-1", "loyalty")]
    for name in ("email", "loyalty"):
        assert tasks.TASKS[name](fact=str(fact.pk), order="ORD-1") == "ORD-1: delivered"
    assert mailoutbox[0].to == ["amara@example.com"]
    assert discovery.names() and list(audit.complaints()) == []


def test_what_a_worker_of_the_first_release_writes_meanwhile_arrives(deployed: None) -> None:
    """It completes an order while this release's relay runs already: everybody is told, those included that it did not know of."""
    relay.register(discovery.names(), release=1)
    an_order_is_fulfilled_by_the_first_release(2, "00000000-0000-0000-0000-000000000002")

    relay.owe(ALL_LOST)

    fact = Fact.objects.get(order__number="ORD-2")
    assert "amara" not in str(fact.payload).lower()
    assert {name for order, name in due() if order == "ORD-2"} == set(discovery.names())
    assert Delivery.objects.filter(fact=fact).count() == 4
