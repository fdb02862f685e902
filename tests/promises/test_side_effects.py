"""Promise: a subscriber that fails or hangs changes nothing for the order or for the other subscribers."""

import re

from tests.promises.conftest import Shop
from tests.proofs.black_box.processes import standing_still
from tests.proofs.black_box.waiting import wait_for

NOT_ANSWERED = "SELECT state FROM orders_incident WHERE subject = 'email' AND code = 'not_answering'"


def states(shop: Shop, number: str) -> dict[str, str]:
    return {effect["subscriber"]: effect["state"] for effect in shop.order(number)["deliveries"]}


def _number_in(line: str) -> str:
    return str(re.findall(r"ORD-\d+", line)[0])


def others_delivered(shop: Shop, number: str, broken: str) -> bool:
    found = states(shop, number)
    return len(found) == 4 and all(state == "delivered" for name, state in found.items() if name != broken)


def test_a_subscriber_that_always_fails_leaves_the_others_alone(shop: Shop) -> None:
    """The loyalty programme is broken: my order and my receipt do not notice; my points come when it is mended."""
    shop.run("ALTER TABLE sideeffects_loyalty_balance RENAME TO broken_balance")
    try:
        number = shop.place()
        assert shop.ends(number) == "fulfilled"
        wait_for(lambda: others_delivered(shop, number, "loyalty"))
        wait_for(lambda: states(shop, number)["loyalty"] == "retry_wait")
    finally:
        shop.run("ALTER TABLE broken_balance RENAME TO sideeffects_loyalty_balance")

    wait_for(lambda: states(shop, number)["loyalty"] == "delivered", 30)


def test_a_subscriber_that_hangs_is_cut_at_its_time_limit(shop: Shop) -> None:
    """The statistics hang: they are cut off and tried again, and nobody else waits for them."""
    with shop.locked("sideeffects_analytics_dailyrevenue"):
        number = shop.place()
        assert shop.ends(number) == "fulfilled"
        wait_for(lambda: others_delivered(shop, number, "analytics"))
        wait_for(lambda: states(shop, number)["analytics"] == "retry_wait")

    wait_for(lambda: states(shop, number)["analytics"] == "delivered", 30)


def test_a_mail_server_that_is_away_loses_no_receipt_and_is_reported_once(shop: Shop) -> None:
    """The mail server stands still: the shop stops asking for every receipt of its own, and mine comes when it is back."""
    before = shop.log_ends()
    with standing_still([shop.stack.pid("mail")]):
        numbers = [shop.place() for _ in range(8)]
        assert {shop.ends(number) for number in numbers} == {"fulfilled"}
        wait_for(lambda: shop.sql(NOT_ANSWERED) == [("open",)])
        wait_for(lambda: [states(shop, number)["email"] for number in numbers] == ["retry_wait"] * 8)

    wait_for(lambda: [states(shop, number)["email"] for number in numbers] == ["delivered"] * 8, 30)
    wait_for(lambda: shop.sql(NOT_ANSWERED) == [("resolved",)], 30)
    cut = [line for line in shop.logged("Soft time limit", before) if any(f"[{number}." in line for number in numbers)]
    requests = dict(shop.sql("SELECT number, correlation_id FROM orders_order"))
    assert cut, "the worker's main process says so, and names the request that has placed the order"
    assert [line for line in cut if not line.endswith(f" request_id={requests[_number_in(line)]}")] == []


def test_a_mail_refused_for_good_is_a_dead_letter_and_the_order_stays_fulfilled(shop: Shop) -> None:
    """My mailbox does not exist: the shop keeps the letter, visibly, and my parcel leaves."""
    number = shop.place(email="bounce@example.com")

    assert shop.ends(number) == "fulfilled"

    wait_for(lambda: states(shop, number).get("email") == "dead")
    assert others_delivered(shop, number, "email")
