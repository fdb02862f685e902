"""Promise: whatever process dies, whenever, the order ends with one charge and one parcel, or with neither."""

import os
import signal

import psutil
import pytest

from tests.promises.conftest import Shop
from tests.proofs.black_box.waiting import wait_for


def once(shop: Shop, number: str) -> None:
    assert shop.ends(number) == "fulfilled"
    assert shop.ledger(number) == [("charge", shop.total(number)), ("label", None)]


def test_a_worker_killed_whole_inside_payment(shop: Shop) -> None:
    """The machine died while my card was being charged: I am charged once."""
    number = shop.place(token="tok_slow_8s")
    shop.until_paying(number)

    dead = shop.kill_whole("saga")

    once(shop, number)
    assert "take_over" in shop.kinds(number)
    shop.wait_for_respawn("saga", dead)


def test_a_worker_killed_whole_inside_shipping(shop: Shop) -> None:
    """The machine died while my parcel was being booked: one parcel leaves."""
    number = shop.place(postal_code="00408")
    wait_for(lambda: shop.step(number, "shipping")["state"] == "started", every_s=0.01)

    dead = shop.kill_whole("saga")

    once(shop, number)
    shop.wait_for_respawn("saga", dead)


def test_a_worker_killed_whole_between_the_steps(shop: Shop) -> None:
    """The machine died between two steps: the order goes on where it stood."""
    with shop.locked("fulfillment_stocklevel", "EXCLUSIVE"):  # an order that is placed reads it
        number = shop.place()
        wait_for(lambda: shop.step(number, "payment")["state"] == "succeeded")
        assert shop.step(number, "inventory")["state"] == "scheduled"
        dead = shop.kill_whole("saga")
        shop.wait_for_respawn("saga", dead)

    once(shop, number)


def test_a_pool_child_killed_alone_takes_the_errback_path(shop: Shop) -> None:
    """One process of the pool died: the errback puts the try in doubt, and the same key asks again."""
    number = shop.place(token="tok_slow_8s")
    shop.until_paying(number)

    for child in shop.children_of("saga"):
        os.kill(child, signal.SIGKILL)

    once(shop, number)
    assert "in_doubt" in [entry["to"] for entry in shop.order(number)["timeline"]]


def test_a_worker_stopped_past_its_lease_changes_nothing(shop: Shop) -> None:
    """A frozen machine woke up after somebody else had taken over: it changes no row of the journal, and the history says so."""
    number = shop.place(token="tok_slow_8s")
    shop.until_paying(number)
    with shop.stopped("saga"):
        wait_for(lambda: "take_over" in shop.kinds(number), 30)

    once(shop, number)
    late = wait_for(lambda: [entry for entry in shop.order(number)["timeline"] if entry["kind"] == "late"])
    assert len(late) == 1
    assert late[0]["epoch"] == 1
    assert "changed nothing" in late[0]["sentence"]


@pytest.mark.parametrize("role", ["sweep", "relay", "sandbox", "sideeffects", "web", "flower", "mail", "valkey", "postgres"])
def test_every_other_process_comes_back(shop: Shop, role: str) -> None:
    """Any process may die; it is started again, and orders go on."""
    dead = shop.kill_whole(role)

    shop.wait_for_respawn(role, dead)

    assert psutil.pid_exists(shop.stack.pid(role))
    wait_for(lambda: _places(shop), 30)


def _places(shop: Shop) -> bool:
    try:
        return shop.ends(shop.place(), 30) == "fulfilled"
    except Exception:
        return False
