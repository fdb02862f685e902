"""What is durable about one order: read after every move, projected for the model, and put back one version by a database crash."""

import json
from dataclasses import dataclass
from typing import Any

from django.db import connection, transaction
from django.db.models import Model

from fulfillment.models import Circuit, Saga, StepRecord
from fulfillment.stock import StockLevel
from orders.models import Status

READ = """
SELECT to_jsonb(s)::text, (SELECT jsonb_agg(to_jsonb(r) ORDER BY r.position)::text FROM fulfillment_steprecord r WHERE r.saga_id = s.id), o.status,
    (SELECT coalesce(max(t.id), 0) FROM orders_history t WHERE t.order_id = o.id),
    (SELECT jsonb_agg(jsonb_build_array(e.type, e.payload) ORDER BY e.at, e.id)::text FROM orders_fact e WHERE e.order_id = o.id),
    (SELECT coalesce(string_agg(v.state, ','), '') FROM fulfillment_reservation v WHERE v.order_number = o.number),
    (SELECT count(*) FROM orders_incident i WHERE i.order_id = o.id AND i.state <> 'resolved'),
    extract(epoch FROM CASE WHEN s.wake_at < '9000-01-01' THEN s.wake_at END)::float,
    (SELECT coalesce(sum(CASE WHEN l.operation = 'captured' THEN l.amount_minor ELSE -l.amount_minor END), 0)
        FROM fulfillment_ledgerentry l WHERE l.order_id = o.id)::int,
    (SELECT coalesce(sum(l.amount_minor), 0) FROM fulfillment_ledgerentry l WHERE l.order_id = o.id AND l.operation = 'written_off')::int,
    (SELECT jsonb_agg(to_jsonb(c) ORDER BY c.name)::text FROM fulfillment_circuit c),
    (SELECT jsonb_agg(to_jsonb(v))::text FROM fulfillment_reservation v WHERE v.order_number = o.number),
    (SELECT jsonb_agg(to_jsonb(k))::text FROM fulfillment_stocklevel k WHERE k.sku IN (SELECT n.sku FROM orders_orderline n WHERE n.order_id = o.id)),
    (SELECT jsonb_agg(to_jsonb(l))::text FROM fulfillment_ledgerentry l WHERE l.order_id = o.id)
FROM fulfillment_saga s JOIN orders_order o ON o.id = s.order_id WHERE s.id = %s
"""


@dataclass(frozen=True)
class Seen:
    """The rows of one order, as committed, and the circuits. ``wake_at``: seconds since the epoch of time; None: it wakes up nobody.

    ``facts``: type and payload of each public event.
    ``reserved``, ``stock``, ``ledger``: the order's reservations, the levels of its SKUs, and its entries in our ledger; ``reservations``: the states of the first.
    ``captured_minor``: what our ledger says remains captured. ``written_off_minor``: what a person has decided to keep.
    """

    saga: dict[str, Any]
    records: list[dict[str, Any]]
    status: str
    last_entry: int
    facts: list[tuple[str, dict[str, Any]]]
    reservations: str
    incidents: int
    wake_at: float | None
    captured_minor: int
    written_off_minor: int
    circuits: list[dict[str, Any]]
    reserved: list[dict[str, Any]]
    stock: list[dict[str, Any]]
    ledger: list[dict[str, Any]]

    @property
    def state(self) -> str:
        return str(self.saga["state"])

    def told(self, *types: str) -> int:
        """How many public events of these types are recorded."""
        return sum(type_ in types for type_, _ in self.facts)

    def projection(self) -> tuple[Any, ...]:
        """(saga state, epoch, cancel recorded, going backward, ((step state, doubt), …)): what tests/proofs/model replays."""
        steps = tuple((record["state"], record["doubt"]) for record in self.records)
        return (self.state, self.saga["epoch"], self.saga["cancel_requested_at"] is not None, bool(self.saga["failure"]), steps)


def read(saga_id: int) -> Seen:
    with connection.cursor() as cursor:
        cursor.execute(READ, [saga_id])
        row: list[Any] = list(cursor.fetchone())
    for at in (0, 1, 4, -4, -3, -2, -1):
        row[at] = json.loads(row[at] or "[]")
    return Seen(*row)


@transaction.atomic
def put_back(seen: Seen) -> None:
    """As a database crash does it: the commits since then never were. Triggers are off meanwhile: history and status go back too."""
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")
        _restore(cursor, "fulfillment_saga", Saga, seen.saga)
        for record in seen.records:
            _restore(cursor, "fulfillment_steprecord", StepRecord, record)
        Circuit.objects.exclude(name__in=[circuit["name"] for circuit in seen.circuits]).delete()
        for circuit in seen.circuits:
            _restore(cursor, "fulfillment_circuit", Circuit, circuit, "name")
        for level in seen.stock:
            _restore(cursor, "fulfillment_stocklevel", StockLevel, level)
        _replace(cursor, "fulfillment_reservation", "order_number = (SELECT number FROM orders_order WHERE id = %s)", seen, seen.reserved)
        _replace(cursor, "fulfillment_ledgerentry", "order_id = %s", seen, seen.ledger)
        ended_as = seen.status if Status(seen.status).is_final else ""
        cursor.execute(
            "UPDATE orders_order SET status = %s, ended_as = %s, settled_at = CASE WHEN %s <> '' THEN settled_at END WHERE id = %s",
            [seen.status, ended_as, ended_as, seen.saga["order_id"]],
        )
        cursor.execute("DELETE FROM orders_history WHERE order_id = %s AND id > %s", [seen.saga["order_id"], seen.last_entry])


def _replace(cursor: Any, table: str, of_the_order: str, seen: Seen, rows: list[dict[str, Any]]) -> None:
    """The order's rows of this table are those of then: what was written since is not there."""
    cursor.execute(f"DELETE FROM {table} WHERE {of_the_order}", [seen.saga["order_id"]])
    cursor.execute(f"INSERT INTO {table} SELECT * FROM jsonb_populate_recordset(NULL::{table}, %s)", [json.dumps(rows)])


def _restore(cursor: Any, table: str, model: type[Model], row: dict[str, Any], key: str = "id") -> None:
    columns = ", ".join(str(field.column) for field in model._meta.concrete_fields)
    cursor.execute(
        f"UPDATE {table} t SET ({columns}) = (SELECT {columns} FROM jsonb_populate_record(NULL::{table}, %s)) WHERE t.{key} = %s",
        [json.dumps(row), row[key]],
    )
