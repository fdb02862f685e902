"""Promise: a database that has lost its last commits serves nobody with what it has forgotten: it stops, says so, and goes on once a person has looked."""

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import connection
from rest_framework.test import APIClient

from fulfillment import engine, keys
from fulfillment.findings import incidents
from fulfillment.models import StockLevel
from fulfillment.reconciliation import Rule, restored, run
from fulfillment.reconciliation.listings import Listings
from orders import client_tokens, numbers
from orders.incidents import Incident, IncidentKind
from orders.models import Product
from tests.holding import outside
from tests.proofs.black_box.orders import body
from tests.reconciliation.shop import TOTAL, Shop, do_key

OURS, ANOTHER = "tes", "abc"  # the issuer of the tests' nonce, and another system's


@pytest.fixture(autouse=True)
def issuer(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys, "issuer", lambda: OURS)
    with connection.cursor() as cursor:  # no rollback takes a number back
        cursor.execute("SELECT setval('orders_order_number', 1000)")


def key(number: str, step: str = "payment", nonce: str = f"{OURS}aaaaaaa") -> str:
    return f"{number}:{step}:do:1:{nonce}"


@pytest.fixture
def forgotten(shop: Shop) -> None:
    """Two orders that were placed after the backup: one was fulfilled, one was charged."""
    first, second = f"{OURS}aaaaaaa", f"{OURS}bbbbbbb"
    shop.plant("charge", "ORD-1001", key("ORD-1001", "payment", first))
    shop.plant("label", "ORD-1001", key("ORD-1001", "shipping", first))
    shop.plant("charge", "ORD-1002", key("ORD-1002", "payment", second))


def closed() -> Incident:
    return Incident.objects.get(kind=IncidentKind.FORGOTTEN_ORDERS)


def recover(*words: str) -> None:
    call_command("recover", "--restored", *words)


# --- it stops ------------------------------------------------------------------------------------------------------------


def test_orders_that_we_have_issued_and_forgotten_are_one_incident(shop: Shop, forgotten: None) -> None:
    """And not two strangers' charges that somebody may refund."""
    (finding,) = shop.reconcile().findings

    assert (finding.rule, finding.amount_minor) == (Rule.FORGOTTEN_ORDERS, 2 * TOTAL)
    assert finding.found == "2 charges (€168.40 not given back) and 1 labels of 2 orders, ORD-1001 to ORD-1002, that nobody here has placed"
    assert [kind for _, kind, _, _, _ in shop.incidents()] == [IncidentKind.FORGOTTEN_ORDERS]


def test_no_order_is_taken_meanwhile(shop: Shop, forgotten: None, placed: Callable[[], Any]) -> None:
    """I am told to come again, under the same key."""
    shop.reconcile()

    answer = placed()

    assert (answer.status_code, answer.json()["code"], answer.headers["Retry-After"]) == (503, "orders_not_taken", "2")
    assert "Nothing was placed" in answer.json()["detail"]


def test_doctor_says_what_to_do(shop: Shop, forgotten: None) -> None:
    shop.reconcile()

    (finding,) = incidents.forgotten()

    assert (finding.level, finding.runbook) == ("FAIL", "docs/runbooks/forgotten_orders.md")
    assert "no orders are taken: 2 charges" in finding.found
    assert "recover --restored" in finding.to_do


@pytest.mark.parametrize(
    "stray",
    [key("ORD-9001", nonce=f"{ANOTHER}aaaaaaa"), "ORD-9001:payment:do:1", "invoice 9001", key("ORD-9002"), key("ORD-700")],
    ids=["another shop", "from before the nonce", "another program", "of another order", "older than our newest"],
)
def test_a_stray_charge_of_somebody_else_stops_nobody(shop: Shop, placed: Callable[[], Any], stray: str) -> None:
    """It is reported as what it is."""
    number = "ORD-700" if "ORD-700:" in stray else "ORD-9001"
    shop.plant("charge", number, stray)

    assert shop.found() == [(number, "unknown_order", TOTAL)]
    assert placed().status_code == 201


def test_what_was_given_back_shows_it_too(shop: Shop) -> None:
    """Nothing is held, and yet the number was issued."""
    shop.plant("charge", "ORD-1001", key("ORD-1001"))
    shop.plant("refund", "ORD-1001", key("ORD-1001"))

    assert shop.found() == [("orders", "forgotten_orders", 0)]


def test_a_restored_sequence_that_is_ahead_of_its_orders_hides_none(shop: Shop, forgotten: None) -> None:
    """PostgreSQL writes a sequence down for 32 numbers at once: after a restore it stands behind orders that nobody here has placed."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT setval('orders_order_number', 1032)")

    assert shop.found() == [("orders", "forgotten_orders", 2 * TOTAL)]


def test_an_order_that_was_placed_meanwhile_is_not_forgotten(shop: Shop) -> None:
    """Its number is the newest, and the sequence says so too late."""
    order = shop.open("ORD-1033")
    shop.provider.charge(order.number, key=do_key(order, "payment"), amount=TOTAL)

    assert shop.found() == []


def test_it_stays_until_a_person_has_recovered(shop: Shop, forgotten: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """A list that is empty for once proves nothing."""
    shop.reconcile()
    monkeypatch.setattr(run, "read", lambda *_: Listings())
    shop.reconcile()

    assert closed().is_open


# --- it goes on ----------------------------------------------------------------------------------------------------------


def test_shown_first_and_nothing_is_done(shop: Shop, forgotten: None, capsys: pytest.CaptureFixture[str]) -> None:
    shop.reconcile()

    recover()

    output = capsys.readouterr().out
    assert "ORD-1001: unknown_order: 1 charges and 1 labels for an order that does not exist (€84.20 at risk)" in output
    assert output.endswith("Nothing was done. To go on: python manage.py recover --restored --yes\n")
    assert closed().is_open
    assert numbers.newest() == 1000


def test_afterwards_each_forgotten_order_needs_a_person_and_new_ones_are_taken(
    shop: Shop, forgotten: None, placed: Callable[[], Any]
) -> None:
    """Under a number that nobody has ever had."""
    shop.reconcile()

    recover("--yes")

    assert (closed().state, closed().outcome) == ("resolved", "recovered")
    assert placed().json()["number"] == f"ORD-{1002 + restored.GAP + 1}"
    assert shop.found() == [("ORD-1001", "unknown_order", TOTAL), ("ORD-1002", "unknown_order", TOTAL)]


def test_whoever_was_killed_half_way_runs_it_again(shop: Shop, forgotten: None, monkeypatch: pytest.MonkeyPatch) -> None:
    order = shop.open()
    goes_on = engine.restored
    monkeypatch.setattr(engine, "restored", _killed)
    with pytest.raises(KeyboardInterrupt):
        recover("--yes")
    assert closed().is_open, "nobody is served between the two"
    monkeypatch.setattr(engine, "restored", goes_on)

    recover("--yes")
    shop.drive(order)

    assert order.status == "fulfilled"
    assert [subject for subject, _, _, _, _ in shop.incidents()] == ["orders", "ORD-1001", "ORD-1002"]
    assert not closed().is_open


def _killed(*_: Any) -> None:
    raise KeyboardInterrupt


# --- it refuses ----------------------------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_not_while_somebody_is_at_work(shop: Shop, forgotten: None, capsys: pytest.CaptureFixture[str]) -> None:
    with outside(application_name="shop-worker-r1"), pytest.raises(SystemExit, match="Still at work on this database: worker"):
        recover("--yes")
    assert numbers.newest() == 1000


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("database", "is_named"), [("", True), ("postgresql://elsewhere/shop", False)], ids=["of the stack", "elsewhere"])
def test_on_a_stack_the_way_into_maintenance_is_named(shop: Shop, settings: Any, database: str, is_named: bool) -> None:
    """Stopped as a whole, it has no database any more."""
    settings.EXTERNAL_DATABASE_URL = database

    with outside(application_name="shop-worker-r1"), pytest.raises(SystemExit) as refused:
        recover()

    hint = "On a stack of `manage.py up`: stop it, then `manage.py up --maintenance`."
    assert str(refused.value.code).endswith(hint) == is_named
    assert "Nothing was done." in str(refused.value.code)


def test_not_while_a_provider_does_not_list_what_it_holds(shop: Shop, forgotten: None, settings: Any) -> None:
    settings.SANDBOX_URL = "http://127.0.0.1:9"

    with pytest.raises(SystemExit, match="cannot be compared"):
        recover("--yes")
    assert numbers.newest() == 1000


@pytest.fixture
def placed(shop: Shop) -> Callable[[], Any]:
    """An order over the API."""
    Product.objects.create(sku="TENT-2P-GRN", name="Tent", price_minor=TOTAL, currency="EUR")
    StockLevel.objects.create(sku="TENT-2P-GRN", on_hand=10)
    token = client_tokens.issue(User.objects.get(username="web-shop"))
    client = APIClient(headers={"Authorization": f"Bearer {token.secret}"})
    sent = iter(range(100))
    return lambda: client.post("/api/v1/orders", body(), format="json", headers={"Idempotency-Key": f"key-{next(sent)}"})
