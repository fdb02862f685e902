"""Promise: every piece that is on hand came by a movement, and what came is on hand or has left with an order, whatever happens at once."""

import random
import uuid
from typing import Any

import pytest
from django.db import DatabaseError, connection, transaction
from django.db.models import F, Sum

from fulfillment import movements, stock
from fulfillment.models import StockLevel, StockMovement
from fulfillment.movements import MovementRefused, Reason
from fulfillment.reconciliation import shop_rules
from tests.holding import held
from tests.sides import at_once

REASONS = (Reason.RECEIVED, Reason.RETURNED, Reason.DAMAGED, Reason.COUNTED)


@pytest.fixture
def mugs(db: None) -> StockLevel:
    return StockLevel.objects.create(sku="MUG", on_hand=10)


def seen() -> movements.Seen:
    return movements.seen(StockLevel.objects.get(sku="MUG"))


def record(reason: Reason, pieces: int, **named: Any) -> StockMovement:
    with transaction.atomic():
        return movements.record("MUG", reason, pieces, actor="amara", **named)


def on_hand() -> int:
    return StockLevel.objects.get(sku="MUG").on_hand


def moved() -> int:
    return int(StockMovement.objects.aggregate(moved=Sum("pieces"))["moved"])


def test_whatever_happens_in_whatever_order_no_piece_is_lost(mugs: StockLevel) -> None:
    """Receipts, losses, returns, counts and sales: what came in is what is there and what has left."""
    chance, shipped, refused = random.Random(11), 0, 0
    for number in range(40):
        order, pieces = f"ORD-{number}", chance.randrange(1, 8)
        try:
            with transaction.atomic():
                ids = stock.reserve(order, {"MUG": pieces})
            if chance.random() < 0.3:
                stock.release(ids)
            elif chance.random() < 0.7:
                stock.consume(order)
                shipped += pieces
        except stock.OutOfStock:
            refused += 1
        for reason in REASONS:
            try:
                record(reason, chance.randrange(0, 9) + 4 * (reason == Reason.RECEIVED), since=seen())
            except MovementRefused:
                refused += 1

    assert moved() == on_hand() + shipped
    assert refused > 0
    assert [*shop_rules.stock_adds_up(), *shop_rules.stock_is_conserved()] == []


def test_a_movement_says_what_was_and_what_is(mugs: StockLevel) -> None:
    record(Reason.DAMAGED, 2, note="wet")
    counted = record(Reason.COUNTED, 11, since=seen())

    assert (counted.pieces, counted.on_hand, counted.actor) == (3, 11, "amara")
    assert [str(movement) for movement in StockMovement.objects.order_by("id")] == [
        "MUG: received +10, 10 on hand",
        "MUG: damaged -2, 8 on hand",
        "MUG: counted +3, 11 on hand",
    ]


def test_a_count_that_finds_what_is_known_is_a_movement_too(mugs: StockLevel) -> None:
    """Somebody has looked, and when."""
    assert record(Reason.COUNTED, 10, since=seen()).pieces == 0


def test_a_count_says_what_it_starts_from(mugs: StockLevel) -> None:
    """Without it nobody knows what has moved meanwhile."""
    with pytest.raises(MovementRefused):
        record(Reason.COUNTED, 11)


def test_one_request_is_one_movement(mugs: StockLevel) -> None:
    request = uuid.uuid4()
    first, second = (record(Reason.RECEIVED, 5, request=request) for _ in range(2))

    assert first == second
    assert on_hand() == 15
    with pytest.raises(MovementRefused):
        record(Reason.RECEIVED, 6, request=request)


@pytest.mark.parametrize("reason", REASONS)
def test_more_than_a_column_holds_is_refused_in_a_sentence(mugs: StockLevel, reason: Reason) -> None:
    with pytest.raises(MovementRefused):
        record(reason, 2**31, since=seen())

    StockLevel.objects.update(on_hand=2**31 - 3)
    with pytest.raises(MovementRefused):
        record(Reason.RECEIVED, 5)


@pytest.mark.parametrize("statement", ["UPDATE fulfillment_stockmovement SET pieces = 1", "DELETE FROM fulfillment_stockmovement"])
def test_nobody_edits_a_movement(mugs: StockLevel, statement: str) -> None:
    """The database refuses it."""
    with pytest.raises(DatabaseError, match="Cannot update or delete"), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement)


def test_a_level_with_movements_is_not_deleted(mugs: StockLevel) -> None:
    with pytest.raises(DatabaseError), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("DELETE FROM fulfillment_stocklevel; SET CONSTRAINTS ALL IMMEDIATE")


# --- an older release beside this one ----------------------------------------------------------------------------------------


def test_what_an_older_release_counts_is_a_movement(mugs: StockLevel) -> None:
    """It knows no movements; it adds what it has found to what was received, and nothing is off."""
    StockLevel.objects.filter(sku="MUG").update(received=F("received") + 7 - F("on_hand"), on_hand=7)

    assert list(StockMovement.objects.order_by("id").values_list("reason", "pieces", "on_hand")) == [
        ("received", 10, 10),
        ("counted", -3, 7),
    ]
    assert list(shop_rules.stock_is_conserved()) == []


def test_an_older_release_finds_movements_conserved(mugs: StockLevel) -> None:
    """It sums by another column."""
    record(Reason.DAMAGED, 3)
    record(Reason.COUNTED, 9, since=seen())

    assert StockLevel.objects.values_list("received", "on_hand").get() == (9, 9)


def test_a_number_edited_past_all_movements_is_found(mugs: StockLevel) -> None:
    """By SQL, for instance."""
    StockLevel.objects.update(on_hand=12)

    assert [finding.found for finding in shop_rules.stock_is_conserved()] == ["movements come to 10, 12 on hand and 0 shipped"]


# --- at once -----------------------------------------------------------------------------------------------------------------

STOCK_ROW = "NO KEY UPDATE"


@pytest.fixture
def shared(transactional_db: None) -> StockLevel:
    return StockLevel.objects.create(sku="MUG", on_hand=10)


def test_two_who_count_at_once_are_one_count(shared: StockLevel) -> None:
    """The second one waits for the first, and hears what it has found."""
    before = seen()

    first, second = at_once(
        lambda: record(Reason.COUNTED, 12, since=before), STOCK_ROW, lambda: record(Reason.COUNTED, 9, since=before), must_wait=True
    )

    assert isinstance(first, StockMovement)
    assert isinstance(second, MovementRefused)
    assert (on_hand(), moved()) == (12, 12)


def test_two_deliveries_at_once_are_both_received(shared: StockLevel) -> None:
    at_once(lambda: record(Reason.RECEIVED, 5), STOCK_ROW, lambda: record(Reason.RECEIVED, 6), must_wait=True)

    assert (on_hand(), moved()) == (21, 21)


def test_a_form_sent_twice_at_once_moves_stock_once(shared: StockLevel) -> None:
    request = uuid.uuid4()

    first, second = at_once(
        lambda: record(Reason.RECEIVED, 5, request=request), STOCK_ROW, lambda: record(Reason.RECEIVED, 5, request=request), must_wait=True
    )

    assert first == second
    assert (on_hand(), moved()) == (15, 15)


def test_a_sale_at_the_same_time_as_a_count_is_sold(shared: StockLevel) -> None:
    """Whichever comes first: the piece does not come back."""
    before = seen()
    stock.reserve("ORD-1", {"MUG": 3})

    def leaves() -> None:
        with transaction.atomic():
            stock.consume("ORD-1")

    _, counted = at_once(leaves, 'UPDATE "fulfillment_stocklevel"', lambda: record(Reason.COUNTED, 10, since=before), must_wait=True)

    assert isinstance(counted, MovementRefused)
    assert "10 on hand then, 7 now" in str(counted)
    assert on_hand() == 7


def test_the_last_pieces_are_damaged_or_reserved_and_not_both(shared: StockLevel) -> None:
    def reserve() -> None:
        with transaction.atomic():
            stock.reserve("ORD-1", {"MUG": 8})

    _, damaged = at_once(reserve, "UPDATE", lambda: record(Reason.DAMAGED, 3), must_wait=True)

    assert isinstance(damaged, MovementRefused)
    assert on_hand() == 10


def test_a_movement_of_one_product_waits_for_no_other(shared: StockLevel) -> None:
    """Somebody holds the row of a cup."""
    StockLevel.objects.create(sku="CUP", on_hand=1)

    with held("SELECT 1 FROM fulfillment_stocklevel WHERE sku = 'CUP' FOR UPDATE"):
        record(Reason.RECEIVED, 1)

    assert on_hand() == 11
