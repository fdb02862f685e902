"""A provider that is out, in three ways one after the other, while orders flow: it refuses connections, it accepts and hangs, it answers 503."""

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime
from typing import Any

import httpx

from tests.proofs.black_box.waiting import wait_for
from tests.proofs.storms.clients import Clients
from tests.proofs.storms.scenario import Scenario
from tests.proofs.storms.spec import FULL, SMALL
from tests.proofs.storms.storm import Storm

EVERY = 5  # each fifth order has an address that the carrier refuses, so that compensations meet the outage too
WOKEN_PER_S = 20
LEASE_S = 3.0  # at the scale at which storms run
PAYMENTS = "payments.sandbox.do"
COUNTED_FOR_S = 2.0
SAID = "has not answered"
EVERYTHING = ("charges", "refunds", "labels", "label_cancels")

NOW = "SELECT shop_now()"
INCIDENTS = "SELECT subject, message FROM orders_incident WHERE kind = 'provider_down' AND order_id IS NULL AND state <> 'resolved'"
HELD = "SELECT held_by, count(*) FROM fulfillment_saga WHERE held_by <> '' GROUP BY held_by"
ONE_HELD = "SELECT o.number FROM fulfillment_saga s JOIN orders_order o ON o.id = s.order_id WHERE s.held_by <> '' ORDER BY s.id LIMIT 1"
NEVER_ASKED = """
SELECT count(*) FROM fulfillment_steprecord r JOIN fulfillment_saga s ON s.id = r.saga_id JOIN orders_order o ON o.id = s.order_id
WHERE o.number = %s AND r.name = 'payment' AND r.state = 'pending'
"""
OPENED = "SELECT circuit, count(*) FROM fulfillment_circuitentry WHERE to_state = 'open' AND at BETWEEN %s AND %s GROUP BY circuit"
STILL_OPEN = "SELECT name FROM fulfillment_circuit WHERE state <> 'closed'"
OUT_OF_BUDGET = """
SELECT o.number FROM orders_timelineentry t JOIN orders_order o ON o.id = t.order_id WHERE t.detail->>'message' LIKE 'out of %%' AND o.number = ANY(%s)
"""
FASTEST = """
SELECT coalesce(max(woken), 0) FROM (
    SELECT count(*) AS woken FROM orders_timelineentry WHERE kind = 'held' AND to_state = 'released' AND at > %s GROUP BY date_trunc('second', at)) AS each_second
"""
REFUSED = "SELECT count(*) FROM orders_order WHERE number = ANY(%s) AND shipping_address->>'postal_code' = '00422'"
OF_SINGLE_ORDERS = "SELECT subject FROM orders_incident WHERE order_id IS NOT NULL"

Out = Callable[[Storm], AbstractContextManager[None]]


def happens(storm: Storm) -> None:
    waited, fastest = 0, 0
    for what, out in (("refuses", _refuses), ("hangs", _hangs), ("answers 503", _answers_503)):
        held, woken = _outage(storm, what, out)
        waited, fastest = waited + held, max(fastest, woken)
    refused = storm.shop.sql(REFUSED, storm.numbers)[0][0]
    ended = storm.statuses(storm.numbers)
    expected = {"fulfilled": len(storm.numbers) - refused - 3, "shipping_failed": refused, "cancelled": 3}
    storm.expect(ended == expected, f"ended as {ended}, not as {expected}")
    storm.expect(not storm.shop.sql(OF_SINGLE_ORDERS), f"single orders became a person's: {storm.shop.sql(OF_SINGLE_ORDERS)[:5]}")
    storm.counts |= {"waited at once": waited, "fulfilled": ended.get("fulfilled", 0), "woken in the fastest second": fastest}


def _outage(storm: Storm, what: str, out: Out) -> tuple[int, int]:
    """(how many waited at its end, how many were woken in the fastest second after it)."""
    shop, seconds = storm.shop, storm.how_many["seconds"]
    calls = [_order(storm, number) for number in range(storm.how_many["orders"])]
    with Clients(calls, per_s=storm.how_many["orders"] / (seconds + 4)) as clients:
        time.sleep(2)  # orders are everywhere when it begins
        begun = shop.sql(NOW)[0][0]
        with out(storm):
            end = time.monotonic() + seconds
            storm.show(f"the provider {what}", 0, 1)
            cancelled = _cancelled_at_once(storm)
            time.sleep(max(0.0, end - time.monotonic()))
            held = _what_is_shown_is_true(storm, what)
        storm.fault_ended()
        back_at = shop.sql(NOW)[0][0]
        placed = clients.finish(lambda done: storm.show("placing what is left", done, len(calls)))
    storm.numbers += [*placed, cancelled]
    storm.rest(120)
    _it_had_one_incident(storm, what, begun, back_at)
    storm.until("closing", lambda: not shop.sql(STILL_OPEN) and not shop.sql(INCIDENTS), True, 30)
    fastest = int(shop.sql(FASTEST, back_at)[0][0])
    circuits = len(shop.sql(OPENED, begun, back_at))
    storm.expect(fastest <= WOKEN_PER_S * circuits + 5, f"{what}: {fastest} were woken within one second")
    spent = shop.sql(OUT_OF_BUDGET, storm.numbers)
    storm.expect(not spent, f"{what}: {len(spent)} orders ran out of a budget: {spent[:5]}")
    return held, fastest


def _order(storm: Storm, number: int) -> Callable[[], str]:
    changes = {"postal_code": "00422"} if number % EVERY == 0 else {}
    return lambda: storm.shop.place_stubbornly(60, **changes)


def _cancelled_at_once(storm: Storm) -> str:
    """An order that comes when the circuit has been open for a lease was never asked for: its customer need not wait for the provider."""
    shop = storm.shop
    wait_for(lambda: (PAYMENTS,) in shop.sql(STILL_OPEN), 15)
    time.sleep(LEASE_S + 0.5)
    number = shop.place_stubbornly()
    wait_for(lambda: shop.sql(NEVER_ASKED, number)[0][0] and _is_held(storm, number), 15)
    shop.cancel(number)
    wait_for(lambda: shop.order(number)["status"] == "cancelled", 5)
    return number


def _is_held(storm: Storm, number: str) -> bool:
    return bool(
        storm.shop.sql(
            "SELECT 1 FROM fulfillment_saga s JOIN orders_order o ON o.id = s.order_id WHERE o.number = %s AND s.held_by <> ''", number
        )
    )


# --- the worst moment ----------------------------------------------------------------------------------------------------


def _what_is_shown_is_true(storm: Storm, what: str) -> int:
    """By doctor, ``why``, ``/status`` and the incidents; kept beside the stack's logs. Returns how many orders wait."""
    shop = storm.shop
    waited = _how_many_wait(storm)  # the incident is at most a round of the sweep behind
    incidents = dict(shop.sql(INCIDENTS))
    waited.append(dict(shop.sql(HELD)))
    doctor = [one for one in json.loads(shop.manage("doctor", "--json").stdout)["findings"] if one["what"] == "circuits"]
    number = shop.sql(ONE_HELD)[0][0]
    why = shop.manage("why", number).stdout
    status = httpx.get(f"{shop.stack.info['web']}/status", timeout=10, verify=False).json()
    public = [one["found"] for one in status["findings"] if one["what"] == "circuits"]
    after, still_open = dict(shop.sql(HELD)), {name for (name,) in shop.sql(STILL_OPEN)}
    storm.diagnostics.take(f"the provider {what}", number)
    storm.diagnosed()

    storm.expect(set(incidents) == still_open, f"{what}: incidents of {sorted(incidents)}, open are {sorted(still_open)}")
    storm.expect(SAID in why and number in why, f"{what}: why {number} says: {why}")
    storm.expect(len(doctor) == len(still_open), f"{what}: doctor says {doctor}")
    storm.expect(bool(public) and all(SAID in one for one in public), f"{what}: /status says {public}")
    for name, message in incidents.items():
        counts = [each.get(name, 0) for each in waited]
        true = SAID in message and min(counts) <= _how_many(message) <= max(counts)
        storm.expect(true, f"{what}: {name}: {message}, while {min(counts)} to {max(counts)} waited")
    return sum(after.values())


def _how_many_wait(storm: Storm) -> list[dict[str, int]]:
    """By circuit, again and again for ``COUNTED_FOR_S``."""
    seen, until = [], time.monotonic() + COUNTED_FOR_S
    while time.monotonic() < until:
        seen.append(dict(storm.shop.sql(HELD)))
        time.sleep(0.2)
    return seen


def _how_many(message: str) -> int:
    """ "…; 12 orders wait"."""
    return int(message.rpartition("; ")[2].split()[0])


def _it_had_one_incident(storm: Storm, what: str, begun: datetime, back_at: datetime) -> None:
    opened: dict[str, Any] = dict(storm.shop.sql(OPENED, begun, back_at))
    storm.expect(bool(opened) and set(opened.values()) == {1}, f"{what}: circuits were opened {opened} times")


# --- three ways of being out -------------------------------------------------------------------------------------------------


@contextmanager
def _refuses(storm: Storm) -> Iterator[None]:
    """Its process is gone, and nobody starts it again meanwhile: whoever would stands still."""
    supervisor = storm.stack.pid("supervisor")
    os.kill(supervisor, signal.SIGSTOP)
    try:
        storm.shop.kill_whole("sandbox")
        yield
    finally:
        os.kill(supervisor, signal.SIGCONT)
    wait_for(lambda: _answers(storm), 20)


def _answers(storm: Storm) -> bool:
    try:
        return storm.shop.provider.get("/healthz").status_code == 200
    except httpx.TransportError:
        return False


@contextmanager
def _hangs(storm: Storm) -> Iterator[None]:
    with storm.shop.stopped("sandbox"):
        yield


@contextmanager
def _answers_503(storm: Storm) -> Iterator[None]:
    """And everybody who knows of it dies in the middle of it: the circuits are rows."""
    with storm.shop.provider_down(*EVERYTHING):
        wait_for(lambda: storm.shop.sql(STILL_OPEN), 15)
        for role in ("saga", "sweep"):
            storm.shop.kill_whole(role)
        yield


SCENARIO = Scenario(
    name="outage",
    promise="A provider refuses, hangs, answers 503: nobody is turned back, one incident is opened for it and closes itself, then all go on, a few each second.",
    happens=happens,
    sizes={SMALL: {"orders": 20, "seconds": 6}, FULL: {"orders": 120, "seconds": 18}},
    minutes={SMALL: 1.6, FULL: 2.7},
)
