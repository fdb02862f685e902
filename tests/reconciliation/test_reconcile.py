"""Promise: what differs becomes one incident, and whatever cannot be read or asked keeps nothing else from being judged."""

import json
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from fulfillment.code_release import RELEASE
from fulfillment.errors import Unavailable
from fulfillment.reconciliation import Rule, listings, reconcile, shop_rules
from orders.models import Incident, Order
from orders.turns import Turn, TurnLost
from sideeffects import subscriber_audits
from tests.reconciliation.conftest import Run, as_json
from tests.reconciliation.shop import OWN_CHARGE, TOTAL, Shop

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


def test_what_a_run_has_not_judged_stays_reported(shop: Shop, fulfilled: Order) -> None:
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

    assert [(kind, state) for _, kind, _, _, state in shop.incidents()] == [("compensation_exhausted", "open")]


# --- a provider that does not answer -------------------------------------------------------------------------------------


def test_a_provider_that_does_not_answer_leaves_its_orders_unjudged(shop: Shop, fulfilled: Order, command: Run) -> None:
    """Half a list would make every second order look wrong, or well: what was reported stays reported, and a person hears of the silence."""
    shop.plant("charge", "ORD-1", "stray")
    shop.reconcile()
    shop.plant("refund", "ORD-1", "stray")
    shop.provider.client.close()
    shop.provider.end()

    code, output = command()

    assert code == 1
    assert "carrier sandbox: not_listed: the carrier provider does not list what it holds, so its orders were not judged" in output
    assert "1 orders could not be judged: a provider of theirs does not list what it holds" in output
    assert output.splitlines()[-1].startswith("0 orders judged")
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


def test_a_rule_that_breaks_is_reported_and_hides_nothing(shop: Shop, fulfilled: Order, monkeypatch: Any) -> None:
    def broken() -> Any:
        raise TypeError("a bug")

    monkeypatch.setitem(shop_rules.RULES, Rule.STOCK_ADDS_UP, broken)
    shop.plant("charge", "ORD-404", "k")

    assert shop.found() == [("stock_adds_up", Rule.UNREADABLE, 0), ("ORD-404", Rule.UNKNOWN_ORDER, TOTAL)]

    monkeypatch.undo()
    shop.plant("refund", "ORD-404", "k")
    assert shop.found() == []
    assert {state for *_, state in shop.incidents()} == {"resolved"}


def test_a_reconciliation_that_stood_still_ends_when_another_has_begun(shop: Shop, fulfilled: Order, command: Run) -> None:
    """What it has read is old: it opens and compensates nothing with it."""
    shop.plant("charge", "ORD-1", "stray")
    frozen = Turn("reconcile", RELEASE, 60.0)
    assert frozen.take()
    with connection.cursor() as cursor:
        cursor.execute("UPDATE orders_turnrow SET until = until - interval '2 minutes'")  # it stands still

    def stands_still(*_: Any) -> None:
        with connection.cursor() as cursor:
            cursor.execute("UPDATE orders_turnrow SET token = gen_random_uuid(), until = shop_now() + interval '1 minute'")

    with pytest.raises(TurnLost):
        reconcile(None, True, stands_still, subscriber_audits)
    assert shop.incidents() == []


# --- the command ---------------------------------------------------------------------------------------------------------


def test_nothing_found_is_exit_0(shop: Shop, fulfilled: Order, command: Run) -> None:
    code, output = command()

    assert code == 0
    assert output.splitlines() == [
        "Money: €84.20 captured = €84.20 earned + €0.00 given back + €0.00 in flight + €0.00 at risk with an incident; €0.00 unexplained",
        "1 orders judged, 0 open, 0 waiting for a person, 2 provider entries read, 0 findings, 0 repaired",
    ]


def test_each_finding_is_a_line_with_the_amount_and_exit_1(shop: Shop, fulfilled: Order, command: Run) -> None:
    shop.plant("charge", "ORD-1", "stray")

    code, output = command("--no-repair")

    assert code == 1
    assert output.splitlines() == [
        "ORD-1: charge_nobody_owns: charged under stray of €84.20 with sandbox (€84.20 at risk)",
        "Money: €168.40 captured = €84.20 earned + €0.00 given back + €0.00 in flight + €84.20 at risk with an incident; €0.00 unexplained",
        "1 orders judged, 0 open, 0 waiting for a person, 3 provider entries read, 1 findings, 0 repaired",
    ]


def test_what_was_repaired_still_counts_as_off(shop: Shop, declined: Order, command: Run) -> None:
    shop.plant("charge", "ORD-1", OWN_CHARGE)

    code, output = command()

    assert code == 1
    assert output.splitlines()[0].endswith("(€84.20 at risk); undone")
    assert output.splitlines()[-1].endswith("1 findings, 1 repaired")
    assert command()[0] == 0


def test_a_program_reads_json(shop: Shop, fulfilled: Order, command: Run) -> None:
    shop.plant("charge", "ORD-1", "stray")

    code, output = command("--json", "--since", "48")

    assert code == 1
    found = as_json(output)
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
