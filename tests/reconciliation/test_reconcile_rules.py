"""Promise: whatever differs between us and our providers is found, under one name, with the amount; and what agrees is never called wrong."""

import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.db.models import F
from django.test.utils import CaptureQueriesContext

from fulfillment import engine, ledger, movements, recovery
from fulfillment.gateways import Charge, Label
from fulfillment.gateways.sandbox import LOOKUP_LAG_S, SandboxPayments
from fulfillment.ledger import LedgerEntry
from fulfillment.models import PastAttempt, Reservation, Saga, SagaState, StepRecord, StepState, StockLevel
from fulfillment.reconciliation import Rule
from fulfillment.reconciliation.listings import Listings
from fulfillment.reconciliation.scope import Scope
from orders.models import Incident, Order, Status
from sideeffects import discovery, relay
from sideeffects.models import Delivery
from tests.actors import AMARA
from tests.engines import ROOT
from tests.reconciliation.shop import TOTAL, Shop
from tests.sideeffects.conftest import ALL_LOST

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
    claim = engine.start(Saga.objects.get(order=order).pk, 1, "payment", undo=False)
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
    """A provider's list may lag behind its answers: an order that has only just ended is judged when its card says that it is listed."""
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


# --- what the providers hold ---------------------------------------------------------------------------------------------

OWN_CHARGE, OWN_LABEL = "ORD-1:payment:do:1:testsnonce", "ORD-1:shipping:do:1:testsnonce"


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
    PastAttempt.objects.create(record=shipping, undo=False, attempt=1, key=OWN_LABEL, code="no_paper")
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


def test_without_keys_what_was_given_back_is_settled(shop: Shop, settings: Any) -> None:
    settings.PAYMENTS_GATEWAY = "sandbox_keyless"
    shop.place(postal_code="00422")
    shop.plant("charge", "ORD-1", OWN_CHARGE, profile="keyless")
    shop.plant("refund", "ORD-1", OWN_CHARGE, profile="keyless")

    assert shop.found() == []


def test_our_ledger_and_the_provider_s_must_agree(shop: Shop, fulfilled: Order) -> None:
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


# --- our own rows --------------------------------------------------------------------------------------------------------


def test_a_status_that_is_not_the_saga_s_is_found(shop: Shop, failed: Order) -> None:
    Saga.objects.update(failure=Status.CANCELLED)

    assert shop.found() == [("ORD-1", Rule.STATUS_AGREES_WITH_SAGA, 0)]


def test_an_undo_that_was_never_settled_is_found(shop: Shop, failed: Order) -> None:
    """And the history, which says otherwise."""
    StepRecord.objects.filter(name="payment").update(state=StepState.UNDO_FAILED)

    assert [rule for _, rule, _ in shop.found()] == [Rule.EVERY_UNDO_IS_SETTLED, Rule.HISTORY_REBUILDS_THE_JOURNAL]


def test_a_subscriber_that_was_never_told_is_found(shop: Shop) -> None:
    shop.place("ORD-1")
    shop.place("ORD-2")
    relay.register(discovery.names(), release=1)
    relay.owe(ALL_LOST)
    assert shop.found() == []
    lost = discovery.names()[0]

    Delivery.objects.filter(fact__order__number="ORD-2", subscriber=lost).delete()

    assert shop.found() == [("ORD-2", Rule.FACT_TOLD_ONCE, 0)]


def test_what_the_relay_has_not_come_to_yet_is_not_called_wrong(shop: Shop, fulfilled: Order) -> None:
    relay.register(discovery.names(), release=1)
    relay.owe(None)

    assert shop.found() == []


def test_an_order_that_told_nobody_is_found(shop: Shop, fulfilled: Order) -> None:
    forget_the_fact()

    assert shop.found() == [("ORD-1", Rule.FACT_TOLD_ONCE, 0)]


def forget_the_fact() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica; DELETE FROM orders_fact")


def test_stock_that_a_closed_order_still_holds_is_found(shop: Shop, failed: Order) -> None:
    Reservation.objects.update(state="held")

    assert sorted(shop.found()) == [("MUG", Rule.STOCK_ADDS_UP, 0), ("ORD-1", Rule.RESERVATIONS_SETTLED, 0)]


def test_reserved_pieces_that_no_order_holds_are_found(shop: Shop, fulfilled: Order) -> None:
    StockLevel.objects.update(reserved=3)

    assert shop.found() == [("MUG", Rule.STOCK_ADDS_UP, 0)]
    assert Incident.objects.get().order_id is None

    StockLevel.objects.update(reserved=0)
    assert shop.found() == []
    assert shop.incidents() == [("MUG", "mismatch", "stock_adds_up", 0, "resolved")]


def test_pieces_that_were_received_and_are_nowhere_are_found(shop: Shop, fulfilled: Order) -> None:
    """Two left with one order."""
    StockLevel.objects.update(on_hand=F("on_hand") - 1)

    assert shop.found() == [("MUG", Rule.STOCK_IS_CONSERVED, 0)]


def test_whoever_counts_the_warehouse_is_believed(shop: Shop, fulfilled: Order) -> None:
    before = movements.seen(StockLevel.objects.get())
    movements.record("MUG", movements.Reason.COUNTED, 40, actor="amara", since=before)

    assert StockLevel.objects.get().on_hand == 40
    assert shop.found() == []


def test_an_effect_that_happened_twice_is_found_by_its_room(shop: Shop, fulfilled: Order) -> None:
    """Points for an order that nobody has told of, many times over: one finding."""
    for number in range(5):
        with connection.cursor() as cursor:
            cursor.execute("INSERT INTO sideeffects_loyalty_pointsentry (account, order_number, points) VALUES ('x', %s, 5)", [number])

    assert shop.found() == [("loyalty", Rule.EACH_EFFECT_ONCE, 0)]
    assert "; and 3 more" in Incident.objects.get().message


def test_an_order_that_nobody_looks_at_is_found_until_somebody_does(shop: Shop) -> None:
    """It waits for a person, and no person was told; our own incident does not make it well."""
    shop.place(postal_code="00422", token="tok_refund_declined")
    Incident.objects.update(state="resolved")

    for _ in range(2):
        assert shop.found() == [("ORD-1", Rule.SOMEBODY_LOOKS, TOTAL)]
    assert shop.incidents()[-1] == ("ORD-1", "mismatch", "somebody_looks", TOTAL, "open")


def test_a_failure_that_is_shown_while_its_undo_is_open_is_found(shop: Shop, failed: Order) -> None:
    Saga.objects.update(state=SagaState.COMPENSATING, wake_at="2100-01-01T00:00Z")

    assert shop.found() == [("ORD-1", Rule.NO_FAILURE_IS_SHOWN_EARLY, 0)]


def test_an_order_without_a_saga_is_found(shop: Shop) -> None:
    order = shop.open()
    Saga.objects.all().delete()

    assert shop.found() == [(order.number, Rule.EVERY_ORDER_HAS_A_SAGA, 0)]


def test_every_rule_is_told_in_the_documentation() -> None:
    text = (ROOT / "docs/reconcile.md").read_text()

    assert [rule.value for rule in Rule if f"`{rule.value}`" not in text] == []
