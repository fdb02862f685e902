"""Explained money: each minor unit that was ever captured is in exactly one place, by currency.

*Earned* (of fulfilled orders, or written off by a decision), *given back*, *in flight* (of orders on their way, and not for longer than any order takes), *at risk*
(a person was notified by an incident), or *unexplained*. Units are counted as the provider lists them. Where our ledger says something else about an order, what
they differ by is neither earned nor given back.

Note: one query. Our ledger is summed by order, next to the state of its saga; of providers only those orders come in about which the ledger might be wrong: those
that differ, and those that were not judged. All others are listed as our ledger says.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import connection

from fulfillment.reconciliation.finding import Finding, Rule
from fulfillment.reconciliation.gathered import Gathered
from fulfillment.reconciliation.listings import Charged, Listings
from fulfillment.reconciliation.money import ROLE
from orders.money import money
from orders.text import counted

# From rows ``orders``, one for each order and currency. What is left by our ledger (``ours``) and by the provider (``theirs``) may differ by what a person has
# given back by hand, perhaps not through the provider.
IN_PLACES = """
, apart AS (
    SELECT *, captured - refunded AS ours, listed_captured - listed_refunded AS theirs, greatest(captured, listed_captured) AS units FROM orders
), held AS (
    SELECT *, least(ours, theirs) AS held, greatest(ours - theirs, 0) + greatest(theirs - ours - by_hand, 0) AS contested FROM apart
), kept AS (
    SELECT *, CASE state WHEN 'completed' THEN least(held, total_minor) WHEN 'closed_by_operator' THEN least(held, written_off) ELSE 0 END AS earned
    FROM held
), open AS (
    SELECT *, units - held - contested AS given_back, held - earned + contested AS open FROM kept
), in_places AS (
    SELECT *, CASE WHEN open = 0 THEN 0 WHEN has_incident THEN open ELSE 0 END AS at_risk,
        CASE WHEN open = 0 THEN 0 WHEN has_incident THEN 0 WHEN is_moving THEN open ELSE 0 END AS in_flight,
        CASE WHEN open = 0 THEN 0 WHEN has_incident OR is_moving THEN 0 ELSE open END AS unexplained
    FROM open
)
"""
# An order that ended after the cutoff may have been listed before. A saga that is held is reported by the incident of its circuit.
ORDERS = """
WITH listed AS (
    SELECT * FROM unnest(%(numbers)s::text[], %(currencies)s::text[], %(captured)s::bigint[], %(refunded)s::bigint[]) AS one(number, currency, captured, refunded)
), entered AS (
    SELECT entry.order_id,
        coalesce(sum(entry.amount_minor) FILTER (WHERE operation = 'captured'), 0)::bigint AS captured,
        coalesce(sum(entry.amount_minor) FILTER (WHERE operation = 'refunded'), 0)::bigint AS refunded,
        coalesce(sum(entry.amount_minor) FILTER (WHERE operation = 'refunded' AND by_hand), 0)::bigint AS by_hand,
        coalesce(sum(entry.amount_minor) FILTER (WHERE operation = 'written_off'), 0)::bigint AS written_off
    FROM fulfillment_ledgerentry entry JOIN orders_order placed ON placed.id = entry.order_id
    WHERE %(placed_from)s::timestamptz IS NULL OR placed.placed_at >= %(placed_from)s GROUP BY 1
), known AS (
    SELECT placed.number, placed.currency, entered.* FROM entered JOIN orders_order placed ON placed.id = entered.order_id
), both_sides AS (
    SELECT number, currency, coalesce(known.captured, 0) AS captured, coalesce(known.refunded, 0) AS refunded, coalesce(known.by_hand, 0) AS by_hand,
        coalesce(known.written_off, 0) AS written_off, coalesce(listed.captured, known.captured) AS listed_captured,
        coalesce(listed.refunded, known.refunded) AS listed_refunded
    FROM known FULL JOIN listed USING (number, currency)
), orders AS (
    SELECT both_sides.*, placed.total_minor, saga.state,
        coalesce(saga.closed_at > %(cutoff)s OR saga.closed_at IS NULL AND saga.state NOT IN ('completed', 'compensated', 'closed_by_operator')
            AND coalesce(saga.deadline_at, saga.opened_at) + %(at_most)s > %(cutoff)s, false) AS is_moving,
        both_sides.number = ANY(%(with_incident)s) OR EXISTS (
            SELECT FROM orders_incident incident WHERE incident.state <> 'resolved' AND incident.code <> 'unexplained'
                AND (incident.order_id = placed.id OR incident.subject = both_sides.number)
        ) OR EXISTS (
            SELECT FROM orders_incident incident WHERE incident.state <> 'resolved' AND incident.kind = 'provider_down'
                AND incident.subject = saga.held_by AND saga.held_by <> ''
        ) AS has_incident
    FROM both_sides LEFT JOIN orders_order placed ON placed.number = both_sides.number LEFT JOIN fulfillment_saga saga ON saga.order_id = placed.id
    WHERE placed.id IS NULL OR %(placed_from)s::timestamptz IS NULL OR placed.placed_at >= %(placed_from)s
)
"""
EXPLAIN = f"""
{ORDERS} {IN_PLACES}
SELECT currency, sum(units)::bigint AS captured, CASE WHEN %(is_complete)s THEN sum(listed_captured)::bigint END AS listed,
    sum(earned)::bigint AS earned, coalesce(sum(earned) FILTER (WHERE state = 'closed_by_operator'), 0)::bigint AS written_off,
    sum(given_back)::bigint AS given_back, sum(in_flight)::bigint AS in_flight, sum(at_risk)::bigint AS at_risk, sum(unexplained)::bigint AS unexplained,
    count(*) FILTER (WHERE unexplained > 0) AS orders,
    coalesce((array_agg(number ORDER BY number) FILTER (WHERE unexplained > 0))[1:3], '{{}}') AS "like"
FROM in_places GROUP BY 1 HAVING sum(units) > 0 ORDER BY 1
"""
PLACES = ("earned", "given_back", "in_flight", "at_risk", "unexplained")
Side = tuple[str, str, int, int]  # number, currency, captured, of it given back


@dataclass(frozen=True, kw_only=True)
class Explained:
    """The money of one currency, in minor units: ``captured`` is the sum of all places. ``listed``: of it by the providers; None: one of them is silent.

    ``written_off``: the part of ``earned`` that persons have decided to keep. ``orders`` are unexplained, ``like`` are some of them.
    """

    currency: str
    captured: int
    listed: int | None
    earned: int
    written_off: int
    given_back: int
    in_flight: int
    at_risk: int
    unexplained: int
    orders: int
    like: list[str]

    @property
    def sentence(self) -> str:
        def shown(minor: int) -> str:
            return money(minor, self.currency)

        kept = f" ({shown(self.written_off)} of it written off)" if self.written_off else ""
        other = f"; the providers list {shown(self.listed)}" if self.listed not in (None, self.captured) else ""
        return (
            f"{shown(self.captured)} captured = {shown(self.earned)} earned{kept} + {shown(self.given_back)} given back + {shown(self.in_flight)} in flight"
            f" + {shown(self.at_risk)} at risk with an incident; {shown(self.unexplained)} unexplained{other}"
        )

    def as_json(self) -> dict[str, int | None]:
        return {name: getattr(self, name) for name in ("captured", "listed", "earned", "written_off", *PLACES[1:])}


class Listed:
    """What the providers list of those orders about which our own ledger might be wrong."""

    def __init__(self) -> None:
        self.sides: list[Side] = []

    def judged(self, gathered: Gathered, findings: Collection[Finding]) -> None:
        """An order at rest, whose lists are complete: taken in where they differ from our ledger. What was repaired meanwhile is listed as it was before."""
        if any(finding.repaired for finding in findings) or (gathered.is_completed and gathered.is_by_hand(ROLE) and not findings):
            return
        sides = list(_sides(gathered.order.number, gathered.charges)) or [(gathered.order.number, gathered.order.currency, 0, 0)]
        if sides != [(gathered.order.number, gathered.order.currency, gathered.money.captured, gathered.money.refunded)]:
            self.sides += sides

    def others(self, listings: Listings) -> None:
        """Orders that were not judged, and what belongs to no order."""
        for number, charges in listings.charges():
            self.sides += _sides(number, charges)


def _sides(number: str, charges: Iterable[Charged]) -> Iterator[Side]:
    sums: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for charge in charges:
        sums[charge.currency][0] += charge.amount_minor
        sums[charge.currency][1] += charge.refunded_minor
    yield from ((number, currency, captured, refunded) for currency, (captured, refunded) in sums.items())


def explain(
    listed: Listed, with_incident: Collection[str], cutoff: datetime, placed_from: datetime | None, is_complete: bool
) -> list[Explained]:
    """Of orders placed at or after ``placed_from`` (None: all). ``with_incident``: those that this run has found. Not ``is_complete``: a provider is silent."""
    columns = list(zip(*listed.sides, strict=True)) or [()] * 4
    values: dict[str, Any] = {
        name: list(column) for name, column in zip(("numbers", "currencies", "captured", "refunded"), columns, strict=True)
    }
    values |= {"with_incident": list(with_incident), "cutoff": cutoff, "placed_from": placed_from, "is_complete": is_complete}
    values["at_most"] = timedelta(seconds=settings.SAGA_DEADLINE_S)
    with connection.cursor() as cursor:
        cursor.execute(EXPLAIN, values)
        names = [column.name for column in cursor.description]
        return [Explained(**dict(zip(names, row, strict=True))) for row in cursor]


def unexplained(found: Iterable[Explained]) -> Iterator[Finding]:
    """An incident notifies a person, once for each currency. That explains nothing: it stays unexplained until it is earned, given back or has an incident with its
    order.
    """
    for one in found:
        if one.unexplained:
            orders = counted(one.orders, "order")
            message = f"neither earned nor given back, not in flight, and no incident reports it: {orders}, {', '.join(one.like)}"
            message += " and others" if one.orders > len(one.like) else ""
            yield Finding(
                subject=f"money {one.currency}", rule=Rule.UNEXPLAINED, found=message, amount_minor=one.unexplained, currency=one.currency
            )
