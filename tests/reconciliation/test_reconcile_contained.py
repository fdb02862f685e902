"""Promise: what one provider lists wrongly, or not at all, keeps nobody from comparing with the others."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured

from fulfillment.gateways import Charge
from fulfillment.reconciliation import Rule, listings
from orders.models import Incident, Order
from tests.reconciliation.shop import TOTAL, Shop


class Bank:
    """Lists these, and then breaks off, if it is told to."""

    def __init__(self, *charges: Charge, breaks: Exception | None = None) -> None:
        self.charges = charges
        self.breaks = breaks

    def listing(self, since: datetime | None = None) -> Iterator[Charge]:
        yield from self.charges
        if self.breaks:
            raise self.breaks


GOOD = Charge(id="ch_1", amount_minor=TOTAL, currency="EUR", order_number="ORD-1", key="ORD-1:payment:do:1:testsnonce")


def wrong(**fields: Any) -> Charge:
    given: dict[str, Any] = {"id": "ch_2", "amount_minor": 1, "currency": "EUR", "order_number": "ORD-404", "key": "k"}
    return Charge(**(given | fields))


@pytest.mark.parametrize(
    "bank",
    [
        Bank(GOOD, wrong(amount_minor="189.00")),
        Bank(GOOD, wrong(amount_minor=None)),
        Bank(GOOD, wrong(refunded_minor=None)),
        Bank(GOOD, wrong(amount_minor=-5)),
        Bank(GOOD, wrong(currency=None)),
        Bank(GOOD, wrong(order_number=7)),
        Bank(GOOD, breaks=KeyError("data")),
        Bank(GOOD, breaks=ImproperlyConfigured("no secret key")),
        Bank(GOOD, breaks=RecursionError()),
    ],
    ids=["text", "no amount", "no refund", "negative", "no currency", "number", "a bug", "not configured", "too deep"],
)
def test_a_list_that_is_none_silences_its_provider_alone(shop: Shop, fulfilled: Order, monkeypatch: pytest.MonkeyPatch, bank: Bank) -> None:
    """The carrier's label for nobody is found all the same, and nothing is said about the orders of the broken one."""
    monkeypatch.setattr(listings, "payments", lambda: bank)
    shop.plant("label", "ORD-404", "k")

    report = shop.reconcile()

    assert [(finding.subject, finding.rule, finding.amount_minor) for finding in report.findings] == [
        ("payments sandbox", Rule.NOT_LISTED, TOTAL),
        ("ORD-404", Rule.UNKNOWN_ORDER, 0),
    ]
    assert (report.judged, report.silent) == (0, 1)
    assert report.as_json()["money"]["EUR"]["unexplained"] == 0


@pytest.mark.parametrize("currency", ["EURO", "\0\0\0", ""])
def test_a_currency_that_is_none_is_reported_all_the_same(
    shop: Shop, fulfilled: Order, monkeypatch: pytest.MonkeyPatch, currency: str
) -> None:
    monkeypatch.setattr(listings, "payments", lambda: Bank(GOOD, wrong(currency=currency)))

    assert shop.found() == [("ORD-404", Rule.UNKNOWN_ORDER, 1)]
    assert Incident.objects.get().amount_minor == 1


def test_more_given_back_than_there_was_is_nothing_left(shop: Shop, fulfilled: Order, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listings, "payments", lambda: Bank(GOOD, wrong(refunded_minor=700)))

    assert shop.found() == []
