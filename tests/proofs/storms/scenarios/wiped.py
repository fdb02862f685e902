"""The broker is wiped again and again, and everything that it still delivers it delivers twice."""

import json
import uuid
from typing import Any

from tests.proofs.storms.broker_monitor import QUEUES, BrokerMonitor, broker_of
from tests.proofs.storms.mails import mails_of
from tests.proofs.storms.scenario import Scenario
from tests.proofs.storms.spec import FULL, SMALL
from tests.proofs.storms.storm import Storm

DELIVERED = """
SELECT count(*) FROM sideeffects_delivery d JOIN orders_fact e ON e.id = d.event_id JOIN orders_order o ON o.id = e.order_id
WHERE o.number = ANY(%s) AND d.state = 'delivered'
"""
SUBSCRIBERS = 4


class Doubler:
    """Whatever is put into a queue is put there once more, under a delivery tag of its own, as a broker that delivers at least once may do."""

    def __init__(self, storm: Storm) -> None:
        self.seen = self.doubled = 0
        self._own: set[str] = set()
        self._broker = broker_of(storm)

    def __call__(self, queue: str, envelope: dict[str, Any]) -> None:
        tag = envelope["properties"]["delivery_tag"]
        if tag in self._own:
            self._own.remove(tag)
            return
        self.seen += 1
        envelope["properties"]["delivery_tag"] = tag = str(uuid.uuid4())
        self._own.add(tag)
        self._broker.lpush(queue, json.dumps(envelope))
        self.doubled += 1


def happens(storm: Storm) -> None:
    count, wipes = storm.how_many["orders"], storm.how_many["wipes"]
    lost = 0
    doubler = Doubler(storm)
    with BrokerMonitor(broker_of(storm), doubler).listening():
        for _ in range(wipes):
            storm.place(count // wipes // 2)
            with storm.shop.stopped("saga"):
                storm.place(count // wipes // 2)
                lost += _wipe(storm)
        storm.fault_ended()
        everything = len(storm.numbers) * SUBSCRIBERS
        storm.until("coming to rest", lambda: int(storm.shop.sql(DELIVERED, storm.numbers)[0][0]), everything, 240)
    mails = mails_of(storm)
    storm.counts |= {"wiped": wipes, "messages lost": lost, "put in twice": doubler.doubled, "mails": len(mails)}
    storm.expect(lost >= wipes, f"only {lost} messages were lost in {wipes} wipes")
    storm.expect(doubler.doubled == doubler.seen, f"of {doubler.seen} messages only {doubler.doubled} were doubled")
    storm.expect(doubler.doubled >= 3 * len(storm.numbers), f"only {doubler.doubled} messages were doubled")
    storm.expect(
        sorted(mails) == sorted(storm.numbers), f"{len(mails)} mails for {len(storm.numbers)} orders, {len(set(mails))} different ones"
    )
    storm.all_are_fulfilled()


def _wipe(storm: Storm) -> int:
    """How many messages are gone."""
    broker = broker_of(storm)
    waiting = sum(int(broker.llen(queue)) for queue in QUEUES)
    broker.flushall()
    return waiting


SCENARIO = Scenario(
    name="wiped",
    promise="The broker is wiped again and again and delivers every message twice: all orders are fulfilled, each side effect once.",
    happens=happens,
    sizes={SMALL: {"orders": 24, "wipes": 2}, FULL: {"orders": 500, "wipes": 10}},
    minutes={SMALL: 0.6, FULL: 1.9},
)
