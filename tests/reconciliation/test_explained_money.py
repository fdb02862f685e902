"""Promise: every minor unit that was ever captured is in exactly one place, and what nobody can explain is reported."""

import itertools
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection

from fulfillment import engine, ledger
from fulfillment.ledger import LedgerEntry
from fulfillment.models import Saga, SagaState
from fulfillment.reconciliation import Rule
from fulfillment.reconciliation.explained_money import IN_PLACES, PLACES
from orders.incidents import Incident
from orders.models import Order
from tests.reconciliation.conftest import Run, as_json
from tests.reconciliation.shop import TOTAL, Shop
from tests.reconciliation.test_reconcile_agreement import GATEWAYS

CHARGE = "ORD-1:payment:do:1:testsnonce"


def explained(shop: Shop, currency: str = "EUR", **options: Any) -> dict[str, Any]:
    """What is not nil of one currency."""
    found = shop.reconcile(**options).as_json()["money"]
    assert set(found) <= {currency}
    return {name: amount for name, amount in found.get(currency, {}).items() if amount}


def charge_one(shop: Shop, number: str = "ORD-1") -> Order:
    """Charged, and not further yet."""
    order = shop.open(number)
    claim = engine.start(Saga.objects.get(order=order).pk, 1, "payment", compensating=False)
    assert claim is not None
    engine.record_success(
        claim, {"charge_id": shop.provider.charge(number, key=f"{number}:payment:do:1:testsnonce").json()["id"], "amount_minor": TOTAL}
    )
    return order


def grow_old() -> None:
    """Open for longer than any order takes, and the sweep is expected to look."""
    Saga.objects.update(opened_at="2020-01-01T00:00Z", deadline_at="2020-01-01T02:00Z", wake_at="2100-01-01T00:00Z")


# --- what is explained ---------------------------------------------------------------------------------------------------


def test_money_of_orders_that_ended_as_they_should_is_earned_or_given_back(shop: Shop) -> None:
    shop.place("ORD-1")
    shop.place("ORD-2", postal_code="00422")
    shop.place("ORD-3", token="tok_declined")

    assert explained(shop) == {"captured": 2 * TOTAL, "listed": 2 * TOTAL, "earned": TOTAL, "given_back": TOTAL}


def test_nothing_captured_is_nothing_to_explain(shop: Shop) -> None:
    shop.place(token="tok_declined")

    assert explained(shop) == {}


def test_money_of_an_order_on_its_way_is_in_flight(shop: Shop) -> None:
    """Of one, our ledger knows; of the other, the bank alone: its answer is lost."""
    charge_one(shop)
    order = shop.open("ORD-2")
    assert engine.start(Saga.objects.get(order=order).pk, 1, "payment", compensating=False) is not None
    shop.provider.charge("ORD-2", key="ORD-2:payment:do:1:testsnonce")

    assert explained(shop) == {"captured": 2 * TOTAL, "listed": 2 * TOTAL, "in_flight": 2 * TOTAL}


def test_money_that_waits_for_a_person_is_at_risk_with_an_incident(shop: Shop) -> None:
    shop.place(postal_code="00422", token="tok_refund_declined")

    assert explained(shop) == {"captured": TOTAL, "listed": TOTAL, "at_risk": TOTAL}


def test_what_two_persons_have_written_off_is_kept_and_said(shop: Shop, closed: Order) -> None:
    assert explained(shop) == {"captured": TOTAL, "listed": TOTAL, "earned": TOTAL, "written_off": TOTAL}


@pytest.mark.parametrize("gateway", GATEWAYS)
@pytest.mark.parametrize(
    "changes",
    [{"token": "tok_timeout_charged"}, {"token": "tok_charged_never_answers"}, {"token": "tok_refund_flaky_2", "postal_code": "00422"}],
    ids=["in doubt", "compensated blind", "refund flaky"],
)
def test_no_provider_s_way_to_compensate_leaves_money_unexplained(shop: Shop, settings: Any, gateway: str, changes: dict[str, Any]) -> None:
    settings.PAYMENTS_GATEWAY, settings.CALL_DEADLINE_S = gateway, 0.3
    shop.place(**changes)

    found = explained(shop)

    assert "unexplained" not in found
    assert found.get("captured") == found.get("listed")
    assert found.get("captured", 0) == sum(found.get(place, 0) for place in PLACES)


# --- planted divergences -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("which", "planted", "expected"),
    [
        ("fulfilled", ("charge", "stray", 700), {"captured": TOTAL + 700, "listed": TOTAL + 700, "earned": TOTAL, "at_risk": 700}),
        ("fulfilled", ("charge", CHARGE, 700), {"captured": TOTAL + 700, "listed": TOTAL + 700, "earned": TOTAL, "at_risk": 700}),
        ("fulfilled", ("refund", CHARGE, 420), {"captured": TOTAL, "listed": TOTAL, "earned": TOTAL - 420, "at_risk": 420}),
        ("failed", ("charge", "stray", 700), {"captured": TOTAL + 700, "listed": TOTAL + 700, "given_back": TOTAL, "at_risk": 700}),
    ],
)
def test_what_a_provider_did_and_nobody_asked_for_is_at_risk_with_an_incident(
    shop: Shop, request: pytest.FixtureRequest, which: str, planted: tuple[str, str, int], expected: dict[str, int]
) -> None:
    request.getfixturevalue(which)
    operation, key, amount = planted
    shop.plant(operation, "ORD-1", key, amount)

    assert explained(shop, repair=False) == expected
    assert explained(shop, repair=False) == expected


def test_a_charge_of_an_order_that_does_not_exist_is_at_risk(shop: Shop, fulfilled: Order) -> None:
    shop.plant("charge", "ORD-404", "k", 700)

    assert explained(shop) == {"captured": TOTAL + 700, "listed": TOTAL + 700, "earned": TOTAL, "at_risk": 700}


def test_what_landed_late_is_given_back_in_the_same_run(shop: Shop) -> None:
    shop.place(token="tok_declined")
    shop.plant("charge", "ORD-1", CHARGE)

    assert explained(shop) == {"captured": TOTAL, "listed": TOTAL, "given_back": TOTAL}


def test_money_that_our_ledger_alone_knows_is_no_money_of_the_provider_s(shop: Shop, fulfilled: Order) -> None:
    ledger.enter(fulfilled.pk, "payment", LedgerEntry.Operation.CAPTURED, "by mistake", 420)

    assert explained(shop) == {"captured": TOTAL + 420, "listed": TOTAL, "earned": TOTAL, "at_risk": 420}


def test_each_currency_is_explained_by_itself(shop: Shop, fulfilled: Order) -> None:
    """A charge in another currency than the order's is nobody's."""
    shop.plant("charge", "ORD-1", "stray", 50, currency="JPY")

    found = shop.reconcile().as_json()["money"]

    assert {currency: (one["captured"], one["earned"], one["at_risk"], one["unexplained"]) for currency, one in found.items()} == {
        "EUR": (TOTAL, TOTAL, 0, 0),
        "JPY": (50, 0, 50, 0),
    }


# --- what nobody can explain ---------------------------------------------------------------------------------------------


def test_money_of_an_order_that_has_been_open_for_too_long_is_explained_by_nobody(shop: Shop) -> None:
    """Someone looks at it again and again, and no person was notified: one is notified now, and it stays unexplained all the same."""
    charge_one(shop)
    grow_old()

    for _ in range(2):
        report = shop.reconcile()
        assert {name: amount for name, amount in report.as_json()["money"]["EUR"].items() if amount} == {
            "captured": TOTAL,
            "listed": TOTAL,
            "unexplained": TOTAL,
        }
        assert [(finding.subject, finding.rule, finding.amount_minor) for finding in report.findings] == [
            ("money EUR", Rule.UNEXPLAINED, TOTAL)
        ]
        assert "1 order, ORD-1" in report.findings[0].found
    assert shop.incidents() == [("money EUR", "mismatch", "unexplained", TOTAL, "open")]

    shop.drive(Order.objects.get())
    assert "unexplained" not in explained(shop)
    assert shop.incidents() == [("money EUR", "mismatch", "unexplained", TOTAL, "resolved")]


def test_a_hold_is_reported_by_the_incident_of_its_circuit(shop: Shop) -> None:
    charge_one(shop)
    grow_old()
    Saga.objects.update(held_by="carrier sandbox label", held_at="2020-01-01T00:00Z")
    Incident.objects.create(subject="carrier sandbox label", kind="provider_down", code="carrier sandbox label", currency="EUR")

    assert explained(shop) == {"captured": TOTAL, "listed": TOTAL, "at_risk": TOTAL}


def test_an_order_that_ended_while_the_lists_were_read_is_not_called_unexplained(shop: Shop) -> None:
    """Its charge was listed, and its refund came after."""
    order = shop.place(postal_code="00422")
    saga = Saga.objects.get(order=order)
    assert saga.state == SagaState.COMPENSATED
    shop.plant("charge", "ORD-1", CHARGE)
    Saga.objects.update(closed_at="2100-01-01T00:00Z")

    assert explained(shop) == {"captured": 2 * TOTAL, "listed": 2 * TOTAL, "given_back": TOTAL, "in_flight": TOTAL}


# --- the arithmetic ------------------------------------------------------------------------------------------------------


def everything() -> Iterator[tuple[str | None, int, int, int, int, int, int, int, bool, bool]]:
    """State, captured, refunded, of it by hand, written off, listed captured, listed refunded, total, with an incident, on its way."""
    some = range(3)
    for captured, refunded, by_hand, off, listed, back in itertools.product(some, repeat=6):
        if not (by_hand <= refunded <= captured and off <= captured - refunded and back <= listed):
            continue
        for state in ("completed", "compensated", "closed_by_operator", "running", None):
            for has_incident, moving in itertools.product((False, True), repeat=2):
                yield state, captured, refunded, by_hand, off, listed, back, 1, has_incident, moving


def test_whatever_is_captured_each_unit_is_in_exactly_one_place(db: None) -> None:
    """Of every small order that there can be: no place is negative, and together they are what was captured; only what nobody was notified of is unexplained."""
    columns = "state, captured, refunded, by_hand, written_off, listed_captured, listed_refunded, total_minor, has_incident, is_moving"
    rows = list(everything())
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            WITH orders AS (SELECT * FROM unnest(%s::text[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[],
                %s::bigint[], %s::boolean[], %s::boolean[]) AS one({columns}))
            {IN_PLACES}
            SELECT {columns}, units, earned, given_back, in_flight, at_risk, unexplained FROM in_places
            """,
            [list(column) for column in zip(*rows, strict=True)],
        )
        found = cursor.fetchall()

    assert len(found) == len(rows) > 1000
    for *_, has_incident, moving, units, earned, given_back, in_flight, at_risk, unexplained in found:
        places = [earned, given_back, in_flight, at_risk, unexplained]
        assert min(places) >= 0
        assert sum(places) == units
        assert not (at_risk and not has_incident)
        assert not (in_flight and not moving)
        assert not (unexplained and (has_incident or moving))
    assert any(row[-1] for row in found)


# --- the command ---------------------------------------------------------------------------------------------------------


def test_the_command_says_it_in_one_line(shop: Shop, command: Run) -> None:
    shop.place("ORD-1")
    shop.place("ORD-2", postal_code="00422")
    shop.plant("charge", "ORD-404", "k", 700)

    code, output = command()

    assert code == 1
    assert output.splitlines()[-2] == (
        "Money: €175.40 captured = €84.20 earned + €84.20 given back + €0.00 in flight + €7.00 at risk with an incident; €0.00 unexplained"
    )


def test_what_is_unexplained_ends_with_exit_1(shop: Shop, command: Run) -> None:
    charge_one(shop)
    grow_old()

    code, output = command("--json")

    assert code == 1
    assert as_json(output)["money"]["EUR"]["unexplained"] == TOTAL


def test_a_limited_run_explains_the_money_of_recent_orders(shop: Shop) -> None:
    shop.place("ORD-1")
    shop.place("ORD-2", postal_code="00422")
    Order.objects.filter(number="ORD-2").update(placed_at="2020-01-01T00:00Z")
    shop.plant("charge", "ORD-2", "stray", 700)

    assert explained(shop, since_h=48) == {"captured": TOTAL, "listed": TOTAL, "earned": TOTAL}


def test_what_a_silent_provider_lists_is_not_known(shop: Shop, fulfilled: Order) -> None:
    """Our own ledger explains what it can."""
    shop.provider.client.close()
    shop.provider.end()

    assert shop.reconcile().as_json()["money"]["EUR"] == {
        "captured": TOTAL, "listed": None, "earned": TOTAL, "written_off": 0, "given_back": 0, "in_flight": 0, "at_risk": 0, "unexplained": 0,
    }  # fmt: skip
