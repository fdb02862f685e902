"""Promise: whatever a provider holds or lacks beside our journal is found, under one name, with the amount."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from fulfillment import ledger
from fulfillment.gateways import Charge, Label
from fulfillment.gateways.sandbox import SandboxPayments
from fulfillment.ledger import LedgerEntry
from fulfillment.models import PastAttempt, Reservation, Saga, StepRecord
from fulfillment.reconciliation import Rule
from fulfillment.reconciliation.listings import Listings
from orders.models import Incident, Order
from tests.reconciliation.shop import OWN_CHARGE, OWN_LABEL, TOTAL, Shop


@pytest.mark.parametrize(
    ("which", "planted", "rule", "amount"),
    [
        ("fulfilled", ("charge", "ORD-1:payment:do:2:testsnonce", TOTAL), Rule.CHARGE_NOBODY_OWNS, TOTAL),
        ("fulfilled", ("charge", OWN_CHARGE, TOTAL), Rule.CHARGED_TOO_MUCH, TOTAL),
        ("fulfilled", ("refund", OWN_CHARGE, 420), Rule.REFUNDED_THOUGH_FULFILLED, 420),
        ("fulfilled", ("label", "ORD-1:shipping:do:2:testsnonce", 1), Rule.LABEL_NOBODY_OWNS, TOTAL),
        ("fulfilled", ("label", OWN_LABEL, 1), Rule.BOOKED_TWICE, TOTAL),
        ("fulfilled", ("cancel_label", OWN_LABEL, 1), Rule.LABEL_MISSING, 0),
        ("failed", ("charge", "ORD-1:payment:do:2:testsnonce", 99), Rule.CHARGE_NOBODY_OWNS, 99),
        ("failed", ("label", "ORD-1:shipping:do:2:testsnonce", 1), Rule.LABEL_NOBODY_OWNS, TOTAL),
        ("failed", ("charge", OWN_CHARGE, TOTAL), Rule.LATE, TOTAL),
        ("failed", ("label", OWN_LABEL, 1), Rule.LATE, TOTAL),
        ("closed", ("refund", OWN_CHARGE, 420), Rule.MONEY_MISSING, 420),
        ("closed", ("charge", OWN_CHARGE, 99), Rule.CHARGED_TOO_MUCH, 99),
    ],
)
def test_what_a_provider_holds_or_lacks_is_found_once(
    shop: Shop, request: pytest.FixtureRequest, which: str, planted: tuple[str, str, int], rule: Rule, amount: int
) -> None:
    """One difference, one finding, one incident with the amount; a second look tells nothing twice."""
    request.getfixturevalue(which)
    before = len(shop.incidents())
    operation, key, planted_minor = planted
    shop.plant(operation, "ORD-1", key, planted_minor)

    assert shop.found(repair=False) == [("ORD-1", rule, amount)]
    assert shop.incidents()[before:] == [("ORD-1", rule.kind, rule, amount, "open")]

    assert shop.found(repair=False) == [("ORD-1", rule, amount)]
    assert len(shop.incidents()) == before + 1


def test_a_key_that_was_refused_stays_the_order_s(shop: Shop, fulfilled: Order) -> None:
    """What lies under it is no stranger's; what lies under the one that followed as well is one too many."""
    shipping = StepRecord.objects.get(name="shipping")
    PastAttempt.objects.create(record=shipping, compensating=False, attempt=1, key=OWN_LABEL, code="no_paper")
    StepRecord.objects.filter(pk=shipping.pk).update(do_attempt=2, do_key="ORD-1:shipping:do:2:testsnonce")
    assert shop.found() == []

    shop.plant("label", "ORD-1", "ORD-1:shipping:do:2:testsnonce")

    assert shop.found(repair=False) == [("ORD-1", Rule.BOOKED_TWICE, TOTAL)]


def test_what_was_given_back_twice_is_found_with_its_amount(shop: Shop, failed: Order, monkeypatch: pytest.MonkeyPatch) -> None:
    """A refund that was refused has landed after the one that followed it, at a bank that gives back more than it took."""
    lists = SandboxPayments.listing
    assert shop.found() == []

    def twice(at: SandboxPayments, since: Any = None) -> Iterator[Charge]:
        return (replace(charge, refunded_minor=charge.refunded_minor + 4_200) for charge in lists(at, since))

    monkeypatch.setattr(SandboxPayments, "listing", twice)

    for _ in range(2):
        report = shop.reconcile()
        assert [(finding.rule, finding.amount_minor) for finding in report.findings] == [(Rule.REFUNDED_TWICE, 4_200)]
        assert [money.unexplained for money in report.money] == [0]
    assert shop.incidents() == [("ORD-1", "mismatch", "refunded_twice", 4_200, "open")]


def test_a_charge_of_another_provider_or_in_another_currency_is_not_the_order_s(shop: Shop, settings: Any) -> None:
    """Under the very key of the plan, and still nobody's."""
    settings.PAYMENTS_GATEWAY = "sandbox_burn"
    shop.place("ORD-2")
    settings.PAYMENTS_GATEWAY = "sandbox"
    shop.place("ORD-1")
    shop.plant("charge", "ORD-1", OWN_CHARGE, profile="burn")
    shop.plant("charge", "ORD-2", "ORD-2:payment:do:1:testsnonce", 50, profile="burn", currency="USD")

    assert sorted(shop.found()) == [("ORD-1", Rule.CHARGE_NOBODY_OWNS, TOTAL), ("ORD-2", Rule.CHARGE_NOBODY_OWNS, 50)]
    assert Incident.objects.get(subject="ORD-2").currency == "USD"


def test_a_charge_that_the_provider_lost_is_missing(shop: Shop) -> None:
    """Fulfilled by our journal, and no bank knows of it."""
    order = shop.place()
    Order.objects.filter(pk=order.pk).update(number="ORD-9")
    Reservation.objects.update(order_number="ORD-9")

    found = shop.found()

    assert ("ORD-9", Rule.MONEY_MISSING, TOTAL) in found
    assert ("ORD-9", Rule.LABEL_MISSING, 0) in found
    assert ("ORD-1", Rule.UNKNOWN_ORDER, TOTAL) in found


def test_a_key_that_was_used_twice_is_found_even_if_it_was_given_back(shop: Shop, failed: Order) -> None:
    """A provider that knows keys has broken its promise. One without keys has promised nothing."""
    shop.plant("charge", "ORD-1", OWN_CHARGE)
    shop.plant("refund", "ORD-1", OWN_CHARGE)

    assert shop.found() == [("ORD-1", Rule.ONE_EFFECT_PER_KEY, 0)]


def test_without_keys_what_was_given_back_is_closed(shop: Shop, settings: Any) -> None:
    settings.PAYMENTS_GATEWAY = "sandbox_keyless"
    shop.place(postal_code="00422")
    shop.plant("charge", "ORD-1", OWN_CHARGE, profile="keyless")
    shop.plant("refund", "ORD-1", OWN_CHARGE, profile="keyless")

    assert shop.found() == []


def test_our_ledger_and_that_of_the_provider_must_agree(shop: Shop, fulfilled: Order) -> None:
    ledger.enter(fulfilled.pk, "payment", LedgerEntry.Operation.REFUNDED, "by mistake", 420)

    assert shop.found() == [("ORD-1", Rule.LEDGER_AGREES, 420)]


def test_a_provider_that_acts_for_an_order_that_does_not_exist_is_found(shop: Shop) -> None:
    shop.plant("charge", "ORD-404", "k1", 700)
    shop.plant("label", "ORD-404", "k2")
    shop.plant("charge", "ORD-405", "k3", 300)
    shop.plant("refund", "ORD-405", "k3", 300)

    assert shop.found() == [("ORD-404", Rule.UNKNOWN_ORDER, 700)]
    incident = Incident.objects.get()
    assert (incident.order_id, incident.kind, incident.amount_minor) == (None, "orphan_payment", 700)


def test_what_a_provider_writes_cannot_break_a_run() -> None:
    """No order, or characters that a database refuses: it is listed under whatever tells it apart."""
    listings = Listings()
    listings.add("bank", Charge(id="ch_1", amount_minor=5, currency="EUR", order_number="a\0b", key="\0"))
    listings.add("bank", Charge(id="ch_2", amount_minor=5, currency="EUR"))
    listings.add("bank", Label(id="lb_1", tracking="", key="k"))

    assert listings.open_numbers() == ["a\N{REPLACEMENT CHARACTER}b", "ch_2", "k"]


def test_an_order_whose_provider_was_taken_out_of_the_code_is_counted(shop: Shop, fulfilled: Order) -> None:
    """It cannot be judged, which is said, and keeps nobody from judging the rest."""
    saga = Saga.objects.get()
    plan = [entry | ({"gateway": "bank_of_old"} if entry["role"] == "payments" else {}) for entry in saga.plan]
    Saga.objects.update(plan=plan)
    shop.place("ORD-2")

    report = shop.reconcile()

    assert (report.judged, report.gone, report.findings) == (1, 1, [])
