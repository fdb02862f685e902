"""Promise: points and receipts are right in every currency: one point for each whole unit, as ISO 4217 cuts the currency into minor units."""

from typing import Any

import pytest
from django.core import mail

from orders.models import Product
from sideeffects import subscriber_audits
from sideeffects.subscribers.loyalty.models import Balance, PointsEntry
from sideeffects.subscribers.recommendations.models import CoPurchase
from tests.orders.conftest import Client
from tests.sideeffects.conftest import RecordFact

BOUND_MINOR = 999_999_999_999
EARNED = [
    (8_420, "EUR", 84),
    (8_420, "JPY", 8_420),
    (84_200, "KWD", 84),
    (2_500_000, "VND", 2_500_000),
    (84_999, "IQD", 84),  # CLDR writes dinars of Iraq without digits
    (99, "EUR", 0),
    (BOUND_MINOR, "JPY", BOUND_MINOR),  # the largest order that there may be
    (BOUND_MINOR, "KWD", 999_999_999),
]


@pytest.mark.parametrize(("total_minor", "currency", "points"), EARNED)
def test_a_whole_unit_of_currency_is_a_point(record_fact: RecordFact, total_minor: int, currency: str, points: int) -> None:
    """Eighty-four dinars are 84 points, and 8,420 yen are 8,420."""
    owed = record_fact("loyalty", currency=currency, total_minor=total_minor)

    owed.run()

    assert owed.row() == ("delivered", 1, "")
    assert PointsEntry.objects.get().points == points
    assert Balance.objects.get().points == points
    assert list(subscriber_audits.complaints()) == []


def test_a_balance_holds_more_than_one_of_the_largest_orders(record_fact: RecordFact) -> None:
    for number in range(3):
        record_fact("loyalty", f"ORD-{number}", currency="JPY", total_minor=BOUND_MINOR).run()

    assert Balance.objects.get().points == 3 * BOUND_MINOR
    assert list(subscriber_audits.complaints()) == []


def test_points_of_another_currency_s_rule_are_reported(record_fact: RecordFact) -> None:
    """What was earned while yen were divided by a hundred is found."""
    owed = record_fact("loyalty", currency="JPY", total_minor=8_420)
    owed.run()
    account = PointsEntry.objects.get().account
    record_fact("loyalty", "ORD-2", currency="JPY", total_minor=8_420)
    PointsEntry.objects.create(account=account, order_number="ORD-2", points=84)

    assert any("ORD-2: 84 points in the ledger" in sentence for _, sentence in subscriber_audits.complaints())


@pytest.mark.parametrize(
    ("currency", "total_minor", "shown"),
    [("JPY", 8_420, "JP¥8,420"), ("KWD", 84_200, "KWD84.200"), ("IQD", 84_999, "IQD84.999"), ("LBP", 842_050, "LBP8,420.50")],
)
def test_a_receipt_says_what_was_paid(record_fact: RecordFact, currency: str, total_minor: int, shown: str) -> None:
    record_fact("email", currency=currency, total_minor=total_minor).run()

    assert shown in str(mail.outbox[0].body)


def test_what_was_bought_together_is_recommended_where_it_is_sold(db: None, settings: Any) -> None:
    """A product of another currency is in nobody's catalogue, and so in nobody's recommendations."""
    shop = Client("web-shop")
    settings.SHOP_CURRENCY = "JPY"
    for sku, currency in (("A", "JPY"), ("B", "EUR"), ("C", "JPY")):
        Product.objects.create(sku=sku, name=sku, price_minor=100, currency=currency)
    for other in "BC":
        CoPurchase.objects.create(sku="A", other=other, orders=1)

    assert [found["sku"] for found in shop.get("/products/A/recommendations").json()["data"]] == ["C"]
