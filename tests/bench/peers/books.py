"""What a peer has done, by which it is judged: rows of the business tables, or for raw Celery the files in which its tasks have noted it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import psycopg

from tests.bench.peers.programs.program import ENTRY
from tests.bench.peers.programs.work import EFFECTS

SOLD = "SELECT 100 * 1000000000::bigint - sum(available), (SELECT coalesce(sum(qty), 0) FROM order_lines) FROM stock"
COUNTS = """
SELECT (SELECT count(*) FROM orders WHERE id >= %(first)s AND status = 'fulfilled' AND fulfilled_at IS NOT NULL),
       (SELECT count(*) FROM payments WHERE order_id >= %(first)s), (SELECT count(*) FROM shipments WHERE order_id >= %(first)s),
       (SELECT count(*) FROM effects WHERE order_id >= %(first)s), (SELECT count(DISTINCT order_id) FROM effects WHERE order_id >= %(first)s)
"""
TIMES = """
SELECT extract(epoch FROM o.submitted_at)::float8, extract(epoch FROM o.fulfilled_at)::float8, extract(epoch FROM max(e.done_at))::float8
FROM orders o JOIN effects e ON e.order_id = o.id WHERE o.id >= %s GROUP BY o.id, o.submitted_at, o.fulfilled_at
"""


@dataclass(frozen=True, kw_only=True)
class Times:
    """Instants of one order, in seconds of one clock."""

    submitted: float
    fulfilled: float
    last_effect: float


class Books(Protocol):
    """``first``: the number of the first order that counts."""

    def next_number(self) -> int: ...

    def effects(self, first: int) -> int: ...

    def times(self, first: int) -> list[Times]: ...

    def wrong(self, first: int, orders: int) -> str:
        """What is missing or too much. Empty: all is as it should be."""


class Rows:
    compares_stock = True

    def __init__(self, database: "psycopg.Connection[Any]") -> None:
        self._database = database

    def next_number(self) -> int:
        return int(self._one("SELECT coalesce(max(id), 0) + 1 FROM orders")[0])

    def effects(self, first: int) -> int:
        return int(self._one("SELECT count(*) FROM effects WHERE order_id >= %s", [first])[0])

    def times(self, first: int) -> list[Times]:
        rows = self._database.execute(TIMES, [first]).fetchall()
        return [Times(submitted=submitted, fulfilled=fulfilled, last_effect=effect) for submitted, fulfilled, effect in rows]

    def wrong(self, first: int, orders: int) -> str:
        fulfilled, payments, shipments, effects, heard_of = self._one(COUNTS, {"first": first})
        sold, wanted = self._one(SOLD) if self.compares_stock else (0, 0)
        if (fulfilled, payments, shipments, heard_of) == (orders,) * 4 and effects == orders * len(EFFECTS) and sold == wanted:
            return ""
        stock = f"; {sold} of {wanted} pieces are taken from the stock" if self.compares_stock else ""
        return f"of {orders} orders {fulfilled} are fulfilled, {payments} paid, {shipments} shipped; {effects} side effects of {heard_of} orders{stock}"

    def _one(self, statement: str, values: Any = None) -> tuple[Any, ...]:
        row: tuple[Any, ...] | None = self._database.execute(statement, values).fetchone()
        assert row is not None
        return row


class Files:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._before = 0  # effects of orders that do not count

    def next_number(self) -> int:
        self._before = self._effects()
        return 1 + max((number for number, _ in self._entries("submitted")), default=0)

    def effects(self, first: int) -> int:
        return self._effects() - self._before

    def times(self, first: int) -> list[Times]:
        submitted, fulfilled = dict(self._entries("submitted")), dict(self._entries("fulfilled"))
        effects: dict[int, float] = {}
        for number, at in self._entries("effects"):
            effects[number] = max(at, effects.get(number, 0.0))
        return [
            Times(submitted=submitted[number], fulfilled=fulfilled[number], last_effect=effects[number])
            for number in submitted
            if number >= first and number in fulfilled and number in effects
        ]

    def wrong(self, first: int, orders: int) -> str:
        complete, effects = len(self.times(first)), self.effects(first)
        if complete == orders and effects == orders * len(EFFECTS):
            return ""
        return f"of {orders} orders {complete} are complete, with {effects} side effects"

    def _effects(self) -> int:
        file = self._folder / "effects"
        return file.stat().st_size // ENTRY.size if file.exists() else 0

    def _entries(self, name: str) -> list[tuple[int, float]]:
        file = self._folder / name
        return [(number, at) for number, at in ENTRY.iter_unpack(file.read_bytes())] if file.exists() else []
