"""Promise: whichever line the process dies at, every order ends paid and shipped, or neither; each boundary is killed once, on real workers."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from fulfillment.crashpoints import BOUNDARIES
from orders.management.placing_client import FINAL
from tests.promises.conftest import Shop
from tests.proofs.black_box.waiting import wait_for

CALLED = BOUNDARIES[:8]  # around a start, a call, an outcome and a publish; the others are the engine's own
LOCAL = ("before_start", "before_outcome_commit", "after_outcome_commit", "before_publish", "after_publish")
FORWARD = [f"{at}.do.{step}.any" for step, points in (("payment", CALLED), ("inventory", LOCAL), ("shipping", CALLED)) for at in points]
BACKWARD = [
    f"{at}.compensate.{step}.any" for step, points in (("shipping", CALLED), ("inventory", LOCAL), ("payment", CALLED)) for at in points
]
ENGINE = [
    "open.any.any.any",
    "launch.do.any.any",
    "launch.compensate.any.any",
    "failed.do.any.any",
    "failed.compensate.any.any",
    "sweep.do.any.any",
    "sweep.compensate.any.any",
]


@pytest.fixture(autouse=True)
def disarmed(shop: Shop) -> Iterator[None]:
    shop.disarm()
    yield
    shop.disarm()


def turns_back_in_doubt(shop: Shop) -> str:
    """An order whose booking is never answered, cancelled while nobody knows whether there is a parcel."""
    number = shop.place_stubbornly(postal_code="00408")
    wait_for(lambda: shop.step(number, "shipping")["state"] in ("started", "in_doubt", "succeeded"), 60, every_s=0.02)
    shop.cancel(number)
    return number


@pytest.mark.timeout(240)
def test_every_boundary_is_killed_once_and_every_order_adds_up(shop: Shop, show_figure: Callable[[str], None]) -> None:
    """However often they die on my order, I pay once and get one parcel, or I pay nothing and get none."""
    armed = FORWARD + BACKWARD + ENGINE
    for point in armed:
        shop.arm(point, "kill")

    numbers: list[str] = []
    for _ in range(4):
        if all(shop.hit(point) for point in armed):
            break
        with ThreadPoolExecutor(6) as pool:
            plain = [pool.submit(shop.place_stubbornly) for _ in range(6)]
            refused = [pool.submit(shop.place_stubbornly, postal_code="00422") for _ in range(3)]
            doubtful = [pool.submit(turns_back_in_doubt, shop) for _ in range(4)]
            numbers += [placed.result() for placed in plain + refused + doubtful]
        _until_at_rest(shop, numbers)

    missed = [point for point in armed if not shop.hit(point)]
    show_figure(f"crash points: {len(armed) - len(missed)} of {len(armed)} killed a process, {len(numbers)} orders at rest")
    assert missed == []
    for number in numbers:
        ended, total = shop.order(number)["status"], shop.total(number)
        effects = sorted(operation for operation, _ in shop.ledger(number))
        money = sum(amount * (1 if operation == "charge" else -1) for operation, amount in shop.ledger(number) if amount)
        assert money == (total if ended == "fulfilled" else 0), (number, ended, effects)
        assert effects.count("label") - effects.count("cancel_label") == (ended == "fulfilled"), (number, ended, effects)
        assert effects.count("charge") <= 1, (number, effects)


def _until_at_rest(shop: Shop, numbers: list[str]) -> None:
    wait_for(lambda: all(shop.order(number)["status"] in FINAL for number in numbers), 90, every_s=0.3)


@pytest.mark.parametrize(
    "point", ["after_call.do.payment.any", "before_outcome_commit.do.shipping.any", "after_outcome_commit.do.payment.any"]
)
def test_a_worker_killed_whole_at_a_boundary(shop: Shop, point: str) -> None:
    """The whole machine died at that line: no errback comes, and the order arrives all the same."""
    shop.arm(point, "kill_worker")
    dead = shop.stack.pid("saga")

    number = shop.place()

    assert shop.ends(number, 40) == "fulfilled"
    assert shop.hit(point)
    assert shop.ledger(number) == [("charge", shop.total(number)), ("label", None)]
    shop.wait_for_respawn("saga", dead)


def test_a_step_that_raises_at_a_boundary_is_asked_again(shop: Shop) -> None:
    """A bug that strikes once costs a try, nothing else."""
    shop.arm("after_call.do.payment.any", "raise")

    number = shop.place()

    assert shop.ends(number) == "fulfilled"
    assert shop.ledger(number) == [("charge", shop.total(number)), ("label", None)]
