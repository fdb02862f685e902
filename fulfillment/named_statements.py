"""The named statements of the core (``queries.sql``), and the order that some of them return."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from orders.models import Order, OrderLine
from orders.named_sql import NamedSql, columns, instance

LINES = """(SELECT jsonb_agg(jsonb_build_array(l.id, l.sku, l.name, l.quantity, l.unit_price_minor) ORDER BY l.id)::text
    FROM orders_orderline AS l WHERE l.order_id = o.id)"""
LINE_FIELDS = ("id", "sku", "name", "quantity", "unit_price_minor")
SQL = NamedSql(Path(__file__).with_name("queries.sql"), {"order": f"{columns(Order, 'o')}, {LINES}"})


def order_of(values: Sequence[Any]) -> Order:
    """What ``{order}`` has returned. Its lines are read already."""
    order = instance(Order, values[:-1])
    found = OrderLine.objects.all()
    found._result_cache = [OrderLine(order=order, **dict(zip(LINE_FIELDS, line, strict=True))) for line in json.loads(values[-1] or "[]")]
    order._prefetched_objects_cache = {"lines": found}  # type: ignore[attr-defined]
    return order
