"""Promise: an audit of the newest facts finds what is off among them, and takes no older one for missing. A doubted subscriber is asked about all facts."""

from datetime import UTC, datetime

import pytest

from orders.models import Fact
from sideeffects import subscriber_audits
from tests.sideeffects.conftest import RecordFact
from tests.sideeffects.test_audits import ANALYTICS, LOYALTY, PAIRS, sql

SINCE = datetime(2026, 11, 22, 15, tzinfo=UTC)  # the first whole day is the 23rd; the facts tell of the 24th


@pytest.fixture
def two_days(record_fact: RecordFact) -> None:
    """One order was heard of long before, one on the day after."""
    for subscriber in (ANALYTICS, LOYALTY, PAIRS):
        for number in ("1", "2"):
            record_fact(subscriber, f"ORD-{subscriber[0]}{number}", skus=("A", "B")).run()
    sql(
        "SET LOCAL session_replication_role = replica",
        """UPDATE orders_fact SET at = '2026-11-20T10:00Z', relayed_at = at, payload = payload || '{"fulfilled_on": "2026-11-20"}'
        WHERE payload->>'number' LIKE '%1'""",
        "UPDATE orders_fact SET at = '2026-11-24T10:00Z', relayed_at = at WHERE payload->>'number' LIKE '%2'",
        "UPDATE sideeffects_analytics_dailyrevenue SET orders = 1, revenue_minor = revenue_minor / 2",
        "UPDATE sideeffects_analytics_dailyunits SET units = 2",
        "INSERT INTO sideeffects_analytics_dailyrevenue (day, currency, orders, revenue_minor) SELECT date '2026-11-20', currency, orders, revenue_minor"
        " FROM sideeffects_analytics_dailyrevenue",
        "INSERT INTO sideeffects_analytics_dailyunits (day, sku, units) SELECT date '2026-11-20', sku, 2 FROM sideeffects_analytics_dailyunits",
        "SET LOCAL session_replication_role = origin",
    )
    assert Fact.objects.count() == 6
    assert list(subscriber_audits.complaints()) == []


def test_what_is_well_is_well_since_any_instant(two_days: None) -> None:
    assert list(subscriber_audits.complaints(SINCE)) == []


@pytest.mark.parametrize(
    ("damage", "found"),
    [
        ("UPDATE sideeffects_analytics_dailyrevenue SET orders = 3 WHERE day = '2026-11-24'", "2026-11-24: 3 orders"),
        ("DELETE FROM sideeffects_analytics_dailyunits WHERE day = '2026-11-24' AND sku = 'A'", "2026-11-24: 0 units of A, heard of 2"),
        (
            "SET LOCAL session_replication_role = replica; DELETE FROM sideeffects_loyalty_pointsentry",
            "ORD-l2: nothing",
        ),
    ],
)
def test_what_is_off_since_then_is_reported(two_days: None, damage: str, found: str) -> None:
    sql(*damage.split("; "))

    complaints = [sentence for _, sentence in subscriber_audits.complaints(SINCE)]

    assert len(complaints) == 1
    assert complaints[0].startswith(found)


def test_what_was_off_before_is_reported_when_everything_is_asked(two_days: None) -> None:
    """Sums of all time say nothing about the newest facts. A subscriber that is doubted is asked about all facts."""
    sql(
        "UPDATE sideeffects_analytics_dailyrevenue SET orders = 3 WHERE day = '2026-11-20'",
        "UPDATE sideeffects_loyalty_balance SET points = points + 1",
        "UPDATE sideeffects_recommendations_copurchase SET orders = 9 WHERE sku = 'A'",
    )

    assert list(subscriber_audits.complaints(SINCE)) == []
    assert {name for name, _ in subscriber_audits.complaints()} == {ANALYTICS, LOYALTY, PAIRS}
    assert {name for name, _ in subscriber_audits.complaints(SINCE, [LOYALTY])} == {LOYALTY}
