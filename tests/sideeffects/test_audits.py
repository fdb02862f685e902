"""Promise: each subscriber's effect happened exactly once, and where it did not, its own room says so."""

import pytest
from django.db import connection

from orders.models import Fact
from sideeffects import registry
from sideeffects.models import Delivery
from tests.sideeffects.conftest import Tell

ANALYTICS, LOYALTY, PAIRS = "analytics", "loyalty", "recommendations"


def sql(*statements: str) -> None:
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


@pytest.fixture
def two_orders(tell: Tell) -> None:
    """Heard of by everybody; a third one nobody has heard of yet."""
    for number, skus in (("1", ("A", "B")), ("2", ("A", "B", "C"))):
        for subscriber in (ANALYTICS, LOYALTY, PAIRS):
            tell(subscriber, f"ORD-{subscriber[0]}{number}", skus=skus).run()
    tell(LOYALTY, "ORD-3")


def test_what_was_heard_is_what_was_done(two_orders: None) -> None:
    assert list(registry.audit()) == []


@pytest.mark.parametrize(
    ("damage", "found"),
    [
        (
            "UPDATE sideeffects_analytics_dailyrevenue SET orders = 3, revenue_minor = 25260",
            (ANALYTICS, "2026-11-24: 3 orders and 25260 EUR, heard of 2 and 16840 (minor units)"),
        ),
        ("DELETE FROM sideeffects_analytics_dailyrevenue", (ANALYTICS, "2026-11-24: 0 orders and 0 EUR, heard of 2 and 16840 (minor units)")),
        ("UPDATE sideeffects_analytics_dailyunits SET units = 3 WHERE sku = 'C'", (ANALYTICS, "2026-11-24: 3 units of C, heard of 2")),
        ("INSERT INTO sideeffects_loyalty_pointsentry VALUES (DEFAULT, 'x', 'ORD-9', 5)", (LOYALTY, "ORD-9: 5 points in the ledger, nothing earned")),
        ("UPDATE sideeffects_loyalty_balance SET points = points + 84", (LOYALTY, "a balance of 252, its entries add up to 168")),
        ("UPDATE sideeffects_recommendations_copurchase SET orders = 4 WHERE sku = 'A' AND other = 'B'", (PAIRS, "A with B: counted 4 times, heard of 2 orders")),
        ("DELETE FROM sideeffects_recommendations_copurchase WHERE sku = 'C' AND other = 'A'", (PAIRS, "C with A: counted 0 times, heard of 1 orders")),
    ],
)  # fmt: skip
def test_an_effect_that_is_missing_or_doubled_is_told_by_its_room(two_orders: None, damage: str, found: tuple[str, str]) -> None:
    """A sum that was added twice is seen, and which one."""
    sql(damage)

    told = list(registry.audit())

    room, sentence = found
    assert any(name == room and sentence in text for name, text in told), told
    assert {name for name, _ in told} == {room}


def test_points_that_were_earned_and_never_written_are_told(two_orders: None) -> None:
    fact = Fact.objects.get(order__number="ORD-3")
    Delivery.objects.create(fact=fact, subscriber=LOYALTY, state="delivered")

    assert list(registry.audit()) == [(LOYALTY, "ORD-3: nothing in the ledger, 84 points earned")]


def test_a_room_whose_audit_breaks_hides_nothing_about_the_others(two_orders: None) -> None:
    sql(
        "ALTER TABLE sideeffects_loyalty_balance RENAME TO gone",
        "UPDATE sideeffects_recommendations_copurchase SET orders = 9 WHERE sku = 'C'",
    )

    told = dict(registry.audit())

    assert told[LOYALTY] == "its audit broke: ProgrammingError"
    assert "counted 9 times" in told[PAIRS]
