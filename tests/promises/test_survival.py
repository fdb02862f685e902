"""Promise: a refund that cannot be completed is reported to a person and never called done; a killed stack, a frozen worker and a deaf one cost time only."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from datetime import datetime
from typing import Any

import httpx
import psutil
import pytest

from tests.promises.conftest import Shop
from tests.proofs.black_box.waiting import wait_for

LEASE_S = 3.0  # at the tests' time scale
FORWARD = (
    *(f"{at}.do.{step}.any" for step in ("payment", "shipping") for at in ("before_start", "after_start", "before_call", "after_call")),
    *(f"{at}.do.{step}.any" for step in ("payment", "shipping") for at in ("before_outcome_commit", "after_outcome_commit")),
    *(f"{at}.do.{step}.any" for step in ("payment", "inventory", "shipping") for at in ("before_publish", "after_publish")),
    *(f"{at}.do.inventory.any" for at in ("before_start", "before_outcome_commit", "after_outcome_commit")),
)


@pytest.fixture(autouse=True)
def disarmed(shop: Shop) -> Iterator[None]:
    shop.disarm()
    yield
    shop.disarm()


@pytest.mark.timeout(240)
def test_a_cancel_at_every_boundary_has_one_answer(shop: Shop, show_figure: Callable[[str], None]) -> None:
    """Two of us cancel at the same instant, wherever the order stands: while it stands there both hear the same, nobody ever hears "accepted" where another
    hears "too late", and it is never shipped and refunded."""
    answers: dict[str, str] = {}
    for point in FORWARD:
        answers[point] = _cancelled_at(shop, point)

    assert set(answers.values()) == {"accepted", "pending", "too late"}
    show_figure(f"cancel: two callers at each of {len(answers)} boundaries, answered: " + ", ".join(sorted(set(answers.values()))))


def _cancelled_at(shop: Shop, point: str) -> str:
    shop.arm(point, "stop")
    with ThreadPoolExecutor(3) as pool:
        placing = pool.submit(shop.place_stubbornly)
        reached = wait_for(lambda: shop.hit(point), 30, every_s=0.01)
        assert reached is not None
        stopped, number = reached
        if number == "any":
            number = placing.result()
        both = [pool.submit(shop.cancel, number) for _ in range(2)]
        stood_still = not wait(both, 0.3).not_done and not point.startswith("after_publish")  # what was published goes on elsewhere
        os.kill(stopped, signal.SIGCONT)
        answers_read = {_answer_of(answer) for answer in both}
        placing.result()
    shop.disarm()
    assert not stood_still or len(answers_read) == 1, (point, answers_read)
    assert not {"accepted", "too late"} <= answers_read, (point, answers_read)
    ended = shop.ends(number, 60)
    operations = [operation for operation, _ in shop.ledger(number)]
    if ended == "fulfilled":
        assert operations == ["charge", "label"], (point, operations)
        assert answers_read <= {"too late", "pending"}, (point, answers_read)
    else:
        assert ended == "cancelled", (point, ended)
        assert operations.count("charge") == operations.count("refund"), (point, operations)
        assert operations.count("label") == operations.count("cancel_label"), (point, operations)
    return min(answers_read)


def _answer_of(answer: "Future[httpx.Response]") -> str:
    response = answer.result()
    if response.status_code == 200:
        return "accepted"  # and honoured by now
    return str(response.json()["cancel"]) if response.status_code == 202 else "too late"


def test_a_worker_killed_mid_step_is_taken_over_within_its_lease_and_two_seconds(shop: Shop, show_figure: Callable[[str], None]) -> None:
    """The machine died while my card was being charged: somebody else is at it within seconds."""
    number = shop.place(token="tok_slow_8s")
    shop.until_paying(number)
    dead = shop.kill_whole("saga")

    wait_for(lambda: "take_over" in shop.kinds(number), 10)

    entries = shop.order(number)["timeline"]
    began, taken = (
        next(_at(e) for e in entries if e["to"] == "started" and e["name"] == "payment"),
        next(_at(e) for e in entries if e["kind"] == "take_over"),
    )
    waited = (taken - began).total_seconds()
    show_figure(f"take-over: {waited:.1f} s after the start, the lease is {LEASE_S:g} s")
    assert waited <= LEASE_S + 2
    assert shop.ends(number) == "fulfilled"
    shop.wait_for_respawn("saga", dead)


def _at(entry: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(entry["at"])


def test_a_frozen_worker_changes_no_row_and_causes_one_effect(shop: Shop) -> None:
    """It woke up after somebody else had finished its work: one charge, and a line in the history."""
    number = shop.place(token="tok_slow_8s")
    shop.until_paying(number)
    journal = (
        "SELECT r.state, r.tries, r.claim, s.epoch FROM fulfillment_steprecord r JOIN fulfillment_saga s ON s.id = r.saga_id"
        " JOIN orders_order o ON o.id = s.order_id WHERE o.number = %s ORDER BY r.id"
    )
    with shop.stopped("saga"):
        wait_for(lambda: "take_over" in shop.kinds(number), 30)
        other = _spare_worker(shop)
        try:
            assert shop.ends(number, 30) == "fulfilled"
            before = shop.sql(journal, number)
        finally:
            other.terminate()
            other.wait(30)

    late = wait_for(lambda: [entry for entry in shop.order(number)["timeline"] if entry["kind"] == "late"])

    assert len(late) == 1
    assert shop.sql(journal, number) == before
    assert shop.ledger(number) == [("charge", shop.total(number)), ("label", None)]


def _spare_worker(shop: Shop) -> "subprocess.Popen[bytes]":
    """A second saga worker, as on another machine."""
    variables = psutil.Process(shop.stack.pid("saga")).environ()
    words = psutil.Process(shop.stack.pid("saga")).cmdline()
    words = ["spare@%h" if word.startswith("saga@") else word for word in words]
    log = (shop.stack.run_dir / "log" / "spare.log").open("ab")
    return subprocess.Popen(words, env=variables, stdout=log, stderr=log, start_new_session=True)


@pytest.mark.timeout(90)
def test_a_worker_that_hears_nothing_ends_itself_and_is_started_again(shop: Shop, show_figure: Callable[[str], None]) -> None:
    """Its line to the broker is dead without a word: it notices, and my order goes on."""
    deaf = shop.stack.pid("saga")
    for queue in ("saga", "compensation"):
        run = shop.python("-m", "celery", "-A", "config", "control", "-t", "1", "cancel_consumer", queue)
        assert "no longer consuming" in run.stdout, run.stdout + run.stderr
    time.sleep(0.5)

    began = time.monotonic()
    number = shop.place()
    shop.wait_for_respawn("saga", deaf, 60)

    show_figure(f"a deaf worker ended itself {time.monotonic() - began:.0f} s after its queue began to wait")
    assert "most recent call first" in (shop.stack.run_dir / "log" / "saga.log").read_text(), "its log does not say where it stood"
    assert shop.ends(number, 30) == "fulfilled"
