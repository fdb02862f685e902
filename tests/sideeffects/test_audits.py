"""Promise: each subscriber's effect happened exactly once, and where it did not, its own audit says so."""

from typing import Any

import pytest
from django.db import connection

from orders.models import Fact
from sideeffects import subscriber_audits
from sideeffects.models import Delivery
from tests.sideeffects.conftest import RecordFact

LONG_AGO, SOON = "2020-01-01T00:00Z", "2100-01-01T00:00Z"
ANALYTICS, LOYALTY, PAIRS = "analytics", "loyalty", "recommendations"


def sql(*statements: str) -> None:
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


@pytest.fixture
def two_orders(record_fact: RecordFact) -> None:
    """Heard of by everybody; a third one nobody has heard of yet."""
    for number, skus in (("1", ("A", "B")), ("2", ("A", "B", "C"))):
        for subscriber in (ANALYTICS, LOYALTY, PAIRS):
            record_fact(subscriber, f"ORD-{subscriber[0]}{number}", skus=skus).run()
    record_fact(LOYALTY, "ORD-3")


def test_what_was_heard_is_what_was_done(two_orders: None) -> None:
    assert list(subscriber_audits.complaints()) == []


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
def test_an_effect_that_is_missing_or_doubled_is_reported_by_its_subscriber(two_orders: None, damage: str, found: tuple[str, str]) -> None:
    """A sum that was added twice is seen, and which one."""
    sql(damage)

    complaints = list(subscriber_audits.complaints())

    subscriber, sentence = found
    assert any(name == subscriber and sentence in text for name, text in complaints), complaints
    assert {name for name, _ in complaints} == {subscriber}


def test_points_that_were_earned_and_never_written_are_reported(two_orders: None) -> None:
    fact = Fact.objects.get(order__number="ORD-3")
    Delivery.objects.create(fact=fact, subscriber=LOYALTY, state="delivered")

    assert list(subscriber_audits.complaints()) == [(LOYALTY, "ORD-3: nothing in the ledger, 84 points earned")]


def test_a_subscriber_whose_audit_breaks_hides_nothing_about_the_others(two_orders: None) -> None:
    sql(
        "ALTER TABLE sideeffects_loyalty_balance RENAME TO gone",
        "UPDATE sideeffects_recommendations_copurchase SET orders = 9 WHERE sku = 'C'",
    )

    complaints = dict(subscriber_audits.complaints())

    assert complaints[LOYALTY] == "its audit broke: ProgrammingError"
    assert "counted 9 times" in complaints[PAIRS]


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        (
            {"state": "dead", "error_code": "ProgrammingError"},
            "1 owed and not delivered (dead letter, ProgrammingError), like that of ORD-3",
        ),
        ({"wake_at": LONG_AGO}, "1 owed and not delivered (pending), like that of ORD-3"),
        ({"launched_at": LONG_AGO}, "1 owed and not delivered (pending), like that of ORD-3"),
        (
            {"state": "retry_wait", "wake_at": SOON, "failing_since": LONG_AGO, "error_code": "ProgrammingError"},
            "1 owed and not delivered (waiting to retry, ProgrammingError), like that of ORD-3",
        ),
        ({"state": "discarded"}, ""),
        ({"state": "held"}, ""),
        ({"state": "retry_wait", "wake_at": SOON, "error_code": "ProgrammingError"}, ""),
    ],
)
def test_points_that_were_never_heard_of_are_owed_until_a_person_gives_them_up(
    two_orders: None, row: dict[str, Any], complaint: str
) -> None:
    """A table was away, and my points with it: the audit does not ask only what was heard."""
    Delivery.objects.create(fact=Fact.objects.get(order__number="ORD-3"), subscriber=LOYALTY, **row)

    assert list(subscriber_audits.complaints()) == [(LOYALTY, complaint)] * bool(complaint)


def test_what_nobody_has_begun_for_an_hour_is_owed_too(two_orders: None, settings: Any) -> None:
    settings.QUEUE_UNSERVED_LIMIT_S = -1.0
    Fact.objects.exclude(order__number="ORD-3").update(relayed_at=LONG_AGO)

    complaints = dict(subscriber_audits.complaints())

    assert complaints[LOYALTY] == "1 owed and not begun, like that of ORD-3"


def test_a_recipient_who_does_not_exist_was_answered_and_is_owed_no_receipt(record_fact: RecordFact) -> None:
    owed = record_fact("email")
    Delivery.objects.create(fact=owed.fact, subscriber="email", state="dead", error_code="PermanentlyRefused")

    assert list(subscriber_audits.complaints()) == []
