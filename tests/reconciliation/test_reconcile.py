"""Promise: what differs becomes a person's, once; what landed late is undone by itself, once; what a provider does not answer changes nothing."""

import json
import sqlite3
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from fulfillment import ledger
from fulfillment.errors import Unavailable
from fulfillment.ledger import LedgerEntry
from fulfillment.models import Saga, SagaState
from fulfillment.reconciliation import Rule, listings, reconcile, whole
from fulfillment.release import RELEASE
from orders.attention import IncidentKind, open_incident
from orders.models import Incident, Order
from orders.timeline import TimelineEntry
from orders.turns import Turn, TurnLost
from sideeffects import audit
from tests.reconciliation.conftest import Run, as_json
from tests.reconciliation.shop import TOTAL, Shop

CHARGE, LABEL = "ORD-1:payment:do:1:testsnonce", "ORD-1:shipping:do:1:testsnonce"


@pytest.fixture
def declined(shop: Shop) -> Order:
    """No charge that we know of."""
    return shop.place(token="tok_declined")


def operations(shop: Shop) -> list[str]:
    return [operation for operation, _, _ in shop.provider.effects("ORD-1")]


def outcome() -> tuple[str, str]:
    incident = Incident.objects.get(code=Rule.LATE)
    return incident.state, incident.outcome


# --- a late landing ------------------------------------------------------------------------------------------------------


def test_a_charge_that_landed_late_is_refunded_once(shop: Shop, declined: Order) -> None:
    """I had been told that my card was declined, and was charged all the same: I get it back, and it is written down."""
    shop.plant("charge", "ORD-1", CHARGE)

    first = shop.reconcile()

    assert [(finding.rule, finding.repaired) for finding in first.findings] == [(Rule.LATE, True)]
    assert shop.provider.effects("ORD-1") == [("charge", CHARGE, TOTAL), ("refund", CHARGE, TOTAL)]
    assert list(LedgerEntry.objects.values_list("operation", "key", "amount_minor")) == [
        ("captured", CHARGE, TOTAL),
        ("refunded", "ORD-1:payment:undo:orphan:testsnonce", TOTAL),
    ]
    assert outcome() == ("resolved", "refunded")
    told = [str(entry) for entry in TimelineEntry.objects.filter(order=declined)]
    assert "reconcile: undo late landing (payment), amount €84.20: it landed after its undo was settled" in told
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


def test_a_second_charge_under_a_key_that_was_undone_before_is_refunded_too(shop: Shop, settings: Any) -> None:
    """A bank without keys charged twice, the second time after the first one was given back."""
    settings.PAYMENTS_GATEWAY = "sandbox_keyless"
    order = shop.place(postal_code="00422")
    shop.plant("charge", "ORD-1", CHARGE, profile="keyless")

    assert [finding.repaired for finding in shop.reconcile().findings] == [True]

    assert operations(shop) == ["charge", "refund", "charge", "refund"]
    assert ledger.remaining(order.pk) == 0
    assert LedgerEntry.objects.filter(operation="captured").count() == 2
    assert shop.found() == []


def test_a_label_that_was_booked_late_is_cancelled(shop: Shop, failed: Order) -> None:
    shop.plant("label", "ORD-1", LABEL)

    assert [finding.repaired for finding in shop.reconcile().findings] == [True]

    assert operations(shop)[-2:] == ["label", "cancel_label"]
    assert outcome() == ("resolved", "cancelled")
    assert shop.found() == []


def test_the_parcel_is_stopped_before_the_money_is_given_back(shop: Shop, declined: Order) -> None:
    """While the parcel may still leave, the money stays."""
    shop.plant("charge", "ORD-1", CHARGE)
    shop.plant("label", "ORD-1", LABEL)

    shop.down("label_cancels")
    assert [finding.repaired for finding in shop.reconcile().findings] == [False, False]
    assert operations(shop) == ["charge", "label"]

    shop.down()
    assert [finding.repaired for finding in shop.reconcile().findings] == [True, True]
    assert operations(shop) == ["charge", "label", "cancel_label", "refund"]
    assert {incident.state for incident in Incident.objects.all()} == {"resolved"}


def test_a_stray_label_keeps_the_money_too(shop: Shop, declined: Order) -> None:
    shop.plant("charge", "ORD-1", CHARGE)
    shop.plant("label", "ORD-1", "stray")

    assert shop.reconcile().repaired == 0
    assert operations(shop) == ["charge", "label"]


def test_a_refund_that_is_refused_stays_a_person_s(shop: Shop, declined: Order) -> None:
    shop.plant("charge", "ORD-1", CHARGE)
    shop.down("refunds")

    assert [finding.repaired for finding in shop.reconcile().findings] == [False]
    assert outcome() == ("open", "")

    shop.down()
    assert [finding.repaired for finding in shop.reconcile().findings] == [True]
    assert outcome() == ("resolved", "refunded")


def test_a_run_that_died_after_the_refund_is_followed_by_one_that_finds_nothing_left(shop: Shop, declined: Order) -> None:
    """The incident was told before the refund; the refund was the dead run's."""
    shop.plant("charge", "ORD-1", CHARGE)
    shop.reconcile(repair=False)
    shop.plant("refund", "ORD-1", CHARGE)

    assert shop.found() == []
    assert outcome() == ("resolved", "gone")


def test_without_repair_nothing_is_undone(shop: Shop, declined: Order) -> None:
    shop.plant("charge", "ORD-1", CHARGE)

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
        shop.plant("charge", "ORD-1", CHARGE)

    assert shop.found() == [("ORD-1", Rule.LATE, 2 * TOTAL)]
    assert operations(shop) == ["charge", "charge"]


def test_what_an_operator_has_closed_is_never_repaired(shop: Shop, closed: Order) -> None:
    shop.plant("charge", "ORD-1", CHARGE)

    assert shop.reconcile().repaired == 0
    assert operations(shop) == ["charge", "charge"]


def test_what_a_zombie_has_told_is_resolved_once_nothing_is_left(shop: Shop, declined: Order) -> None:
    """A worker that was taken over reported a charge, so the engine told a person: it is the same matter, told once."""
    told: dict[str, Any] = {"subject": "ORD-1", "order_id": declined.pk, "step": "payment", "code": "late", "currency": "EUR"}
    open_incident(IncidentKind.ORPHAN_PAYMENT, amount_minor=TOTAL, **told)
    shop.plant("charge", "ORD-1", CHARGE)

    shop.reconcile()
    assert outcome() == ("resolved", "refunded")

    open_incident(IncidentKind.ORPHAN_PAYMENT, amount_minor=TOTAL, **told)
    assert shop.found() == []
    assert set(Incident.objects.values_list("outcome", flat=True)) == {"refunded", "gone"}


# --- incidents -----------------------------------------------------------------------------------------------------------


def test_what_is_no_longer_found_is_resolved(shop: Shop, fulfilled: Order) -> None:
    """The stray charge was given back, and so was that of the unknown order."""
    for number, key in (("ORD-1", "stray"), ("ORD-404", "k")):
        shop.plant("charge", number, key)
    assert len(shop.found()) == 2

    for number, key in (("ORD-1", "stray"), ("ORD-404", "k")):
        shop.plant("refund", number, key)

    assert shop.found() == []
    assert {(incident.state, incident.outcome) for incident in Incident.objects.all()} == {("resolved", "gone")}


def test_what_a_run_has_not_judged_stays_told(shop: Shop, fulfilled: Order) -> None:
    """Old orders, and old charges for unknown ones, are outside of a limited run: that it does not find them proves nothing."""
    for number, key in (("ORD-1", "stray"), ("ORD-404", "k")):
        shop.plant("charge", number, key)
    assert len(shop.found()) == 2
    for number, key in (("ORD-1", "stray"), ("ORD-404", "k")):
        shop.plant("refund", number, key)
    Order.objects.update(placed_at="2020-01-01T00:00Z")

    assert shop.found(since_h=1) == []
    assert {state for *_, state in shop.incidents()} == {"open"}


def test_incidents_of_others_stay_theirs(shop: Shop) -> None:
    """A refund that was declined is the engine's matter, whatever is found."""
    shop.place(postal_code="00422", token="tok_refund_declined")

    shop.reconcile()

    assert [(kind, state) for _, kind, _, _, state in shop.incidents()] == [("undo_exhausted", "open")]


# --- a provider that does not answer -------------------------------------------------------------------------------------


def test_a_provider_that_does_not_answer_leaves_its_orders_unjudged(shop: Shop, fulfilled: Order, command: Run) -> None:
    """Half a list would make every second order look wrong, or well: what was told stays told, and a person hears of the silence."""
    shop.plant("charge", "ORD-1", "stray")
    shop.reconcile()
    shop.plant("refund", "ORD-1", "stray")
    shop.provider.client.close()
    shop.provider.end()

    code, told = command()

    assert code == 1
    assert "carrier sandbox: not_listed: the carrier provider does not list what it holds, so its orders were not judged" in told
    assert "1 orders could not be judged: a provider of theirs does not list what it holds" in told
    assert told.splitlines()[-1].startswith("0 orders judged")
    assert sorted((kind, code, state) for _, kind, code, _, state in shop.incidents()) == [
        ("mismatch", "not_listed", "open"),
        ("mismatch", "not_listed", "open"),
        ("orphan_payment", "charge_nobody_owns", "open"),
    ]

    shop.provider.start()
    assert shop.found() == []
    assert {state for *_, state in shop.incidents()} == {"resolved"}


def test_one_silent_old_provider_does_not_end_reconciliation_for_all(shop: Shop, fulfilled: Order, settings: Any, monkeypatch: Any) -> None:
    """One order of two years ago was paid with a bank that is closed since: a charge that nobody owns today is found all the same."""
    settings.PAYMENTS_GATEWAY = "sandbox_burn"
    old = shop.place("ORD-2")
    settings.PAYMENTS_GATEWAY = "sandbox"
    Order.objects.filter(pk=old.pk).update(placed_at="2024-01-01T00:00Z")
    shop.plant("charge", "ORD-1", "stray")
    reads = listings._read

    def read(place: Any, since: Any, watch: Any) -> Any:
        if place == ("payments", "sandbox_burn"):
            raise Unavailable("The provider could not be reached.")
        return reads(place, since, watch)

    monkeypatch.setattr(listings, "_read", read)

    assert shop.found() == [
        ("ORD-1", Rule.CHARGE_NOBODY_OWNS, TOTAL),
        ("payments sandbox_burn", Rule.NOT_LISTED, TOTAL),
    ]
    assert shop.found(since_h=48) == [("ORD-1", Rule.CHARGE_NOBODY_OWNS, TOTAL)]
    assert {(code, state) for _, _, code, _, state in shop.incidents()} == {("charge_nobody_owns", "open"), ("not_listed", "open")}


@pytest.mark.parametrize("plan", [["poison"], None, 7])
def test_one_order_that_cannot_be_read_does_not_end_reconciliation_for_all(shop: Shop, fulfilled: Order, plan: Any) -> None:
    """The order beside it is judged, and the broken one is a person's, with its whole amount."""
    broken = shop.place("ORD-2")
    with connection.cursor() as cursor:
        cursor.execute("UPDATE fulfillment_saga SET plan = %s WHERE order_id = %s", [json.dumps(plan), broken.pk])
    shop.plant("charge", "ORD-1", "stray")

    report = shop.reconcile()

    assert sorted((finding.subject, finding.rule, finding.amount_minor) for finding in report.findings) == [
        ("ORD-1", Rule.CHARGE_NOBODY_OWNS, TOTAL),
        (broken.number, Rule.UNREADABLE, TOTAL),
    ]
    assert (report.judged, report.unreadable) == (1, 1)


def test_a_rule_that_breaks_is_told_and_hides_nothing(shop: Shop, fulfilled: Order, monkeypatch: Any) -> None:
    def broken() -> Any:
        raise TypeError("a bug")

    monkeypatch.setitem(whole.RULES, Rule.STOCK_ADDS_UP, broken)
    shop.plant("charge", "ORD-404", "k")

    assert shop.found() == [("stock_adds_up", Rule.UNREADABLE, 0), ("ORD-404", Rule.UNKNOWN_ORDER, TOTAL)]

    monkeypatch.undo()
    shop.plant("refund", "ORD-404", "k")
    assert shop.found() == []
    assert {state for *_, state in shop.incidents()} == {"resolved"}


def test_a_reconciliation_that_stood_still_ends_when_another_has_begun(shop: Shop, fulfilled: Order, command: Run) -> None:
    """What it has read is old: it opens and undoes nothing with it."""
    shop.plant("charge", "ORD-1", "stray")
    frozen = Turn("reconcile", RELEASE, 60.0)
    assert frozen.take()
    with connection.cursor() as cursor:
        cursor.execute("UPDATE orders_turnrow SET until = until - interval '2 minutes'")  # it stands still

    def stands_still(*_: Any) -> None:
        with connection.cursor() as cursor:
            cursor.execute("UPDATE orders_turnrow SET token = gen_random_uuid(), until = shop_now() + interval '1 minute'")

    with pytest.raises(TurnLost):
        reconcile(None, True, stands_still, audit)
    assert shop.incidents() == []


# --- the command ---------------------------------------------------------------------------------------------------------


def test_nothing_found_is_exit_0(shop: Shop, fulfilled: Order, command: Run) -> None:
    code, told = command()

    assert code == 0
    assert told.splitlines() == [
        "Money: €84.20 captured = €84.20 earned + €0.00 given back + €0.00 in flight + €0.00 at risk with an incident; €0.00 unexplained",
        "1 orders judged, 0 open, 0 waiting for a person, 2 provider entries read, 0 findings, 0 repaired",
    ]


def test_each_finding_is_a_line_with_the_amount_and_exit_1(shop: Shop, fulfilled: Order, command: Run) -> None:
    shop.plant("charge", "ORD-1", "stray")

    code, told = command("--no-repair")

    assert code == 1
    assert told.splitlines() == [
        "ORD-1: charge_nobody_owns: charged under stray of €84.20 with sandbox (€84.20 at risk)",
        "Money: €168.40 captured = €84.20 earned + €0.00 given back + €0.00 in flight + €84.20 at risk with an incident; €0.00 unexplained",
        "1 orders judged, 0 open, 0 waiting for a person, 3 provider entries read, 1 findings, 0 repaired",
    ]


def test_what_was_repaired_still_counts_as_off(shop: Shop, declined: Order, command: Run) -> None:
    shop.plant("charge", "ORD-1", CHARGE)

    code, told = command()

    assert code == 1
    assert told.splitlines()[0].endswith("(€84.20 at risk); undone")
    assert told.splitlines()[-1].endswith("1 findings, 1 repaired")
    assert command()[0] == 0


def test_a_program_reads_json(shop: Shop, fulfilled: Order, command: Run) -> None:
    shop.plant("charge", "ORD-1", "stray")

    code, told = command("--json", "--since", "48")

    assert code == 1
    found = as_json(told)
    assert (found["judged"], found["open"], found["waiting"], found["entries"], found["repaired"]) == (1, 0, 0, 3, 0)
    assert found["findings"] == [
        {
            "subject": "ORD-1",
            "rule": "charge_nobody_owns",
            "kind": "orphan_payment",
            "step": "",
            "found": "charged under stray of €84.20 with sandbox",
            "amount_minor": TOTAL,
            "currency": "EUR",
            "repaired": False,
        }
    ]


@pytest.mark.parametrize("wrong", ["0", "-1", "soon", "nan", "inf"])
def test_since_takes_hours(wrong: str) -> None:
    with pytest.raises(CommandError, match="is not a number above 0"):
        call_command("reconcile", f"--since={wrong}")


def test_closed_sagas_only_are_repaired(shop: Shop, declined: Order) -> None:
    Saga.objects.update(state=SagaState.COMPENSATING, wake_at="2100-01-01T00:00Z")
    shop.plant("charge", "ORD-1", CHARGE)

    assert shop.reconcile().repaired == 0
    assert operations(shop) == ["charge"]
