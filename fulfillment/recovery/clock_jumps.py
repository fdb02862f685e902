"""Clock jumps: when the database's clock has jumped, the instants of open sagas are moved with it. So no deadline passes, and nothing stands still, by the jump.

Note: which instants. What was written before the jump is moved. What was written between the jump and the sweep's noticing it has the new clock already: these are
a few seconds, and the instant itself shows which it is. ``wake_at`` is never moved into the future: an inspection that comes too early harms nobody. A stamp from a
clock that was ahead proves nothing, and is removed.

Note: nobody watched. Nobody can tell whether the clock was set while no sweep ran, so nothing is moved then. If it was set forward, everything that waits looks
late, and is given that time back (``fulfillment.engine.budget``). Leases and look-ups go by what a process has itself seen pass.
"""

import logging
import time
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from django.db import DatabaseError, DataError, connection, transaction

from fulfillment.models import FINAL, Saga
from orders.database import is_timeout

log = logging.getLogger(__name__)

BATCH = 500
ROUNDS = 3  # how often those are tried again that somebody holds


def _moved(column: str, known_by: str = "") -> str:
    """``column`` moved with the clock, unless ``known_by`` (itself) was written since the jump."""
    return f"{column} = CASE WHEN {known_by or column} BETWEEN %(since)s AND shop_now() THEN {column} ELSE {column} + %(by)s END"


def _due_as_ever(column: str) -> str:
    """A clock that was set back moves ``column`` back. One that was set forward makes due now what would not be due yet, and nothing more overdue than it was.

    NULL stays NULL: a saga that waits for a person is not due.
    """
    return f"""{column} = CASE WHEN %(by)s < interval '0' OR {column} IS NULL THEN {column} + %(by)s
        ELSE greatest({column}, least({column} + %(by)s, shop_now())) END"""


def _moved_back(column: str) -> str:
    return f"{column} = CASE WHEN %(by)s < interval '0' THEN {column} + %(by)s ELSE {column} END"


SAGAS = f"""
UPDATE fulfillment_saga SET {_due_as_ever("wake_at")}, {_moved("launched_at")}, {_moved("held_at")}, {_moved("left_since")},
    {_moved("deadline_at", "opened_at")} WHERE id = ANY(%(sagas)s)
"""
RECORDS = f"""
UPDATE fulfillment_steprecord SET {_moved("scheduled_at")}, {_moved("first_started_at")}, {_moved("compensation_scheduled_at")},
    {_moved("asked_until", "started_at")}, {_moved("compensation_asked_until", "started_at")}, {_moved("started_at")} WHERE saga_id = ANY(%(sagas)s)
"""
PAST_ATTEMPTS = f"""
UPDATE fulfillment_pastattempt SET {_moved("asked_until", "started_at")}, {_moved("started_at")}
WHERE record_id IN (SELECT id FROM fulfillment_steprecord WHERE saga_id = ANY(%(sagas)s))
"""
THE_REST = (
    f"UPDATE fulfillment_quarantine SET {_moved_back('inspect_at')}",
    f"UPDATE fulfillment_circuit SET {_moved('opened_at')}, {_moved_back('next_probe_at')}, {_moved_back('probe_until')}",
    f"UPDATE fulfillment_queueprobe SET {_moved('awaited_since')}",
    "UPDATE fulfillment_queueprobe SET sent_at = NULL, awaited_since = NULL WHERE sent_at > shop_now()",
    "UPDATE fulfillment_queueprobe SET out_at = NULL WHERE out_at > shop_now()",
)


@dataclass
class Jump:
    """The clock was set by ``seconds``. What was written since ``believed_until`` (monotonic) may have either clock.

    ``moved``: the sagas that were moved by it. ``last``: the transaction that has moved some of them last. Nobody knows yet whether it was committed.
    """

    seconds: float
    believed_until: float
    moved: set[int] = field(default_factory=set)
    is_reported: bool = False
    last: tuple[str, list[int]] | None = None

    @property
    def unsure_s(self) -> float:
        return time.monotonic() - self.believed_until


def move_with_the_clock(jump: Jump) -> int:
    """Move what is open by the jump. Returns how many sagas were moved. After an interruption it is called again, and nothing is moved twice."""
    by = timedelta(seconds=jump.seconds)
    _ask_what_became_of_the_last(jump)
    if not jump.is_reported:
        log.warning("The database's clock has jumped by %+.1f s: what is open is moved with it", jump.seconds)
        with transaction.atomic(), connection.cursor() as cursor:
            for statement in THE_REST:
                cursor.execute(statement, _values(by, jump.unsure_s))
        jump.is_reported = True
    _move_all(by, jump)
    return len(jump.moved)


def _ask_what_became_of_the_last(jump: Jump) -> None:
    """The connection may have been lost in its COMMIT: then the server says whether it was committed. One that the server does not know was not."""
    if jump.last is None:
        return
    transaction_id, sagas = jump.last
    jump.last = None
    with suppress(DataError), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT pg_xact_status(%s::xid8)", [transaction_id])
        if cursor.fetchone()[0] == "committed":
            jump.moved.update(sagas)


def _move_all(by: timedelta, jump: Jump) -> None:
    """Each page of open sagas has a transaction of its own, which waits for the disk: a server that has crashed often comes back with another clock."""
    found = Saga.objects.exclude(state__in=FINAL).order_by("id").values_list("pk", flat=True)
    open_sagas = [saga for saga in found if saga not in jump.moved]
    left = [open_sagas[at : at + BATCH] for at in range(0, len(open_sagas), BATCH)]
    for _ in range(ROUNDS):
        held = []
        for sagas in left:
            if not _move(sagas, _values(by, jump.unsure_s), jump):
                held += sagas
        left = [[saga] for saga in held]
        if not left:
            return
    log.error("%d sagas are held by somebody else: their deadlines and waits are off by %s", len(left), by)


def _values(by: timedelta, unsure_s: float) -> dict[str, Any]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT shop_now() - make_interval(secs => %s)", [unsure_s])
        return {"by": by, "since": cursor.fetchone()[0]}


def _move(sagas: list[int], values: dict[str, Any], jump: Jump) -> bool:
    """False: somebody holds one of them."""
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SELECT pg_current_xact_id()::text")
            jump.last = cursor.fetchone()[0], sagas
            cursor.execute(SAGAS, values | {"sagas": sagas})
            cursor.execute(RECORDS, values | {"sagas": sagas})
            cursor.execute(PAST_ATTEMPTS, values | {"sagas": sagas})
    except DatabaseError as error:
        if not is_timeout(error):
            raise
        jump.last = None
        return False
    jump.moved.update(sagas)
    jump.last = None
    return True
