"""Promise: a turn lasts one lease from its last sign of life, to the instant, and one that lasts longer than any lease is free."""

import pytest

from orders.turns import LEASE_S, Turn, TurnRow, holder_of
from tests.shop_clock import ShopClock

EDGE = 0.001


def until(clock: ShopClock) -> float | None:
    return clock.left(TurnRow.objects.get(pk="sweep").until)


@pytest.mark.parametrize(("before_s", "is_free"), [(EDGE, False), (0, True)], ids=["just before its end", "at its end"])
def test_a_turn_is_free_at_the_end_of_its_lease(clock: ShopClock, before_s: float, is_free: bool) -> None:
    holder, spare = Turn("sweep", 1), Turn("sweep", 1)
    assert holder.take()
    assert until(clock) == LEASE_S
    clock.passes(LEASE_S - before_s)

    assert (holder_of("sweep") == "") is is_free
    assert spare.take() is is_free
    assert holder.keep() is not is_free


def test_taking_it_again_renews_it(clock: ShopClock) -> None:
    holder, spare = Turn("sweep", 1), Turn("sweep", 1)
    assert holder.take()
    clock.passes(LEASE_S - EDGE)

    assert holder.take()

    assert until(clock) == LEASE_S
    clock.passes(LEASE_S - EDGE)
    assert not spare.take()


def test_giving_it_back_ends_it_now(clock: ShopClock) -> None:
    holder, spare = Turn("sweep", 1), Turn("sweep", 1)
    assert holder.take()
    clock.passes(1)

    holder.give_back()

    assert until(clock) == 0
    assert spare.take()
    assert until(clock) == LEASE_S


@pytest.mark.parametrize(("back_s", "is_free"), [(LEASE_S, False), (LEASE_S + EDGE, True)], ids=["two leases", "longer"])
def test_a_turn_that_lasts_longer_than_any_lease_was_taken_by_a_clock_that_was_ahead(
    clock: ShopClock, back_s: float, is_free: bool
) -> None:
    assert Turn("sweep", 1).take()
    clock.passes(-back_s)

    assert Turn("sweep", 1).take() is is_free
