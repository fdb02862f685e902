"""Promise: what differs becomes a person's, once; what landed late is undone by itself, once; what a provider does not answer changes nothing."""

from typing import Any

import pytest
from django.core.management import CommandError, call_command

from config.invariants import NotListed, Rule
from fulfillment import ledger
from fulfillment.ledger import LedgerEntry
from fulfillment.models import Saga, SagaState
from orders.attention import IncidentKind, open_incident
from orders.models import Incident, Order
from orders.timeline import TimelineEntry
from tests.config.conftest import TOTAL, Run, Shop, as_json

CHARGE, LABEL = "ORD-1:payment:do:1", "ORD-1:shipping:do:1"


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
        ("refunded", "ORD-1:payment:undo:orphan", TOTAL),
    ]
    assert outcome() == ("resolved", "refunded")
    told = [str(entry) for entry in TimelineEntry.objects.filter(order=declined)]
    assert "reconcile: undo late landing (payment), amount €84.20: it landed after its undo was settled" in told
    assert shop.found() == []


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


@pytest.mark.parametrize("key", ["ORD-1:payment:do:2", "stray"])
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


def test_a_provider_that_does_not_answer_changes_nothing(shop: Shop, fulfilled: Order, command: Run) -> None:
    """Half a list would make every second order look wrong, or well."""
    shop.plant("charge", "ORD-1", "stray")
    shop.reconcile()
    shop.plant("refund", "ORD-1", "stray")
    shop.provider.client.close()
    shop.provider.end()

    with pytest.raises(NotListed):
        shop.reconcile()
    code, told = command()

    assert code == 1
    assert 'The carrier provider "sandbox" does not list what it holds' in told
    assert len(told.strip().splitlines()) == 1
    assert [state for *_, state in shop.incidents()] == ["open"]
    shop.provider.start()


# --- the command ---------------------------------------------------------------------------------------------------------


def test_nothing_found_is_one_line_and_exit_0(shop: Shop, fulfilled: Order, command: Run) -> None:
    code, told = command()

    assert code == 0
    assert told == "1 orders judged, 0 open, 0 waiting for a person, 2 provider entries read, 0 findings, 0 repaired\n"


def test_each_finding_is_a_line_with_the_amount_and_exit_1(shop: Shop, fulfilled: Order, command: Run) -> None:
    shop.plant("charge", "ORD-1", "stray")

    code, told = command("--no-repair")

    assert code == 1
    assert told.splitlines() == [
        "ORD-1: charge_nobody_owns: charged under stray of €84.20 with sandbox (€84.20 at risk)",
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
    with pytest.raises(CommandError, match="hours"):
        call_command("reconcile", f"--since={wrong}")


def test_closed_sagas_only_are_repaired(shop: Shop, declined: Order) -> None:
    Saga.objects.update(state=SagaState.COMPENSATING, wake_at="2100-01-01T00:00Z")
    shop.plant("charge", "ORD-1", CHARGE)

    assert shop.reconcile().repaired == 0
    assert operations(shop) == ["charge"]
