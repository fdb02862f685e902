"""Copies of orders that went to their end, in plain SQL: every table that holds a part of an order, whatever its columns are today."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import psycopg

from orders.money import whole_units_sql

AT_ONCE = 100_000  # copies in one transaction
EARLIER_D, EARLIER_H, WINDOW_H = 730.0, 49.0, 47.0  # most were placed in two years until 49 hours ago, the newest in the last 47
CUSTOMERS = 100_000
PREFIX = "ORD-M"  # no order that is placed has such a number

COLUMNS = """
SELECT attname, format_type(atttypid, NULL) FROM pg_attribute
WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped AND attgenerated = '' ORDER BY attnum
"""
TEMPLATES = """
SELECT o.id, o.number, s.id, f.id, o.placed_at FROM orders_order o JOIN fulfillment_saga s ON s.order_id = o.id
LEFT JOIN orders_fact f ON f.order_id = o.id AND f.type = 'order.fulfilled' WHERE o.number = ANY(%s) ORDER BY array_position(%s, o.number::text)
"""
# Of old orders only the end of each story: twenty lines of history for each would be most of the database, and nothing reads them.
LAST_OF_EACH = "AND t.id = ANY(SELECT max(id) FROM orders_history WHERE order_id = t.order_id GROUP BY kind, name)"


@dataclass(frozen=True, kw_only=True)
class Template:
    """One order to copy. ``share``: of how many slots in a hundred."""

    order: int
    number: str
    saga: int
    fact: Any
    placed_at: Any
    slots: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Table:
    """``belongs``: which rows of a template; ``columns``: what a copy has of its own, as SQL about ``t``, the template's row, and ``n``, the number of the copy."""

    name: str
    belongs: str
    columns: dict[str, str]


NUMBER = "%(prefix)s::text || n"
ORDER, SAGA, FACT = "%(first_order)s + n", "%(first_saga)s + n", "md5('scale ' || n)::uuid"


def _keyed(column: str) -> str:
    return f"replace(t.{column}, %(number)s, {NUMBER})"


TABLES = (
    Table(
        name="orders_order",
        belongs="t.id = %(order)s",
        columns={
            "id": ORDER,
            "number": NUMBER,
            "idempotency_key": "'scale-' || n",
            "reference": "''",
            "customer_email": f"'customer' || n %% {CUSTOMERS} || '@example.com'",
        },
    ),
    Table(name="orders_orderline", belongs="t.order_id = %(order)s", columns={"order_id": ORDER}),
    Table(name="fulfillment_saga", belongs="t.id = %(saga)s", columns={"id": SAGA, "order_id": ORDER}),
    Table(
        name="fulfillment_steprecord",
        belongs="t.saga_id = %(saga)s",
        columns={"saga_id": SAGA, "do_key": _keyed("do_key"), "compensation_key": _keyed("compensation_key")},
    ),
    Table(name="orders_history", belongs="t.order_id = %(order)s {last_of_each}", columns={"order_id": ORDER}),
    Table(name="fulfillment_ledgerentry", belongs="t.order_id = %(order)s", columns={"order_id": ORDER, "key": _keyed("key")}),
    Table(name="fulfillment_reservation", belongs="t.order_number = %(number)s", columns={"order_number": NUMBER}),
    Table(
        name="orders_fact",
        belongs="t.id = %(fact)s",
        columns={
            "id": FACT,
            "order_id": ORDER,
            "number": "%(first_fact)s + n",
            "payload": f"t.payload || jsonb_build_object('number', {NUMBER}, 'fulfilled_on', ((t.at + {{shift}}) AT TIME ZONE 'UTC')::date)",
        },
    ),
    Table(name="sideeffects_delivery", belongs="t.event_id = %(fact)s", columns={"event_id": FACT}),
)
# What subscribers have made of the facts: their own tables, anew.
SUBSCRIBER_TABLES = (
    "TRUNCATE sideeffects_analytics_dailyrevenue, sideeffects_analytics_dailyunits, sideeffects_loyalty_pointsentry, sideeffects_loyalty_balance, "
    "sideeffects_recommendations_copurchase",
    """INSERT INTO sideeffects_analytics_dailyrevenue (day, currency, orders, revenue_minor) SELECT (payload->>'fulfilled_on')::date, payload->>'currency',
    count(*), sum((payload->>'total_minor')::bigint) FROM orders_fact WHERE type = 'order.fulfilled' GROUP BY 1, 2""",
    """INSERT INTO sideeffects_analytics_dailyunits (day, sku, units) SELECT (payload->>'fulfilled_on')::date, line->>'sku', sum((line->>'quantity')::bigint)
    FROM orders_fact, jsonb_array_elements(payload->'lines') AS line WHERE type = 'order.fulfilled' GROUP BY 1, 2""",
    f"""INSERT INTO sideeffects_loyalty_pointsentry (account, order_number, points, at) SELECT encode(sha256(lower(o.customer_email)::bytea), 'hex'), o.number,
    {whole_units_sql("(payload->>'total_minor')::bigint", "payload->>'currency'")}, f.at FROM orders_fact f JOIN orders_order o ON o.id = f.order_id
    WHERE f.type = 'order.fulfilled'""",
    "INSERT INTO sideeffects_loyalty_balance (account, points) SELECT account, sum(points) FROM sideeffects_loyalty_pointsentry GROUP BY 1",
    """INSERT INTO sideeffects_recommendations_copurchase (sku, other, orders) SELECT a.sku, b.sku, count(*)
    FROM (SELECT order_id, line->>'sku' AS sku FROM orders_fact, jsonb_array_elements(payload->'lines') AS line WHERE type = 'order.fulfilled') a
    JOIN orders_orderline b ON b.order_id = a.order_id AND b.sku <> a.sku GROUP BY 1, 2""",
)
# Pieces that have left were received before.
STOCK = """
WITH shipped AS (
    SELECT level.id, level.on_hand, sum(quantity) - (SELECT coalesce(sum(m.pieces), 0) FROM fulfillment_stockmovement m WHERE m.level_id = level.id) + level.on_hand
        AS missing
    FROM fulfillment_reservation reserved JOIN fulfillment_stocklevel level USING (sku) WHERE reserved.state = 'consumed' GROUP BY level.id
), received AS (
    UPDATE fulfillment_stocklevel AS level SET received = received + missing FROM shipped WHERE shipped.id = level.id
)
INSERT INTO fulfillment_stockmovement (level_id, reason, pieces, on_hand, actor, note)
SELECT id, 'received', missing, on_hand, 'scale', ''
FROM shipped WHERE missing > 0
"""
SEQUENCES = ("orders_order", "fulfillment_saga")


class Copies:
    """``count`` copies, the newest ``window`` of them placed in the last two days. ``start``: so many are there already. Their numbers begin with ``prefix``."""

    def __init__(
        self,
        connection: psycopg.Connection,
        templates: list[tuple[str, int]],
        count: int,
        window: int,
        start: int = 0,
        prefix: str = PREFIX,
    ) -> None:
        self.connection, self.count, self.window, self.start, self.prefix = connection, count, window, start, prefix
        self._templates = self._read(templates)
        self._columns = {table.name: connection.execute(COLUMNS, [table.name]).fetchall() for table in TABLES}
        (self._now,) = self._one("SELECT shop_now()")
        firsts = "SELECT (SELECT max(id) FROM orders_order), (SELECT max(id) FROM fulfillment_saga), (SELECT coalesce(max(number), 0) FROM orders_fact)"
        self._firsts = dict(zip(("first_order", "first_saga", "first_fact"), self._one(firsts), strict=True))

    def make(self, report_line: Callable[[int], None]) -> None:
        """The copies, and what subscribers and the stock know of them."""
        self.copy(report_line)
        with self.connection.transaction():
            self.connection.execute("SET LOCAL session_replication_role = replica")
            for statement in (*SUBSCRIBER_TABLES, STOCK):
                self.connection.execute(statement)

    def copy(self, report_line: Callable[[int], None]) -> None:
        """In the order in which they were placed. Whatever is placed afterwards comes behind them."""
        old = self.count - self.window
        for start in range(self.start, old, AT_ONCE):
            self._copy(start + 1, min(start + AT_ONCE, old), LAST_OF_EACH)
            report_line(min(start + AT_ONCE, old))
        self._copy(max(old, self.start) + 1, self.count, "")
        report_line(self.count)
        for table in SEQUENCES:
            self.connection.execute(f"SELECT setval(pg_get_serial_sequence('{table}', 'id'), (SELECT max(id) FROM {table}))")

    def sold(self) -> Iterator[tuple[Any, ...]]:
        """(number, name of the step, do-key, amount, currency, of it refunded, instant) of every effect, for the provider's own ledger."""
        with self.connection.cursor("sold") as cursor:
            cursor.itersize = 50_000
            cursor.execute(
                """
                SELECT o.number, r.name, r.do_key, o.total_minor, o.currency, s.state = 'compensated', r.outcome_at
                FROM fulfillment_steprecord r JOIN fulfillment_saga s ON s.id = r.saga_id JOIN orders_order o ON o.id = s.order_id
                WHERE o.number LIKE %s AND r.receipt IS NOT NULL AND r.name IN ('payment', 'shipping') ORDER BY r.id
                """,
                [f"{self.prefix}%"],
            )
            yield from cursor

    def _copy(self, first: int, last: int, last_of_each: str) -> None:
        with self.connection.transaction():
            self.connection.execute("SET LOCAL session_replication_role = replica; SET LOCAL synchronous_commit = off")
            for template in self._templates:
                for table in TABLES:
                    self._copy_table(table, template, first, last, last_of_each)

    def _copy_table(self, table: Table, template: Template, first: int, last: int, last_of_each: str) -> None:
        values = {**self._firsts, "order": template.order, "number": template.number, "saga": template.saga, "fact": template.fact}
        values |= {"first": first, "last": last, "slots": list(template.slots), "now": self._now, "placed_at": template.placed_at}
        values |= {"prefix": self.prefix, "old": self.count - self.window, "window": self.window}
        names, made = [], []
        for name, kind in self._columns[table.name]:
            if name in table.columns:
                names.append(name)
                made.append(table.columns[name].format(shift=SHIFT))
            elif name != "id":
                names.append(name)
                made.append(f"t.{name} + {SHIFT}" if kind == "timestamp with time zone" else f"t.{name}")
        belongs = table.belongs.format(last_of_each=last_of_each)
        self.connection.execute(
            f"INSERT INTO {table.name} ({', '.join(names)}) SELECT {', '.join(made)} FROM generate_series(%(first)s::bigint, %(last)s::bigint) n"
            f" CROSS JOIN {table.name} t WHERE n %% 100 = ANY(%(slots)s) AND {belongs}",
            values,
        )

    def _read(self, templates: list[tuple[str, int]]) -> list[Template]:
        numbers, found, slot = [number for number, _ in templates], list[Template](), 0
        for row, (_, share) in zip(self.connection.execute(TEMPLATES, [numbers, numbers]).fetchall(), templates, strict=True):
            order, number, saga, fact, placed_at = row
            slots = tuple(range(slot, slot + share))
            found.append(Template(order=order, number=number, saga=saga, fact=fact, placed_at=placed_at, slots=slots))
            slot += share
        assert slot == 100, "the shares do not add up"
        return found

    def _one(self, query: str) -> tuple[Any, ...]:
        row = self.connection.execute(query).fetchone()
        assert row is not None
        return row


# By how much a copy was placed later than its template.
SHIFT = f"""(%(now)s::timestamptz - CASE WHEN n > %(old)s THEN interval '1 hour' * {WINDOW_H} * (%(old)s + %(window)s - n) / %(window)s
    ELSE interval '1 hour' * {EARLIER_H} + interval '1 day' * {EARLIER_D} * (%(old)s - n) / %(old)s END - interval '1 minute' - %(placed_at)s::timestamptz)"""
