"""Promise: one cause is one incident with a count, however many orders it has touched; a few are reported with their orders."""

from typing import Any

import pytest

from fulfillment import recovery
from fulfillment.reconciliation import Rule, incidents, journal, orders_at_rest
from fulfillment.reconciliation.gathered import Gathered
from orders.models import Incident, Order
from tests.reconciliation.shop import TOTAL, Shop


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two get an incident each, and each chunk has two orders."""
    monkeypatch.setattr(incidents, "SINGLE_LIMIT", 2)
    monkeypatch.setattr(orders_at_rest, "CHUNK", 2)


class Fault:
    """Of our own code: orders of these numbers are found to be wrong, with €1.00 each."""

    def __init__(self) -> None:
        self.numbers: set[str] = set()

    def __call__(self, gathered: Gathered) -> Any:
        if gathered.order.number in self.numbers:
            yield gathered.finding(Rule.LEDGER_AGREES, "a fault of our own", amount_minor=100)


@pytest.fixture
def fault(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> Fault:
    """In a shop with five orders."""
    for number in range(1, 6):
        shop.place(f"ORD-{number}", token="tok_declined")
    fault = Fault()
    monkeypatch.setattr(orders_at_rest, "RULES", (journal.status_agrees_with_saga, fault))
    return fault


def open_now() -> list[tuple[str, int, int]]:
    """(subject, count, amount)."""
    found = Incident.objects.exclude(state="resolved").order_by("subject")
    assert {(one.kind, one.code) for one in found} <= {("mismatch", "ledger_agrees")}
    return list(found.values_list("subject", "count", "amount_minor"))


ALL = {f"ORD-{number}" for number in range(1, 6)}
TOGETHER = [("many at once, EUR", 5, 500)]


def test_many_of_one_cause_are_one_incident_with_their_count_and_sum(shop: Shop, fault: Fault) -> None:
    fault.numbers = ALL

    for _ in range(2):
        assert len(shop.reconcile().findings) == 5
        assert open_now() == TOGETHER
    incident = Incident.objects.get(state="open")
    assert incident.sentence.startswith(
        "Journal and provider disagree, or cannot be compared (5 of one cause, like ORD-1, ORD-2, ORD-3: a fault of our own)."
    )
    assert incident.order_id is None
    assert Incident.objects.count() == 3  # and two, which were opened before it was known how many there are
    (group,) = recovery.groups()
    assert (group.orders, group.at_risk) == (5, {"EUR": 500})


def test_a_few_are_reported_with_their_orders(shop: Shop, fault: Fault) -> None:
    fault.numbers = {"ORD-1", "ORD-4"}

    shop.reconcile()

    assert open_now() == [("ORD-1", 1, 100), ("ORD-4", 1, 100)]
    assert Order.objects.get(number="ORD-4").attention


def test_what_was_reported_alone_is_reported_together_once_it_has_become_many(shop: Shop, fault: Fault) -> None:
    fault.numbers = {"ORD-5"}
    shop.reconcile()
    fault.numbers = ALL

    shop.reconcile()

    assert open_now() == TOGETHER
    assert Incident.objects.get(subject="ORD-5").outcome == "grouped"


def test_many_that_have_become_few_are_reported_with_their_orders(shop: Shop, fault: Fault) -> None:
    fault.numbers = ALL
    shop.reconcile()

    fault.numbers = {"ORD-3"}
    shop.reconcile()
    assert open_now() == [("ORD-3", 1, 100)]

    fault.numbers = set()
    shop.reconcile()
    assert open_now() == []


def test_many_that_are_gone_are_resolved(shop: Shop, fault: Fault) -> None:
    fault.numbers = ALL
    shop.reconcile()

    fault.numbers = set()
    shop.reconcile()

    assert open_now() == []
    assert set(Incident.objects.values_list("outcome", flat=True)) == {"grouped", "gone"}


def test_a_limited_run_only_adds(shop: Shop, fault: Fault) -> None:
    """Old orders are outside of it: that it finds fewer proves nothing."""
    Order.objects.filter(number__in=["ORD-4", "ORD-5"]).update(placed_at="2020-01-01T00:00Z")
    fault.numbers = ALL
    shop.reconcile(since_h=48)
    assert open_now() == [("many at once, EUR", 3, 300)]

    shop.reconcile()
    assert open_now() == TOGETHER

    for left in ({"ORD-1", "ORD-2", "ORD-3"}, {"ORD-1"}, set[str]()):
        fault.numbers = left
        shop.reconcile(since_h=48)
        assert open_now() == TOGETHER


def test_two_causes_are_two_incidents(shop: Shop, fault: Fault) -> None:
    fault.numbers = ALL
    for number in range(6, 10):
        shop.plant("charge", f"NO-{number}", "k", 50)

    shop.reconcile()

    assert list(Incident.objects.filter(state="open").order_by("code").values_list("subject", "code", "count", "amount_minor")) == [
        ("many at once, EUR", "ledger_agrees", 5, 500),
        ("many at once, EUR", "unknown_order", 4, 200),
    ]


def test_charges_of_another_system_in_the_account_are_one_incident_and_gone_when_they_are(shop: Shop) -> None:
    for number in range(5):
        shop.plant("charge", f"NO-{number}", "k", 50)
    shop.reconcile()
    assert Incident.objects.exclude(state="resolved").get().count == 5

    for number in range(5):
        shop.plant("refund", f"NO-{number}", "k", 50)
    shop.reconcile(since_h=48)
    assert Incident.objects.exclude(state="resolved").get().count == 5
    shop.reconcile()
    assert not Incident.objects.exclude(state="resolved").exists()


def test_what_landed_late_many_times_is_given_back_and_reported_once(shop: Shop) -> None:
    """The incident is there before the first refund."""
    for number in range(1, 6):
        shop.place(f"ORD-{number}", token="tok_declined")
        shop.plant("charge", f"ORD-{number}", f"ORD-{number}:payment:do:1:testsnonce")

    report = shop.reconcile(since_h=48)

    assert report.repaired == 5
    assert not Incident.objects.exclude(state="resolved").exists()
    assert report.as_json()["money"]["EUR"]["given_back"] == 5 * TOTAL


def test_money_at_risk_is_explained_by_what_is_reported_together(shop: Shop) -> None:
    for number in range(1, 6):
        shop.place(f"ORD-{number}")
        shop.plant("charge", f"ORD-{number}", "stray", 50)

    found = shop.reconcile().as_json()["money"]["EUR"]

    assert (found["earned"], found["at_risk"], found["unexplained"]) == (5 * TOTAL, 250, 0)


def test_a_run_that_dies_in_between_has_reported(shop: Shop, fault: Fault, monkeypatch: pytest.MonkeyPatch) -> None:
    fault.numbers = ALL

    def dies(*_: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr("fulfillment.reconciliation.shop.judge", dies)

    with pytest.raises(KeyboardInterrupt):
        shop.reconcile()

    assert [subject for subject, *_ in open_now()] == ["many at once, EUR"]
