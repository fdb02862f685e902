"""Promise: whatever happens to the side effects, their tables included, no order waits for it, and none is lost for them."""

import time
from collections.abc import Callable
from contextlib import ExitStack

from tests.promises.conftest import Shop
from tests.proofs.black_box.waiting import wait_for

TABLES = "SELECT relname FROM pg_class WHERE relname LIKE 'sideeffects%%' AND relkind = 'r' ORDER BY 1"
STATUS = "SELECT count(*) FROM orders_order WHERE number = ANY(%s) AND status = 'fulfilled'"
DELIVERED = """
SELECT count(*) FROM sideeffects_delivery d JOIN orders_fact f ON f.id = d.event_id JOIN orders_order o ON o.id = f.order_id
WHERE o.number = ANY(%s) AND d.state = 'delivered'
"""
FOUR_LEASES_S = 12.0  # at the tests' scale: an order that waited for such a table would have been taken over, and turned back


def test_every_table_of_the_side_effects_is_held_and_orders_are_fulfilled_as_always(shop: Shop, show_figure: Callable[[str], None]) -> None:
    """Somebody repairs the loyalty programme's tables at noon: my parcel leaves, paid once, and my points come afterwards."""
    tables = [name for (name,) in shop.sql(TABLES)]
    assert len(tables) >= 8
    begun = time.monotonic()
    with ExitStack() as held:
        for table in tables:
            held.enter_context(shop.locked(table))
        numbers = shop.place_many(6)
        wait_for(lambda: shop.sql(STATUS, numbers) == [(6,)], 10)
        fulfilled_s = time.monotonic() - begun
        regretted = shop.place(token="tok_slow_8s")
        assert shop.cancel(regretted).status_code == 202
        wait_for(lambda: shop.sql("SELECT status FROM orders_order WHERE number = %s", regretted) == [("cancelled",)], 20)
        time.sleep(max(0.0, FOUR_LEASES_S - fulfilled_s))
        assert shop.sql(STATUS, numbers) == [(6,)]

    wait_for(lambda: shop.sql(DELIVERED, numbers) == [(24,)], 60)
    show_figure(f"every table of the side effects held for {FOUR_LEASES_S:g} s: 6 of 6 orders fulfilled after {fulfilled_s:.1f} s")
    for number in numbers:
        assert shop.ledger(number) == [("charge", shop.total(number)), ("label", None)]


def test_what_was_committed_while_the_broker_lost_everything_is_reported(shop: Shop) -> None:
    """The fast path decides nothing: with its messages lost, the relay finds who has not heard."""
    with shop.stopped("sideeffects"):
        number = shop.place()
        wait_for(lambda: shop.sql(STATUS, [number]) == [(1,)], 10)
        shop.forget_messages("sideeffects")

    wait_for(lambda: shop.sql(DELIVERED, [number]) == [(4,)], 60)
