"""Promise: two sessions at once hold the last piece once, and one key is one order and one entry of the ledger."""

from typing import Any

import pytest
from django.contrib.auth.models import User

from fulfillment import ledger, stock, tasks
from fulfillment.ledger import LedgerEntry
from fulfillment.models import Reservation, Saga, StockLevel
from orders.api import placing
from orders.models import Order, Product
from tests.fulfillment.two_at_once.sessions import in_one
from tests.sides import at_once

pytestmark = pytest.mark.django_db(transaction=True)

# --- stock -----------------------------------------------------------------------------------------------------------------


@pytest.fixture
def levels(transactional_db: None) -> None:
    StockLevel.objects.bulk_create([StockLevel(sku="A", on_hand=1), StockLevel(sku="B", on_hand=10), StockLevel(sku="C", on_hand=10)])


def numbers(sku: str) -> tuple[int, int]:
    level = StockLevel.objects.get(sku=sku)
    return level.on_hand, level.reserved


def test_the_last_piece_is_held_for_one_of_two(levels: None) -> None:
    """The other one waits for a moment, and hears that it has gone."""
    first, second = at_once(in_one(stock.reserve, "ORD-1", {"A": 1}), "UPDATE", in_one(stock.reserve, "ORD-2", {"A": 1}), must_wait=True)

    assert isinstance(first, list)
    assert isinstance(second, stock.OutOfStock)
    assert numbers("A") == (1, 1)
    assert list(Reservation.objects.values_list("order_number", flat=True)) == ["ORD-1"]


def test_two_orders_with_the_same_products_in_opposite_order_never_wait_for_each_other(levels: None) -> None:
    """Neither of them is ended by the database."""
    first, second = at_once(
        in_one(stock.reserve, "ORD-1", {"B": 1, "C": 1}), "UPDATE", in_one(stock.reserve, "ORD-2", {"C": 1, "B": 1}), must_wait=True
    )

    assert (isinstance(first, list), isinstance(second, list)) == (True, True), (first, second)
    assert (numbers("B"), numbers("C")) == ((10, 2), (10, 2))


@pytest.mark.parametrize("what", [stock.consume, stock.release_all])
def test_what_leaves_or_comes_back_takes_its_products_in_the_same_order(levels: None, what: Any) -> None:
    stock.reserve("ORD-1", {"C": 1})
    more = [Reservation.objects.create(order_number="ORD-1", sku="B", quantity=1)]  # written later, sorted before
    StockLevel.objects.filter(sku="B").update(reserved=1)

    first, second = at_once(
        in_one(what, "ORD-1"), 'UPDATE "fulfillment_stocklevel"', in_one(stock.reserve, "ORD-2", {"B": 1, "C": 1}), must_wait=True
    )

    assert (first, isinstance(second, list), len(more)) == (None, True, 1)
    assert numbers("B")[1] == numbers("C")[1] == 1


def test_what_is_given_back_twice_at_once_comes_back_once(levels: None) -> None:
    held = stock.reserve("ORD-1", {"B": 3})

    at_once(in_one(stock.release, held), "FOR UPDATE", in_one(stock.release_all, "ORD-1"), must_wait=True)

    assert numbers("B") == (10, 0)


def test_what_leaves_and_is_given_back_at_once_does_one_of_both(levels: None) -> None:
    stock.reserve("ORD-1", {"B": 3})

    at_once(in_one(stock.consume, "ORD-1"), "FOR UPDATE", in_one(stock.release_all, "ORD-1"), must_wait=True)

    assert numbers("B") == (7, 0)


# --- an Idempotency-Key ------------------------------------------------------------------------------------------------------


@pytest.fixture
def wanted(transactional_db: None) -> dict[str, Any]:
    Product.objects.create(sku="TENT", name="Tent", price_minor=18_900, currency="EUR")
    StockLevel.objects.create(sku="TENT", on_hand=10)
    return {
        "reference": "", "currency": "EUR", "customer": {"email": "a@example.com", "name": "A"}, "lines": [{"sku": "TENT", "quantity": 1}],
        "payment": {"token": "tok_ok"}, "shipping_address": {},
    }  # fmt: skip


@pytest.mark.parametrize("after", ["INSERT INTO orders_order", "INSERT INTO fulfillment_saga"])
def test_one_key_in_two_transactions_is_one_order(wanted: dict[str, Any], monkeypatch: pytest.MonkeyPatch, after: str) -> None:
    """The second one waits for the first, and is given its order."""
    monkeypatch.setattr(tasks, "launch", lambda what: True)
    client = User.objects.create(username="web-shop")

    def place() -> placing.Placed:
        return placing.place(client, "k", wanted, "c")

    first, second = at_once(place, after, place, must_wait=True)

    assert (first.replayed, second.replayed) == (False, True)
    assert first.order.number == second.order.number
    assert (Order.objects.count(), Saga.objects.count()) == (1, 1)


def test_one_key_for_two_bodies_at_once_is_the_first_one_s(wanted: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "launch", lambda what: True)
    client = User.objects.create(username="web-shop")
    other = wanted | {"lines": [{"sku": "TENT", "quantity": 2}]}

    first, second = at_once(
        lambda: placing.place(client, "k", wanted, "c"), "INSERT INTO orders_order", lambda: placing.place(client, "k", other, "c"), True
    )

    assert not first.replayed
    assert "another body" in str(second)
    assert Order.objects.count() == 1


# --- money -------------------------------------------------------------------------------------------------------------------


def test_one_key_is_entered_in_the_ledger_once(order: Order) -> None:
    enter = in_one(ledger.enter, order.pk, "payment", LedgerEntry.Operation.CAPTURED, "k", 100)

    at_once(enter, "INSERT", enter, must_wait=True)

    assert ledger.remaining(order.pk) == 100
