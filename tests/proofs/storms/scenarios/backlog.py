"""Thousands of orders, and their side effects, wait in the queues of slow workers: waiting is not loss, and nothing is published again."""

import contextlib
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.proofs.storms.broker_monitor import BrokerMonitor, broker_of
from tests.proofs.storms.scenario import Scenario
from tests.proofs.storms.spec import FULL, SMALL
from tests.proofs.storms.storm import Storm

STEPS, SUBSCRIBERS = 3, 4  # messages of a fulfilled order
PROBES = ("fulfillment.probe", "sideeffects.probe")
DELIVERED = """
SELECT count(*) FROM sideeffects_delivery d JOIN orders_fact f ON f.id = d.event_id JOIN orders_order o ON o.id = f.order_id
WHERE o.number = ANY(%s) AND d.state = 'delivered'
"""
TRIES = DELIVERED.replace("count(*)", "sum(d.tries)")
STANDS_S, GOES_S = 0.3, 0.7
AT_MOST = 0.01


def happens(storm: Storm) -> None:
    count = storm.how_many["orders"]
    published: Counter[str] = Counter()

    def hear(queue: str, envelope: dict[str, Any]) -> None:
        task = envelope["headers"]["task"]
        published[task] += task not in PROBES

    with BrokerMonitor(broker_of(storm), hear).listening():
        with storm.shop.stopped("saga"):
            storm.place(count)
        begun = time.monotonic()
        with _slow(storm):
            storm.rest(60 + count)
            storm.until("telling", lambda: int(storm.shop.sql(DELIVERED, storm.numbers)[0][0]), count * SUBSCRIBERS, 60 + count)
        storm.fault_ended()
    tries = int(storm.shop.sql(TRIES, storm.numbers)[0][0])  # a try that failed needs a message for the next one
    needed = count * STEPS + tries
    extra = sum(published.values()) - needed
    share = extra / needed
    lasted_s = round(time.monotonic() - begun)
    storm.counts |= {
        "backlog lasted (s)": lasted_s,
        "messages needed": needed,
        "deliveries tried": tries,
        "extra": extra,
        "share": f"{share:.2%}",
    }
    storm.expect(extra >= 0, f"{-extra} of {needed} messages were not seen: nothing can be said about the rest")
    storm.expect(share < AT_MOST, f"{extra} extra messages for {needed} that were needed")
    storm.all_are_fulfilled()


@contextmanager
def _slow(storm: Storm) -> Iterator[None]:
    """The workers stand still for a third of the time."""
    over = threading.Event()

    def brake() -> None:
        while not over.is_set():
            with contextlib.suppress(ProcessLookupError), storm.shop.stopped("saga", "sideeffects"):
                over.wait(STANDS_S)
            over.wait(GOES_S)

    thread = threading.Thread(target=brake, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


SCENARIO = Scenario(
    name="backlog",
    promise="Two thousand orders wait for slow workers: fewer than one message in a hundred is published twice.",
    happens=happens,
    sizes={SMALL: {"orders": 60}, FULL: {"orders": 2000}},
    minutes={SMALL: 0.6, FULL: 4.6},
)
