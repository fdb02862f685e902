"""Promise: a probe proves lost only what it can, and one that does not come out is followed by another."""

import pytest
from django.conf import settings

from fulfillment import recovery
from orders import queue_probes
from tests.fulfillment.driving import found
from tests.fulfillment.instants.conftest import PATIENCE
from tests.shop_clock import LIMITS_S, ShopClock

HARD, EDGE = LIMITS_S["TASK_HARD_LIMIT_S"], 0.001


@pytest.mark.parametrize(("before_s", "is_lost"), [(0, False), (EDGE, True)], ids=["as late as it may be", "earlier"])
def test_a_stamp_proves_lost_what_was_published_a_hard_limit_before_it(saga: int, clock: ShopClock, before_s: float, is_lost: bool) -> None:
    """A worker may have prefetched it, and be busy with another task until its hard limit."""
    clock.passes(PATIENCE)
    assert recovery.inspect_saga(saga) is None
    clock.until(found(saga).launched_at, HARD + before_s)
    (stamp,) = [stamp for queue, stamp in recovery.probes.due() if queue == "saga"]
    assert stamp == clock.now
    clock.passes(500)
    queue_probes.probe_came_out("saga", stamp)

    assert (recovery.inspect_saga(saga) is not None) is is_lost


def test_an_unanswered_probe_is_followed_by_another_with_waits_doubling_and_capped(clock: ShopClock) -> None:
    sender = queue_probes.Probes()
    waits: list[float] = []
    sender.want("saga")
    ((_, sent),) = sender.due()
    for _ in range(7):
        wait = min(settings.PROBE_AFTER_S * 2 ** len(waits), settings.PROBE_CAP_S)
        clock.until(sent, wait - EDGE)
        sender.want("saga")
        assert sender.due() == []
        clock.passes(EDGE)
        sender.want("saga")
        ((_, again),) = sender.due()
        waits.append((again - sent).total_seconds())
        sent = again

    assert waits[0] == settings.PROBE_AFTER_S
    assert waits[-1] == settings.PROBE_CAP_S


def test_a_queue_that_lets_nothing_out_is_named_with_its_time(clock: ShopClock) -> None:
    sender = queue_probes.Probes()
    sender.want("compensation")
    assert sender.due()
    clock.passes(20)
    sender.want("compensation")
    assert sender.due()
    clock.passes(5)

    assert queue_probes.unanswered_for_s() == {"compensation": 25.0}

    queue_probes.probe_came_out("compensation", clock.now)
    assert queue_probes.unanswered_for_s() == {}
