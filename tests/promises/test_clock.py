"""The database's clock is set while orders flow: nobody is charged twice, turned back, or left alone."""

from collections import Counter
from collections.abc import Iterator

import pytest

from tests.promises.conftest import Shop
from tests.proofs.black_box.waiting import wait_for

AS_EVER = "coalesce(nullif(current_setting('shop.now', true), '')::timestamptz, now())"
CLOCK = "CREATE OR REPLACE FUNCTION shop_now() RETURNS timestamptz LANGUAGE sql STABLE PARALLEL RESTRICTED RETURN {instant}"


@pytest.fixture
def clock(shop: Shop) -> Iterator[Shop]:
    """Set right again at the end, which is one more jump."""
    yield shop
    shop.run(CLOCK.format(instant=AS_EVER))


@pytest.mark.parametrize("ahead", ["1 day", "-1 hour"])
def test_orders_go_on_whatever_the_clock_says(clock: Shop, ahead: str) -> None:
    """Some stand at the bank, some wait for their next try, some have just been placed."""
    slow = [clock.place(token="tok_slow_8s") for _ in range(2)]
    flaky = [clock.place(token="tok_flaky_2") for _ in range(2)]
    wait_for(lambda: clock.step(flaky[-1], "payment")["tries"] > 0, 20)
    clock.run(CLOCK.format(instant=f"now() + interval '{ahead}'"))
    after = [clock.place() for _ in range(2)]

    ended = {number: clock.ends(number) for number in (*slow, *flaky, *after)}

    assert set(ended.values()) == {"fulfilled"}
    charges = Counter(effect["order"] for number in ended for effect in clock.effects(number) if effect["operation"] == "charge")
    assert charges == Counter(ended.keys())
