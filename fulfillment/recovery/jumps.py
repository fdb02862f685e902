"""The database's clock has jumped: the instants of open sagas are moved with it, so that nothing is past, and nothing stands still, that would not have been.

Note: which instants. Whatever was written before the jump is moved; what was written since, until the sweep noticed, bears the new clock already: that are a few
seconds, and they are told apart by the instant itself. ``wake_at`` is never moved into the future: to look too early harms nobody. A stamp from a clock that was
ahead proves nothing, and is forgotten.
"""

import logging
from datetime import timedelta
from typing import Any

from django.db import DatabaseError, connection, transaction

from fulfillment.models import FINAL, Saga
from orders.database import was_not_granted
from orders.durability import may_be_lost

log = logging.getLogger(__name__)

BATCH = 500
ROUNDS = 3  # over those that somebody held


def _moved(column: str, known_by: str = "") -> str:
    """``column`` moved with the clock, unless ``known_by`` (itself) was written since the jump."""
    return f"{column} = CASE WHEN {known_by or column} BETWEEN %(since)s AND shop_now() THEN {column} ELSE {column} + %(by)s END"


def _due_as_ever(column: str) -> str:
    """``column`` moved back; set forward, what would not be due yet is due now, and no more overdue than it was: lateness is counted."""
    return f"""{column} = CASE WHEN %(by)s < interval '0' THEN {column} + %(by)s
        ELSE greatest({column}, least({column} + %(by)s, shop_now())) END"""


def _moved_back(column: str) -> str:
    return f"{column} = CASE WHEN %(by)s < interval '0' THEN {column} + %(by)s ELSE {column} END"


SAGAS = f"""
UPDATE fulfillment_saga SET {_due_as_ever("wake_at")}, {_moved("launched_at")}, {_moved("held_at")}, {_moved("left_since")},
    {_moved("deadline_at", "opened_at")} WHERE id = ANY(%(sagas)s)
"""
RECORDS = f"""
UPDATE fulfillment_steprecord SET {_moved("granted_at")}, {_moved("first_started_at")}, {_moved("undo_granted_at")},
    {_moved("asked_until", "started_at")}, {_moved("undo_asked_until", "started_at")}, {_moved("started_at")} WHERE saga_id = ANY(%(sagas)s)
"""
THE_REST = (
    f"UPDATE fulfillment_quarantine SET {_moved_back('look_at')}",
    f"UPDATE fulfillment_circuit SET {_moved('opened_at')}, {_moved_back('next_probe_at')}, {_moved_back('probe_until')}",
    f"UPDATE fulfillment_queueprobe SET {_moved('awaited_since')}",
    "UPDATE fulfillment_queueprobe SET sent_at = NULL, awaited_since = NULL WHERE sent_at > shop_now()",
    "UPDATE fulfillment_queueprobe SET out_at = NULL WHERE out_at > shop_now()",
)


def move_with_the_clock(jumped_s: float, unsure_s: float) -> int:
    """Move what is open by ``jumped_s``; what was written in the last ``unsure_s`` seconds may bear either clock. Returns how many sagas were moved."""
    by = timedelta(seconds=jumped_s)
    log.warning("The database's clock has jumped by %+.1f s: what is open is moved with it", jumped_s)
    for statement in THE_REST:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(statement, _values(by, unsure_s))
    open_sagas = Saga.objects.exclude(state__in=FINAL).order_by("id").values_list("pk", flat=True)
    left = [list(open_sagas[at : at + BATCH]) for at in range(0, open_sagas.count(), BATCH)]
    moved = 0
    for _ in range(ROUNDS):
        held = [sagas for sagas in left if not _move(sagas, _values(by, unsure_s))]
        moved += sum(map(len, left)) - sum(map(len, held))
        left = [[saga] for sagas in held for saga in sagas]
        if not left:
            return moved
    log.error("%d sagas are held by somebody else: their deadlines and waits are off by %+.1f s", len(left), jumped_s)
    return moved


def _values(by: timedelta, unsure_s: float) -> dict[str, Any]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT shop_now() - make_interval(secs => %s)", [unsure_s])
        return {"by": by, "since": cursor.fetchone()[0]}


def _move(sagas: list[int], values: dict[str, Any]) -> bool:
    """False: somebody holds one of them."""
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            may_be_lost()
            cursor.execute(SAGAS, values | {"sagas": sagas})
            cursor.execute(RECORDS, values | {"sagas": sagas})
    except DatabaseError as error:
        if not was_not_granted(error):
            raise
        return False
    return True
