"""Liveness: whatever does not come to rest soon after a fault has ended has an incident, so that a person knows, or is seen to move."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise

from tests.proofs.storms.storm import Storm

INCIDENT_AFTER_S = 6.0  # a minute, at the scale at which storms run
STANDS_AFTER_S = 15.0  # the longest wait that a rule allows is a retry's, 7.2 s; the rest is for a busy machine
UNSERVED_AFTER_S = 30.0  # from then on /status shows a queue that lets nothing out, or of a sweep that does not run
ABOUT_ONE_ORDER = ("orphan_payment", "mismatch")  # kinds of incident that, without an order, say nothing about the others
WAITING_FOR_A_WORKER = ("", "scheduled", "compensation_scheduled")  # states after which nothing happens until a worker is free

NOT_AT_REST = """
WITH fault AS (SELECT %s::timestamptz AS ended, %s::timestamptz AS later)
SELECT o.id, o.number, s.closed_at, EXISTS (
    SELECT FROM orders_incident i
    WHERE (i.order_id = o.id OR (i.order_id IS NULL AND i.kind <> ALL(%s)))
        AND i.opened_at <= later AND (i.resolved_at IS NULL OR i.resolved_at >= ended))
FROM fault, fulfillment_saga s JOIN orders_order o ON o.id = s.order_id
WHERE s.opened_at < ended AND (s.closed_at IS NULL OR s.closed_at > later)
"""
CHANGES = """
SELECT order_id, at, CASE WHEN kind IN ('step', 'take_over') THEN to_state ELSE NULL END FROM orders_timelineentry
WHERE order_id = ANY(%s) AND kind NOT IN ('delivery', 'operator') ORDER BY order_id, at, id
"""
MOVES = "SELECT DISTINCT date_trunc('second', at) FROM orders_timelineentry WHERE at > %s ORDER BY 1"


@dataclass
class Wait:
    """Of one order, between two changes of its history."""

    since: datetime
    until: datetime
    state: str

    @property
    def seconds(self) -> float:
        return (self.until - self.since).total_seconds()


def stalled_orders_have_incidents(storm: Storm) -> None:
    """Of each order that was not at rest a minute (as the stack counts) after the fault had ended. One without an incident must move: it waits for a worker while
    others are served, or changes by itself.
    """
    ended = datetime.fromtimestamp(storm.fault_ended_at, UTC)
    then = ended + timedelta(seconds=INCIDENT_AFTER_S)
    time.sleep(max(0.0, then.timestamp() - time.time()))
    now = _now()
    found = storm.shop.sql(NOT_AT_REST, ended, then, list(ABOUT_ONE_ORDER))
    without = {order: (number, closed_at or now) for order, number, closed_at, has_incident in found if not has_incident}
    last = max((until for _, until in without.values()), default=ended)
    storm.counts |= {
        f"not at rest {INCIDENT_AFTER_S:g} s after the fault": len(found),
        "of them known by an incident": len(found) - len(without),
        "the others moved for (s)": round((last - ended).total_seconds()),
    }
    stood = [(number, wait) for number, wait in _waits(storm, without, ended) if wait.seconds > storm.within(STANDS_AFTER_S)]
    waited = [one for one in stood if one[1].state in WAITING_FOR_A_WORKER]
    _none(storm, "stood still without an incident", [one for one in stood if one not in waited])
    _none(storm, "waited for a worker while nothing moved, without an incident", _unserved(storm, waited, ended, now))


def _now() -> datetime:
    return datetime.now(UTC)


def _waits(storm: Storm, without: dict[int, tuple[str, datetime]], ended: datetime) -> Iterator[tuple[str, Wait]]:
    changes: dict[int, list[tuple[datetime, str]]] = {order: [] for order in without}
    for order, at, state in storm.shop.sql(CHANGES, list(without)):
        before = changes[order][-1][1] if changes[order] else ""
        changes[order].append((at, before if state is None else state))
    for order, (number, until) in without.items():
        points = [*changes[order], (until, "")]
        first = next((at for at, _ in points), ended)
        for (since, state), (later, _) in pairwise([(min(first, ended), ""), *points]):
            yield number, Wait(max(since, ended), min(later, until), state)


def _unserved(storm: Storm, waited: list[tuple[str, Wait]], ended: datetime, now: datetime) -> list[tuple[str, Wait]]:
    """Those in whose wait there was a time in which no order of the shop moved at all."""
    if not waited:
        return []
    moves = [ended, *(at for (at,) in storm.shop.sql(MOVES, ended)), now]
    silences = [Wait(since, until, "") for since, until in pairwise(moves) if (until - since).total_seconds() > UNSERVED_AFTER_S]
    return [
        (number, wait)
        for number, wait in waited
        if any((min(wait.until, s.until) - max(wait.since, s.since)).total_seconds() > UNSERVED_AFTER_S for s in silences)
    ]


def _none(storm: Storm, what: str, orders: list[tuple[str, Wait]]) -> None:
    longest = dict(sorted(((number, wait.seconds) for number, wait in orders), key=lambda one: one[1]))
    shown = ", ".join(f"{number} for {seconds:.0f} s" for number, seconds in list(longest.items())[::-1][:5])
    storm.expect(not longest, f"{len(longest)} orders {what}: {shown}")
