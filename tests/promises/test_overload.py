"""Promise: past its bound the shop tells clients to come again, and works off what it has taken: first in, first out, and without a message too many."""

import re
import shutil
import uuid
from collections.abc import Callable, Iterator

import httpx
import pytest

from tests.engines import RUN_DIR
from tests.promises.conftest import Shop
from tests.proofs import prepared
from tests.proofs.black_box.orders import body
from tests.proofs.black_box.stack import RunningStack
from tests.proofs.black_box.waiting import wait_for

LIMIT, LEFT = 20, 16
POOL = 2  # children of the worker: so many begin at the same time
STEPS = ("payment", "inventory", "shipping")
RECEIVED = re.compile(r"Task fulfillment\.(\w+)\[(ORD-\d+)\S+\] received")


@pytest.fixture(scope="module")
def small() -> Iterator[Shop]:
    """A shop of its own, which lets few orders wait."""
    run_dir = RUN_DIR / "overload"
    shutil.rmtree(run_dir, ignore_errors=True)
    prepared.lay(run_dir)
    stack = RunningStack(run_dir, ("manage.py", "up", "--without-flower"), BACKLOG_LIMIT=str(LIMIT))
    yield Shop(stack)
    stack.stop()


def received(shop: Shop) -> list[tuple[str, str]]:
    """(task, order) of each message that the saga worker has got, in that order."""
    return RECEIVED.findall((shop.stack.run_dir / "log" / "saga.log").read_text(errors="replace"))


def place_until_refused(shop: Shop) -> tuple[list[str], httpx.Response]:
    """The orders that were taken, and the answer to the first that was not."""
    answers: list[httpx.Response] = []

    def is_refused() -> bool:
        answers.append(shop.post(body()))
        return answers[-1].status_code != 201

    wait_for(is_refused, 30, every_s=0.01)
    return [answer.json()["number"] for answer in answers[:-1]], answers[-1]


def refusing_s(shop: Shop) -> float | None:
    """As /status tells it; a machine that is busy may show no number in time."""
    numbers = httpx.get(f"{shop.stack.info['web']}/status", timeout=20).json()["numbers"]
    return dict(numbers.get("overload", {})).get("for_s")


@pytest.mark.timeout(180)
def test_a_shop_past_its_bound_refuses_and_then_works_off_everything(small: Shop, show_figure: Callable[[str], None]) -> None:
    """I hear 503 and when to come again; whoever was served gets what was ordered, the first one first."""
    key = uuid.uuid4().hex
    with small.stopped("saga"):
        first = small.place_stubbornly(key=key)
        others, answer = place_until_refused(small)

        placed = [first, *others]
        assert len(placed) >= LIMIT - POOL  # a probe in the queue counts as one
        assert (answer.status_code, answer.json()["code"], answer.headers["Retry-After"]) == (503, "overloaded", "10")
        assert small.post(body(), key).json()["number"] == first
        assert small.order(first)["status"] == "placed"
        cancelled = placed.pop()
        assert small.cancel(cancelled).status_code == 202
        wait_for(lambda: refusing_s(small) is not None, 30)
        assert small.sql("SELECT kind, state FROM orders_incident") == [("overloaded", "open")]

    wait_for(lambda: small.post(body()).status_code == 201, 60)
    wait_for(lambda: small.moving() == 0, 60)

    assert small.sql("SELECT kind, state, outcome FROM orders_incident") == [("overloaded", "resolved", "worked_off")]
    assert {small.order(number)["status"] for number in placed} == {"fulfilled"}
    assert small.order(cancelled)["status"] == "cancelled"
    tasks = received(small)
    assert_first_in_first_out([order for task, order in tasks if task == "payment" and order in placed], placed)
    extra = [task for task in tasks if task[0] in STEPS and tasks.count(task) > 1]
    show_figure(f"past saturation: {len(placed)} orders waited, {len(extra)} messages too many")
    assert extra == []


def assert_first_in_first_out(began: list[str], placed: list[str]) -> None:
    """Orders whose requests overlap may change places."""
    places = [placed.index(order) for order in began]
    assert len(places) == len(placed)
    assert all(abs(place - n) <= POOL for n, place in enumerate(places)), places
