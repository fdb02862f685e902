"""Promise: when the answer never comes, the provider's own capabilities decide how to find out; and a look-up that finds nothing never ends a compensation."""

import pytest

from tests.promises.conftest import Shop
from tests.proofs.black_box.waiting import wait_for

ALL = ("sandbox", "sandbox_forgetful", "sandbox_burn", "sandbox_watch", "sandbox_keyless")


def in_doubt_and_cancelled(shop: Shop, gateway: str, token: str) -> str:
    number = shop.place_with(gateway, token=token)
    wait_for(
        lambda: shop.step(number, "payment")["state"] in ("in_doubt", "scheduled", "started") and shop.step(number, "payment")["tries"] > 0,
        every_s=0.05,
    )
    wait_for(lambda: "in_doubt" in [entry["to"] for entry in shop.order(number)["timeline"]], every_s=0.02)
    assert shop.cancel(number).status_code == 202
    return number


def adds_up_to_nothing(shop: Shop, number: str) -> None:
    moved = [(operation, amount) for operation, amount in shop.ledger(number)]
    total = shop.total(number)
    assert moved in ([], [("charge", total), ("refund", total)]), moved


@pytest.mark.parametrize("gateway", ALL)
def test_a_charge_whose_answer_never_came_is_given_back_when_the_order_turns_back(shop: Shop, gateway: str) -> None:
    """My card was charged, nobody was notified, and I cancelled: I get my money back, whatever kind of bank it is."""
    number = in_doubt_and_cancelled(shop, gateway, "tok_charged_never_answers")

    assert shop.ends(number, 60) == "cancelled"

    total = shop.total(number)
    assert shop.ledger(number) == [("charge", total), ("refund", total)]


@pytest.mark.parametrize("gateway", ["sandbox", "sandbox_forgetful", "sandbox_burn"])
def test_a_charge_that_lands_after_the_order_turned_back_finds_a_tombstone(shop: Shop, gateway: str) -> None:
    """My request was still on its way when I cancelled: it is refused, or given back."""
    number = in_doubt_and_cancelled(shop, gateway, "tok_lands_late")

    assert shop.ends(number, 60) == "cancelled"

    adds_up_to_nothing(shop, number)


def test_where_rejections_are_not_kept_a_decline_is_compensated_blind(shop: Shop) -> None:
    """The first try was still on its way when the second was declined: the late charge finds a tombstone."""
    number = shop.place_with("sandbox_forgetful", token="tok_late_then_declined")

    assert shop.ends(number, 60) == "payment_failed"

    assert "compensated" in [entry["to"] for entry in shop.order(number)["timeline"] if entry["name"] == "payment"]
    adds_up_to_nothing(shop, number)


def test_without_keys_nothing_is_asked_twice(shop: Shop) -> None:
    """A bank that knows no keys was silent, and had charged: it is looked up, never asked again, and I am charged once."""
    number = shop.place_with("sandbox_keyless", token="tok_charged_never_answers")

    assert shop.ends(number, 60) == "fulfilled"

    assert shop.ledger(number) == [("charge", shop.total(number)), ("label", None)]


def test_without_keys_a_killed_worker_is_taken_over_by_its_lease_alone(shop: Shop) -> None:
    """The machine died while such a bank was being asked: whoever takes over looks before it asks."""
    number = shop.place_with("sandbox_keyless", token="tok_slow_8s")
    shop.until_paying(number)

    dead = shop.kill_whole("saga")

    assert shop.ends(number, 60) == "fulfilled"
    assert shop.ledger(number) == [("charge", shop.total(number)), ("label", None)]
    shop.wait_for_respawn("saga", dead)


@pytest.mark.parametrize("gateway", ["sandbox_watch", "sandbox_keyless"])
def test_what_can_only_be_watched_for_becomes_a_person_s(shop: Shop, gateway: str) -> None:
    """Nothing was found, and nothing can be proven: nobody tells me that I was refunded; a person decides, and is told the amount."""
    number = in_doubt_and_cancelled(shop, gateway, "tok_never_answers")
    wait_for(lambda: shop.step(number, "payment")["state"] == "compensation_in_doubt", 30)
    assert shop.order(number)["status"] == "compensating"

    shop.run(
        "UPDATE fulfillment_steprecord SET scheduled_at = scheduled_at - interval '25 hours', asked_until = asked_until - interval '25 hours'"
        " WHERE name = 'payment' AND saga_id = (SELECT s.id FROM fulfillment_saga s JOIN orders_order o ON o.id = s.order_id WHERE o.number = %s)",
        number,
    )

    wait_for(lambda: shop.order(number)["attention"], 30)
    assert shop.order(number)["status"] == "compensating"
    (found,) = shop.sql("SELECT kind, step, amount_minor FROM orders_incident WHERE subject = %s", number)
    assert found == ("in_doubt", "payment", shop.total(number))


def test_after_the_key_window_it_is_looked_up_before_it_is_asked_again(shop: Shop) -> None:
    """The bank had forgotten the key when it was asked again a day later: it is looked up first, and I am charged once."""
    with shop.provider_down("labels"):
        number = shop.place(token="tok_timeout_charged")
        wait_for(lambda: shop.step(number, "payment")["state"] in ("in_doubt", "scheduled"), every_s=0.005)
        key = shop.key(number, "payment")
        shop.run("UPDATE fulfillment_steprecord SET scheduled_at = scheduled_at - interval '25 hours' WHERE do_key = %s", key)
        forgotten = shop.provider.post("/control/forget", json={"profile": "", "key": key})
        assert forgotten.status_code == 200, forgotten.text
        wait_for(lambda: shop.step(number, "payment")["state"] == "succeeded", 30)

    assert shop.ends(number, 60) == "fulfilled"
    assert shop.ledger(number) == [("charge", shop.total(number)), ("label", None)]
