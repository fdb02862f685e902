"""Promise: an order that agrees with its providers is never called wrong, and only orders at rest are judged."""

import time
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from fulfillment import engine, recovery
from fulfillment.gateways.sandbox import LOOKUP_LAG_S
from fulfillment.models import Saga
from fulfillment.reconciliation.scope import Scope
from orders.models import Order
from tests.actors import AMARA
from tests.reconciliation.shop import TOTAL, Shop

GATEWAYS = ("sandbox", "sandbox_forgetful", "sandbox_burn", "sandbox_watch", "sandbox_keyless")


# --- what agrees ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({}, "fulfilled"),
        ({"token": "tok_declined"}, "payment_failed"),
        ({"pieces": 101}, "inventory_failed"),
        ({"postal_code": "00422"}, "shipping_failed"),
        ({"token": "tok_flaky_2"}, "fulfilled"),
        ({"token": "tok_timeout_charged"}, "fulfilled"),
        ({"token": "tok_refund_flaky_2", "postal_code": "00422"}, "shipping_failed"),
        ({"token": "tok_charged_never_answers"}, "payment_failed"),
    ],
    ids=["fulfilled", "declined", "out of stock", "address refused", "flaky", "in doubt", "refund flaky", "undone blind"],
)
def test_an_order_that_ended_as_it_should_is_never_called_wrong(shop: Shop, settings: Any, changes: dict[str, Any], status: str) -> None:
    settings.CALL_DEADLINE_S = 0.3
    assert shop.place(**changes).status == status

    report = shop.reconcile()

    assert report.findings == []
    assert (report.judged, report.open, report.waiting) == (1, 0, 0)


@pytest.mark.parametrize("gateway", GATEWAYS)
def test_every_provider_that_a_plan_pins_is_asked(shop: Shop, settings: Any, gateway: str) -> None:
    """The shop has changed its bank since: the old one is asked about the old orders."""
    settings.PAYMENTS_GATEWAY = settings.CARRIER_GATEWAY = gateway
    shop.place("ORD-1")
    shop.place("ORD-2", pieces=200)
    settings.PAYMENTS_GATEWAY = settings.CARRIER_GATEWAY = "sandbox"
    shop.place("ORD-3")

    report = shop.reconcile()

    assert report.findings == []
    assert (report.judged, report.entries) == (3, 5)


def test_an_order_that_still_moves_is_counted_not_judged(shop: Shop) -> None:
    """Charged, and not further yet."""
    order = shop.open()
    claim = engine.start(Saga.objects.get(order=order).pk, 1, "payment", compensating=False)
    assert claim is not None
    shop.provider.charge("ORD-1")

    report = shop.reconcile()

    assert report.findings == []
    assert (report.judged, report.open, report.entries) == (0, 1, 1)


def test_an_order_that_ended_after_the_cutoff_is_not_judged(shop: Shop, fulfilled: Order) -> None:
    """Its entries may have been made after its provider's list was read."""
    Saga.objects.update(closed_at="2100-01-01T00:00Z")
    shop.plant("charge", "ORD-1", "stray")

    report = shop.reconcile()

    assert report.findings == []
    assert (report.judged, report.open) == (0, 1)


def test_lists_are_read_once_they_are_complete(shop: Shop, fulfilled: Order, settings: Any) -> None:
    """A provider's list may lag behind its answers: an order that has only just ended is judged when its capabilities say that it is listed."""
    settings.TIME_SCALE = 0.05

    began = time.monotonic()
    assert shop.found() == []
    assert time.monotonic() - began >= LOOKUP_LAG_S * 0.05

    Saga.objects.update(closed_at="2020-01-01T00:00Z")
    began = time.monotonic()
    assert shop.found() == []
    assert time.monotonic() - began < LOOKUP_LAG_S * 0.05


def test_an_order_that_waits_for_a_person_is_counted_not_judged(shop: Shop) -> None:
    shop.place(postal_code="00422", token="tok_refund_declined")

    report = shop.reconcile()

    assert report.findings == []
    assert (report.judged, report.open, report.waiting) == (0, 0, 1)


def test_an_order_that_an_operator_has_closed_holds_what_was_written_off(shop: Shop, closed: Order) -> None:
    assert shop.found() == []


@pytest.mark.parametrize("elsewhere", [True, False], ids=["by bank transfer", "in the bank's own pages"])
def test_a_refund_by_hand_may_have_gone_another_way(shop: Shop, elsewhere: bool) -> None:
    """A person has given the money back: the bank may still show the charge, or not. It is never given back a second time."""
    order = shop.place(postal_code="00422", token="tok_refund_declined")
    version = recovery.version_of(order.pk)
    given: dict[str, Any] = {"evidence": "transfer 4711", "reason": "the bank refused", "amount_minor": TOTAL}
    recovery.decide(recovery.Request(order="ORD-1", verb="undone_by_hand", version=version, actor=AMARA, **given))
    shop.drive(order)
    assert order.status == "shipping_failed"
    if not elsewhere:
        shop.plant("refund", "ORD-1", "ORD-1:payment:do:1:testsnonce")

    assert shop.found() == []
    assert len(shop.provider.effects("ORD-1")) == (1 if elsewhere else 2)


def test_the_number_of_queries_does_not_grow_with_the_orders(shop: Shop) -> None:
    def queries() -> int:
        with CaptureQueriesContext(connection) as asked:
            assert shop.found() == []
        return len(asked)

    shop.place("ORD-1")
    few = queries()
    for number in range(2, 8):
        shop.place(f"ORD-{number}", postal_code="00422" if number % 2 else "T12 X7YZ")

    assert queries() == few


# --- --since -------------------------------------------------------------------------------------------------------------


def test_since_judges_recent_orders_only(shop: Shop) -> None:
    """An older order's entries are ignored: it exists, and is not judged."""
    shop.place("ORD-1")
    shop.place("ORD-2")
    Order.objects.filter(number="ORD-1").update(placed_at="2020-01-01T00:00Z")
    for number in ("ORD-1", "ORD-2"):
        shop.plant("charge", number, f"{number}:stray")

    report = shop.reconcile(since_h=48)

    assert [finding.subject for finding in report.findings] == ["ORD-2"]
    assert report.judged == 1


def test_an_order_on_the_edge_is_judged_with_its_entries(shop: Shop, fulfilled: Order) -> None:
    """The providers are asked for an hour more: their clocks are not ours."""
    edge = fulfilled.placed_at
    scope = Scope(cutoff=edge, placed_from=edge)

    assert scope.at_rest.count() == 1
    assert scope.listed_from == edge - timedelta(hours=1)
    assert shop.reconcile(since_h=0.0001).findings == []
