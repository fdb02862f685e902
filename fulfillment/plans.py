"""Plans in flight: no deploy leaves open sagas without a step that they need. ``migrate`` refuses, and a check says it before."""

from collections.abc import Sequence
from typing import Any

from django.core.management.base import CommandError
from django.db import DatabaseError, connection, transaction

from fulfillment.code_release import RELEASE
from fulfillment.engine.pinned_plan import plan_entry
from fulfillment.gateways import exists
from fulfillment.models import Saga
from fulfillment.steps import STEPS, known
from orders.database import readable
from orders.text import counted

SHOWN = 10
HINT = "Deploy code that serves it: keep the step, name its earlier name in `formerly`, or its earlier version in `also_serves`; or let these orders finish first."

# Of every open saga: each step of its plan that is pending, under way, or to be compensated. A plan that cannot be read is left to the quarantine.
NEEDED = """
SELECT o.number, r.name, CASE WHEN entry->>'version' ~ '^[0-9]{1,4}$' THEN (entry->>'version')::int ELSE 1 END,
    coalesce(entry->>'role', ''), coalesce(entry->>'gateway', '')
FROM fulfillment_saga s JOIN fulfillment_steprecord r ON r.saga_id = s.id JOIN orders_order o ON o.id = s.order_id
LEFT JOIN LATERAL jsonb_array_elements(CASE jsonb_typeof(s.plan) WHEN 'array' THEN s.plan ELSE '[]' END) entry ON entry->>'name' = r.name
WHERE s.id = ANY(%s) AND r.state NOT IN ('compensated', 'compensated_by_hand', 'not_needed', 'skipped')
ORDER BY r.name, o.id
"""


def stranded() -> dict[str, list[str]]:
    """What open orders need and this code lacks (a step in a version, or a provider) → the numbers of these orders. Raises DatabaseError.

    One plan that cannot be read hides nothing about the others. Its order goes into quarantine.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT id FROM fulfillment_saga WHERE state IN ('running', 'compensating', 'needs_attention') ORDER BY id")
        open_sagas = [saga for (saga,) in cursor.fetchall()]
    found: dict[str, list[str]] = {}
    for number, name, version, role, gateway in sorted(readable(open_sagas, _needed), key=lambda row: row[1]):
        if known(name, version) is None:
            found.setdefault(f"step {name!r} (version {version})", []).append(number)
        elif gateway and not exists(role, gateway):
            found.setdefault(f"{role} gateway {gateway!r}", []).append(number)
    return found


def _needed(sagas: Sequence[int]) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(NEEDED, [list(sagas)])
        return list(cursor.fetchall())


def changed_since_release() -> str:
    """What the newest order of this release has pinned → what this code would pin. Empty: they agree. Raises DatabaseError."""
    newest = Saga.objects.filter(release=RELEASE).order_by("-id").values_list("plan", flat=True).first()
    if not isinstance(newest, list) or not all(isinstance(entry, dict) and "name" in entry for entry in newest):
        return ""  # there is none, or it cannot be read, and the quarantine has it
    was, now = [pinned(entry) for entry in newest], [pinned(plan_entry(step)) for step in STEPS]
    return f"{', '.join(was)} → {', '.join(now)}" if was != now else ""


def pinned(entry: dict[str, Any]) -> str:
    """A step as people name it. Its provider is left out: that is a setting, and not code."""
    flags = "".join(f" {flag}" for flag in ("local", "compensation_blocks") if entry.get(flag))
    role = f" by {entry['role']}" if entry.get("role") else ""
    return f"{entry['name']} v{entry.get('version', 1)} ({entry.get('kind', '')}{flags}{role})"


def describe(found: dict[str, list[str]]) -> str:
    """What a person reads: one sentence for each thing that is lacking, with the numbers."""
    return " ".join(_describe(what, numbers) for what, numbers in found.items())


def _describe(what: str, numbers: list[str]) -> str:
    orders = counted(len(numbers), "open order", "need")
    more = f" and {len(numbers) - SHOWN} more" if len(numbers) > SHOWN else ""
    return f"{orders} {what}, which this code lacks: {', '.join(numbers[:SHOWN])}{more}."


def refuse_to_strand(**_: Any) -> None:
    """Receiver of ``pre_migrate``. Raises CommandError: open sagas would be stranded. A database without our tables, or with older ones, has none that it knows."""
    try:
        with transaction.atomic():
            found = stranded()
    except DatabaseError:
        return
    if found:
        raise CommandError(f"Refused to migrate. {describe(found)} {HINT}")
