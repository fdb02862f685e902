"""Promise: doubling, racing and losing messages change nothing but time."""

import uuid
from concurrent.futures import ThreadPoolExecutor

import redis

from tests.engines import wait_for
from tests.promises.conftest import Shop, body


def test_the_same_idempotency_key_twenty_times_in_parallel_makes_one_order(shop: Shop) -> None:
    """My shop retried its request twenty times; I get one order."""
    key, order = uuid.uuid4().hex, body()

    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: shop.post(order, key), range(20)))

    numbers = {answer.json()["number"] for answer in answers if answer.status_code == 201}
    assert len(numbers) == 1
    assert {answer.status_code for answer in answers} <= {201, 409}
    assert sum(answer.headers.get("Idempotent-Replayed") != "true" for answer in answers if answer.status_code == 201) == 1
    shop.ends(numbers.pop())


def test_thirty_orders_for_the_last_unit_fulfil_exactly_one(shop: Shop) -> None:
    """Thirty of us want the last lamp: one gets it, the others get their money back."""
    shop.run("UPDATE fulfillment_stocklevel SET received = received + 1 - on_hand, on_hand = 1, reserved = 0 WHERE sku = 'LAST-ONE'")

    numbers = shop.place_many(30, sku="LAST-ONE")

    ends = sorted(shop.ends(number, 90) for number in numbers)
    assert ends == ["fulfilled"] + ["inventory_failed"] * 29
    assert shop.sql("SELECT on_hand, reserved FROM fulfillment_stocklevel WHERE sku = 'LAST-ONE'") == [(0, 0)]


def test_a_wiped_broker_costs_time_only(shop: Shop) -> None:
    """Every message was lost with fifty orders on their way: all of them arrive, with all their side effects, once."""
    numbers = shop.place_many(50)
    broker = redis.Redis(unix_socket_path=shop.stack.info["broker"].removeprefix("redis+socket://"))

    broker.flushall()

    def at_rest() -> bool:
        delivered = shop.sql(
            "SELECT count(*) FROM sideeffects_delivery d JOIN sideeffects_event e ON e.id = d.event_id"
            " JOIN orders_order o ON o.id = e.order_id WHERE o.number = ANY(%s) AND d.state = 'delivered'",
            numbers,
        )
        return delivered == [(200,)]

    wait_for(at_rest, 30)
    assert {shop.order(number)["status"] for number in numbers} == {"fulfilled"}
    for number in numbers:
        assert shop.ledger(number) == [("charge", shop.total(number)), ("label", None)]


def test_orders_are_taken_while_the_broker_is_down(shop: Shop) -> None:
    """Their queue is down; my order is taken within a second all the same, and fulfilled when it is back."""
    broker = redis.Redis(unix_socket_path=shop.stack.info["broker"].removeprefix("redis+socket://"))
    broker.client_pause(3000)

    answer = shop.post(body())

    assert answer.status_code == 201
    assert answer.elapsed.total_seconds() < 1.5
    assert shop.ends(answer.json()["number"]) == "fulfilled"


def test_a_provider_that_is_down_costs_time_only(shop: Shop) -> None:
    """The bank and the carrier are down for a while: my order waits, says why, and goes on by itself."""
    with shop.stopped("sandbox"):
        number = shop.place()
        wait_for(lambda: shop.step(number, "payment")["tries"] >= 2, 30)
        assert shop.order(number)["status"] == "processing"

    assert shop.ends(number, 60) == "fulfilled"
    assert shop.ledger(number) == [("charge", shop.total(number)), ("label", None)]
