"""Plans in flight: which open sagas need a step that this code lacks. Asked before a deploy, and by ``migrate``, which refuses."""

from typing import Any

from django.core.management.base import CommandError
from django.db import DatabaseError, connection, transaction

from fulfillment.gateways import exists
from fulfillment.steps import known

SHOWN = 10
HINT = "Deploy code that serves it: keep the step, name its earlier name in `formerly`, or its earlier version in `also_serves`; or let these orders finish first."

# Of every open saga, each step of its plan that is not over: pending, under way, or still to be undone.
NEEDED = """
SELECT o.number, r.name, coalesce((entry->>'version')::int, 1), coalesce(entry->>'role', ''), coalesce(entry->>'gateway', '')
FROM fulfillment_saga s JOIN fulfillment_steprecord r ON r.saga_id = s.id JOIN orders_order o ON o.id = s.order_id
LEFT JOIN LATERAL jsonb_array_elements(s.plan) entry ON entry->>'name' = r.name
WHERE s.state IN ('running', 'compensating', 'needs_attention') AND r.state NOT IN ('undone', 'undone_by_hand', 'not_needed', 'skipped')
ORDER BY r.name, o.id
"""


def stranded() -> dict[str, list[str]]:
    """What open orders need and this code lacks (a step in a version, or the provider that serves it) → their numbers. Raises DatabaseError."""
    found: dict[str, list[str]] = {}
    with connection.cursor() as cursor:
        cursor.execute(NEEDED)
        for number, name, version, role, gateway in cursor.fetchall():
            if known(name, version) is None:
                found.setdefault(f"step {name!r} (version {version})", []).append(number)
            elif gateway and not exists(role, gateway):
                found.setdefault(f"{role} gateway {gateway!r}", []).append(number)
    return found


def told(found: dict[str, list[str]]) -> str:
    """One sentence with the numbers."""
    return " ".join(_told(what, numbers) for what, numbers in found.items())


def _told(what: str, numbers: list[str]) -> str:
    orders = "1 open order needs" if len(numbers) == 1 else f"{len(numbers)} open orders need"
    more = f" and {len(numbers) - SHOWN} more" if len(numbers) > SHOWN else ""
    return f"{orders} {what}, which this code lacks: {', '.join(numbers[:SHOWN])}{more}."


def refuse_to_strand(**_: Any) -> None:
    """Receiver of ``pre_migrate``. Raises CommandError; a database without our tables, or with older ones, strands nobody that it knows of."""
    try:
        with transaction.atomic():
            found = stranded()
    except DatabaseError:
        return
    if found:
        raise CommandError(f"Refused to migrate. {told(found)} {HINT}")
