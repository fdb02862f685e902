"""Promise: what landed after its compensation is compensated once, and nothing else is: everything that nobody can be sure of stays a person's."""

import sqlite3
from typing import Any

import pytest

from fulfillment import ledger
from fulfillment.ledger import LedgerEntry
from fulfillment.models import Saga, SagaState
from fulfillment.reconciliation import Rule
from orders.incidents import IncidentKind, open_incident
from orders.models import Incident, Order
from orders.timeline import TimelineEntry
from tests.reconciliation.shop import OWN_CHARGE, OWN_LABEL, TOTAL, Shop


def operations(shop: Shop) -> list[str]:
    return [operation for operation, _, _ in shop.provider.effects("ORD-1")]


def outcome() -> tuple[str, str]:
    incident = Incident.objects.get(code=Rule.LATE)
    return incident.state, incident.outcome


def test_a_charge_that_landed_late_is_refunded_once(shop: Shop, declined: Order) -> None:
    """I had been told that my card was declined, and was charged all the same: I get it back, and it is written down."""
    shop.plant("charge", "ORD-1", OWN_CHARGE)

    first = shop.reconcile()

    assert [(finding.rule, finding.repaired) for finding in first.findings] == [(Rule.LATE, True)]
    assert shop.provider.effects("ORD-1") == [("charge", OWN_CHARGE, TOTAL), ("refund", OWN_CHARGE, TOTAL)]
    assert list(LedgerEntry.objects.values_list("operation", "key", "amount_minor")) == [
        ("captured", OWN_CHARGE, TOTAL),
        ("refunded", "ORD-1:payment:compensate:orphan:testsnonce", TOTAL),
    ]
    assert outcome() == ("resolved", "refunded")
    entries = [str(entry) for entry in TimelineEntry.objects.filter(order=declined)]
    assert "reconcile: undo late landing (payment), amount €84.20: it landed after its undo had ended" in entries
    assert shop.found() == []


def test_a_refund_that_fails_days_later_is_repeated_once_and_then_a_person_s(shop: Shop, failed: Order) -> None:
    """The bank took my refund and sent it back a week later, and so again: whoever repeats what is only remembered tells me nothing but "refunded"."""

    def comes_back() -> None:
        shop.provider.end()
        with sqlite3.connect(shop.provider.ledger_file) as file:
            file.execute("UPDATE charges SET refunded = 0")
        file.close()
        shop.provider.start()

    comes_back()
    assert [(finding.rule, finding.repaired) for finding in shop.reconcile().findings] == [(Rule.LATE, True)]
    assert shop.found() == []
    comes_back()

    again = shop.reconcile()

    assert [(finding.rule, finding.repaired) for finding in again.findings] == [(Rule.LATE, False)]
    assert Incident.objects.exclude(state="resolved").get().amount_minor == TOTAL
    assert [(one.at_risk, one.unexplained) for one in again.money] == [(TOTAL, 0)]


def test_a_second_charge_under_a_key_that_was_compensated_before_is_refunded_too(shop: Shop, settings: Any) -> None:
    """A bank without keys charged twice, the second time after the first one was given back."""
    settings.PAYMENTS_GATEWAY = "sandbox_keyless"
    order = shop.place(postal_code="00422")
    shop.plant("charge", "ORD-1", OWN_CHARGE, profile="keyless")

    assert [finding.repaired for finding in shop.reconcile().findings] == [True]

    assert operations(shop) == ["charge", "refund", "charge", "refund"]
    assert ledger.remaining(order.pk) == 0
    assert LedgerEntry.objects.filter(operation="captured").count() == 2
    assert shop.found() == []


def test_a_label_that_was_booked_late_is_cancelled(shop: Shop, failed: Order) -> None:
    shop.plant("label", "ORD-1", OWN_LABEL)

    assert [finding.repaired for finding in shop.reconcile().findings] == [True]

    assert operations(shop)[-2:] == ["label", "cancel_label"]
    assert outcome() == ("resolved", "cancelled")
    assert shop.found() == []


def test_the_parcel_is_stopped_before_the_money_is_given_back(shop: Shop, declined: Order) -> None:
    """While the parcel may still leave, the money stays."""
    shop.plant("charge", "ORD-1", OWN_CHARGE)
    shop.plant("label", "ORD-1", OWN_LABEL)

    shop.down("label_cancels")
    assert [finding.repaired for finding in shop.reconcile().findings] == [False, False]
    assert operations(shop) == ["charge", "label"]

    shop.down()
    assert [finding.repaired for finding in shop.reconcile().findings] == [True, True]
    assert operations(shop) == ["charge", "label", "cancel_label", "refund"]
    assert {incident.state for incident in Incident.objects.all()} == {"resolved"}


def test_a_stray_label_keeps_the_money_too(shop: Shop, declined: Order) -> None:
    shop.plant("charge", "ORD-1", OWN_CHARGE)
    shop.plant("label", "ORD-1", "stray")

    assert shop.reconcile().repaired == 0
    assert operations(shop) == ["charge", "label"]


def test_a_refund_that_is_refused_stays_a_person_s(shop: Shop, declined: Order) -> None:
    shop.plant("charge", "ORD-1", OWN_CHARGE)
    shop.down("refunds")

    assert [finding.repaired for finding in shop.reconcile().findings] == [False]
    assert outcome() == ("open", "")

    shop.down()
    assert [finding.repaired for finding in shop.reconcile().findings] == [True]
    assert outcome() == ("resolved", "refunded")


def test_a_run_that_died_after_the_refund_is_followed_by_one_that_finds_nothing_left(shop: Shop, declined: Order) -> None:
    """The incident was opened before the refund; the refund was the dead run's."""
    shop.plant("charge", "ORD-1", OWN_CHARGE)
    shop.reconcile(repair=False)
    shop.plant("refund", "ORD-1", OWN_CHARGE)

    assert shop.found() == []
    assert outcome() == ("resolved", "gone")


def test_without_repair_nothing_is_compensated(shop: Shop, declined: Order) -> None:
    shop.plant("charge", "ORD-1", OWN_CHARGE)

    assert shop.reconcile(repair=False).repaired == 0
    assert operations(shop) == ["charge"]


@pytest.mark.parametrize("key", ["ORD-1:payment:do:2:testsnonce", "stray"])
def test_a_charge_under_another_key_is_never_repaired(shop: Shop, declined: Order, key: str) -> None:
    shop.plant("charge", "ORD-1", key)

    assert shop.reconcile().repaired == 0
    assert operations(shop) == ["charge"]


def test_two_charges_under_one_key_are_a_person_s(shop: Shop, declined: Order) -> None:
    """Nobody can tell which one a repeated refund would mean."""
    for _ in range(2):
        shop.plant("charge", "ORD-1", OWN_CHARGE)

    assert shop.found() == [("ORD-1", Rule.LATE, 2 * TOTAL)]
    assert operations(shop) == ["charge", "charge"]


def test_what_an_operator_has_closed_is_never_repaired(shop: Shop, closed: Order) -> None:
    shop.plant("charge", "ORD-1", OWN_CHARGE)

    assert shop.reconcile().repaired == 0
    assert operations(shop) == ["charge", "charge"]


def test_what_a_zombie_has_reported_is_resolved_once_nothing_is_left(shop: Shop, declined: Order) -> None:
    """A worker that was taken over reported a charge, so the engine opened an incident: it is the same matter, reported once."""
    columns: dict[str, Any] = {"subject": "ORD-1", "order_id": declined.pk, "step": "payment", "code": "late", "currency": "EUR"}
    open_incident(IncidentKind.ORPHAN_PAYMENT, amount_minor=TOTAL, **columns)
    shop.plant("charge", "ORD-1", OWN_CHARGE)

    shop.reconcile()
    assert outcome() == ("resolved", "refunded")

    open_incident(IncidentKind.ORPHAN_PAYMENT, amount_minor=TOTAL, **columns)
    assert shop.found() == []
    assert set(Incident.objects.values_list("outcome", flat=True)) == {"refunded", "gone"}


def test_closed_sagas_only_are_repaired(shop: Shop, declined: Order) -> None:
    Saga.objects.update(state=SagaState.COMPENSATING, wake_at="2100-01-01T00:00Z")
    shop.plant("charge", "ORD-1", OWN_CHARGE)

    assert shop.reconcile().repaired == 0
    assert operations(shop) == ["charge"]
