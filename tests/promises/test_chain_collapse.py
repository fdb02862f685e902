"""Promise: with CHAIN_COLLAPSE the steps of an order share a task, and whatever dies, it ends as it would without."""

import os
import shutil
from collections.abc import Iterator

import pytest

from tests.engines import RUN_DIR
from tests.promises.conftest import Shop
from tests.promises.test_crash_points import disarmed as disarmed
from tests.promises.test_crash_points import (
    test_every_boundary_is_killed_once_and_every_order_adds_up as test_every_boundary_is_killed_once_and_every_order_adds_up,
)
from tests.promises.test_kills import (
    test_a_pool_child_killed_alone_takes_the_errback_path as test_a_pool_child_killed_alone_takes_the_errback_path,
)
from tests.promises.test_kills import test_a_worker_killed_whole_inside_shipping as test_a_worker_killed_whole_inside_shipping
from tests.proofs import prepared
from tests.proofs.black_box.stack import RunningStack


@pytest.fixture(scope="module")
def stack() -> Iterator[RunningStack]:
    """In place of the one that the other promises share."""
    run_dir = RUN_DIR / f"collapsed{os.environ.get('PYTEST_XDIST_WORKER', '')}"
    folder = run_dir / "crash"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    prepared.lay(run_dir)
    running = RunningStack(run_dir, CRASH_POINTS=str(folder), COMPENSATION_TRIES="6", CHAIN_COLLAPSE="1")
    yield running
    running.stop()


def tasks_of(shop: Shop, number: str) -> list[str]:
    """The lines about tasks of an order that have ended."""
    log = (shop.stack.run_dir / "log" / "saga.log").read_text(errors="replace")
    return [line for line in log.splitlines() if "celery.app.trace" in line and f"[{number}." in line]


def test_an_order_is_one_task_and_its_lines_are_of_one_request(shop: Shop) -> None:
    """On a machine that is busy a step may be published after all; of a few orders, one is not."""
    numbers = [shop.place() for _ in range(5)]
    for number in numbers:
        assert shop.ends(number) == "fulfilled"

    alone = [lines[0] for number in numbers if len(lines := tasks_of(shop, number)) == 1]
    assert alone != []
    assert "payment done, inventory done, shipping done" in alone[0]
    assert "request_id=" in alone[0]


def test_compensations_of_an_order_share_a_task_too(shop: Shop) -> None:
    numbers = [shop.place(postal_code="00422") for _ in range(5)]
    for number in numbers:
        assert shop.ends(number) == "shipping_failed"
        assert shop.ledger(number) == [("charge", shop.total(number)), ("refund", shop.total(number))]

    lines = [line for number in numbers for line in tasks_of(shop, number)]
    assert [line for line in lines if "inventory undone, payment undone" in line] != []
    assert [line for line in lines if "raised expected: Rejected" in line] != []
