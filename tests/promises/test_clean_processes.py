"""Promise: a process that is broken ends, and another one takes its place; nobody has to find out which it was."""

import re
from collections.abc import Callable

from tests.promises.conftest import Shop
from tests.proofs.black_box.waiting import wait_for

JOURNAL, AWAY = "fulfillment_steprecord", "away"
ENDED = re.compile(r"config\.worker\.pool_process\[(\d+)\] 3 tasks in a row have failed unexpectedly")


def ended(shop: Shop) -> set[int]:
    return {int(pid) for pid in ENDED.findall((shop.stack.run_dir / "log" / "saga.log").read_text(errors="replace"))}


def test_a_process_in_which_nothing_succeeds_is_replaced(shop: Shop, show_figure: Callable[[str], None]) -> None:
    """Whatever made every task fail: when it is over, new processes work, and all our orders arrive."""
    before, ended_before = set(shop.children_of("saga")), ended(shop)
    with shop.stopped("saga"):
        numbers = shop.place_many(12)
        shop.run(f"ALTER TABLE {JOURNAL} RENAME TO {AWAY}")
    try:
        wait_for(lambda: before <= ended(shop), 30)
    finally:
        shop.run(f"ALTER TABLE {AWAY} RENAME TO {JOURNAL}")

    assert [shop.ends(number, 60) for number in numbers] == ["fulfilled"] * 12
    assert not before & set(shop.children_of("saga"))
    show_figure(
        f"every task failed for a while: {len(ended(shop) - ended_before)} pool processes ended themselves, 12 of 12 orders arrived"
    )
