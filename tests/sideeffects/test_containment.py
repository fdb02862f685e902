"""Promise: a delivery or a fact that cannot be written stops nobody else."""

from typing import Any

import pytest
from django.db import OperationalError, connection

from orders.models import Fact
from sideeffects import relay
from sideeffects.containment import Containment
from sideeffects.models import Delivery
from tests.sideeffects.conftest import ALL_LOST, NONE_LOST, RecordFact
from tests.sideeffects.test_relay import due


def break_writes_to(table: str, key: str) -> None:
    """As a damaged page does it: this row alone cannot be written (XX001)."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            CREATE FUNCTION refuse_{table}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'damaged' USING ERRCODE = 'XX001'; END $$;
            CREATE TRIGGER refuse BEFORE UPDATE ON {table} FOR EACH ROW WHEN (OLD.id = '{key}') EXECUTE FUNCTION refuse_{table}();
            """
        )


@pytest.fixture
def nothing_aside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay.aside, "facts", Containment("fact"))
    monkeypatch.setattr(relay.aside, "deliveries", Containment("delivery"))


def test_a_delivery_that_cannot_be_written_stops_nobody_else(record_fact: RecordFact, nothing_aside: None) -> None:
    """The oldest of three is broken: the others are published, and It is inspected again a minute later."""
    for number in range(3):
        record_fact("email", f"ORD-{number}")
    relay.owe(ALL_LOST)
    broken = Delivery.objects.get(fact__order__number="ORD-0")
    break_writes_to("sideeffects_delivery", str(broken.pk))

    assert sorted(message.order for message in due()) == ["ORD-1", "ORD-2"]
    assert due() == []


def test_a_fact_that_cannot_be_written_stops_nobody_else(record_fact: RecordFact, nothing_aside: None) -> None:
    for number in range(3):
        record_fact("email", f"ORD-{number}").run()
    with connection.cursor() as cursor:
        cursor.execute("UPDATE orders_fact SET number = substr((payload->>'number'), 5)::int + 1")
    break_writes_to("orders_fact", str(Fact.objects.get(order__number="ORD-0").pk))

    relay.owe(NONE_LOST)

    assert set(Fact.objects.filter(relayed_at=None).values_list("order__number", flat=True)) == {"ORD-0"}


def test_a_database_that_cannot_serve_it_is_no_fault_of_the_delivery(
    record_fact: RecordFact, nothing_aside: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    record_fact("email")
    relay.owe(ALL_LOST)

    def away(*_: Any, **__: Any) -> None:
        raise OperationalError("the connection is closed")

    monkeypatch.setattr(relay.dispatch, "may_be_lost", away)

    with pytest.raises(OperationalError):
        due()
    assert relay.aside.deliveries.keys() == []
