"""Promise: doubling, racing and losing messages change nothing but time."""

import socket
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
import redis

from tests.promises.conftest import Shop
from tests.proofs.black_box.orders import body
from tests.proofs.black_box.waiting import wait_for


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


def broker_of(shop: Shop) -> "redis.Redis":
    return redis.Redis(unix_socket_path=socket_of(shop))


def socket_of(shop: Shop) -> str:
    return str(shop.stack.info["broker"].removeprefix("redis+socket://"))


def mute(shop: Shop) -> AbstractContextManager[None]:
    """It takes connections and never answers."""
    return shop.stopped("valkey")


@contextmanager
def refusing(shop: Shop) -> Iterator[None]:
    """Nobody listens at its address, and every connection to it is cut."""
    place, aside = Path(socket_of(shop)), Path(socket_of(shop)).with_suffix(".aside")
    control = broker_of(shop)
    control.ping()
    place.rename(aside)
    try:
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(str(place))
        for kind in ("normal", "pubsub"):
            control.client_kill_filter(_type=kind, skipme=True)
        yield
    finally:
        aside.replace(place)
        control.close()


@pytest.mark.parametrize("down", [mute, refusing])
def test_orders_are_taken_while_the_broker_is_down(shop: Shop, down: Callable[[Shop], AbstractContextManager[None]]) -> None:
    """Their queue is down; my order is taken within a second all the same, and fulfilled when it is back."""
    shop.ends(shop.place())

    with down(shop):
        answers = [shop.post(body()) for _ in range(3)]

    assert [answer.status_code for answer in answers] == [201, 201, 201]
    assert max(answer.elapsed.total_seconds() for answer in answers) < 1
    assert {shop.ends(answer.json()["number"], 60) for answer in answers} == {"fulfilled"}


def test_a_provider_that_is_down_costs_time_only(shop: Shop) -> None:
    """The bank and the carrier are down for a while: my order waits, says why, and goes on by itself."""
    with shop.stopped("sandbox"):
        number = shop.place()
        wait_for(lambda: shop.step(number, "payment")["tries"] >= 2, 30)
        assert shop.order(number)["status"] == "processing"

    assert shop.ends(number, 60) == "fulfilled"
    assert shop.ledger(number) == [("charge", shop.total(number)), ("label", None)]
