"""Promise: a sweep that stands still is replaced within five seconds, and changes nothing when it wakes up."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import psutil
import pytest

from tests.promises.conftest import Shop
from tests.proofs.black_box.stack import FOLDER
from tests.proofs.black_box.waiting import wait_for

POINT = "sweep.any.any.any"
HOLDER = "SELECT split_part(holder, ':', 2)::int FROM orders_turnrow WHERE name = 'sweep' AND until > shop_now()"


@pytest.fixture(autouse=True)
def disarmed(shop: Shop) -> Iterator[None]:
    shop.disarm()
    yield
    shop.disarm()


@pytest.fixture
def spare(shop: Shop) -> Iterator[int]:
    """A second sweep on the same database, which stands by."""
    outer = {name: value for name, value in os.environ.items() if name not in ("DATABASE_URL", "CELERY_BROKER_URL")}
    own = {"RUN_DIR": str(shop.stack.run_dir), "DEMO_VALUES": "1", "TIME_SCALE": "0.1"}
    process = subprocess.Popen([sys.executable, "manage.py", "sweep"], cwd=FOLDER, env=outer | own, stdout=subprocess.DEVNULL)
    try:
        wait_for(lambda: (shop.stack.run_dir / "alive" / f"sweep.{process.pid}").exists(), 30)
        yield process.pid
    finally:
        process.terminate()
        process.wait(20)


def holder(shop: Shop) -> int:
    rows = shop.sql(HOLDER)
    return int(rows[0][0]) if rows else 0


def test_a_sweep_frozen_in_the_middle_of_a_transaction_is_replaced_and_changes_nothing_when_it_wakes_up(
    shop: Shop, spare: int, show_figure: Callable[[str], None]
) -> None:
    """The machine of the sweep stands still while it works on my order: my order, and the ones behind it, go on within seconds."""
    frozen = shop.stack.pid("sweep")
    assert wait_for(lambda: holder(shop)) == frozen
    shop.arm(POINT, "stop")
    mine = shop.place(token="tok_flaky_2")  # its retry is the sweep's
    hit = wait_for(lambda: shop.hit(POINT), 30, every_s=0.01)
    assert hit is not None
    assert hit == (frozen, mine)
    assert psutil.Process(frozen).status() == psutil.STATUS_STOPPED
    begun = time.monotonic()

    behind = shop.place(token="tok_flaky_2")
    wait_for(lambda: holder(shop) == spare, 10, every_s=0.02)
    replaced_after_s = time.monotonic() - begun
    assert replaced_after_s < 5
    assert [shop.ends(number) for number in (behind, mine)] == ["fulfilled", "fulfilled"]

    history = shop.order(mine)["timeline"]
    os.kill(frozen, signal.SIGCONT)
    woken = psutil.Process(frozen)
    wait_for(lambda: _age_s(shop, frozen) < 1, 15)  # it gets round again
    assert woken.is_running()
    assert holder(shop) == spare
    assert shop.order(mine)["timeline"] == history
    assert shop.ledger(mine) == [("charge", shop.total(mine)), ("label", None)]
    show_figure(f"a frozen sweep was replaced after {replaced_after_s:.1f} s; woken up it changed nothing")


def test_the_spare_that_ends_hands_the_turn_over_at_once(shop: Shop) -> None:
    """Nobody waits for a lease where nobody stands still."""
    wait_for(lambda: holder(shop) == shop.stack.pid("sweep"), 10)

    assert shop.ends(shop.place(token="tok_flaky_2")) == "fulfilled"


def _age_s(shop: Shop, pid: int) -> float:
    return time.time() - (shop.stack.run_dir / "alive" / f"sweep.{pid}").stat().st_mtime
