"""Backlog: a message that may still wait in its queue is not lost. Its saga is due later, nothing is published again, and its patience does not grow by it.

Note: how much later. After its patience, or after half of the time that the message has waited so far. So a queue of ten thousand, in which each waits for minutes,
is inspected a few times and not every ten seconds; and a loss is noticed after half as long again as the message was missing.
"""

from collections.abc import Collection
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db import connection
from django.db.models import F

from fulfillment.clock import in_seconds, patience_s, shop_now
from fulfillment.code_release import RELEASE
from fulfillment.engine.journal import save
from fulfillment.engine.transition import transition
from fulfillment.models import Saga
from orders.durability import may_be_lost

# The conditions are those of ``recovery.inspection._may_still_wait_in_its_queue``. It is one statement, because all of a long queue comes to it again and again.
# IS NOT DISTINCT FROM: as in fulfillment/queries.sql. A page would read the index of all open sagas, which is the whole backlog.
POSTPONE = """
WITH waits AS (
    SELECT s.id, s.failure <> '' AS compensating FROM fulfillment_saga AS s
    WHERE s.id = ANY(%(sagas)s) AND s.wake_at <= shop_now() AND s.release <= %(release)s AND s.cancel_requested_at IS NULL
        AND (s.state IS NOT DISTINCT FROM 'running' OR s.state IS NOT DISTINCT FROM 'compensating')
        AND s.launched_at <= shop_now()
        AND s.launched_at >= coalesce(CASE WHEN s.failure = '' THEN %(saga)s::timestamptz ELSE %(compensation)s::timestamptz END, '-infinity')
        AND EXISTS (
            SELECT FROM fulfillment_steprecord AS r
            WHERE r.saga_id = s.id AND r.state = CASE WHEN s.failure = '' THEN 'scheduled' ELSE 'compensation_scheduled' END)
    FOR UPDATE OF s SKIP LOCKED
), until AS (
    SELECT s.id, waits.compensating, shop_now() + least(
        greatest(%(patience_s)s * 2 ^ least(s.relaunches, 16), extract(epoch FROM shop_now() - s.launched_at) / 2), %(cap_s)s
    ) * interval '1 second' AS instant
    FROM waits JOIN fulfillment_saga AS s USING (id)
)
UPDATE fulfillment_saga AS s SET wake_at = until.instant, due_from = until.instant FROM until WHERE s.id = until.id
RETURNING s.id, until.compensating
"""
MOVE_UP = """
WITH early AS (
    SELECT id FROM fulfillment_saga WHERE id = ANY(%(sagas)s) AND due_from < wake_at AND wake_at > shop_now() FOR NO KEY UPDATE SKIP LOCKED
)
UPDATE fulfillment_saga AS s SET due_from = s.wake_at FROM early WHERE s.id = early.id
RETURNING s.id
"""


def postpone(saga: Saga) -> None:
    """The saga, which is locked, is due later."""
    waited_s = (shop_now() - saga.launched_at).total_seconds() if saga.launched_at else 0.0
    save(saga, wake_at=in_seconds(max(patience_s(saga.relaunches), min(waited_s / 2, settings.PATIENCE_CAP_S))))


@transition
def postpone_all(sagas: Collection[int], lost_before: dict[str, datetime | None]) -> list[tuple[int, bool]]:
    """Those of ``sagas`` that are due, scheduled, and may still wait are due later. Returns (saga, whether it is a compensation) of each. A locked row is passed.

    ``lost_before``: queue ("saga", "compensation") → instant. A message that was published before it cannot be in the queue any more. None: nobody knows.
    """
    may_be_lost()
    values: dict[str, Any] = lost_before | {
        "sagas": list(sagas),
        "release": RELEASE,
        "patience_s": settings.PATIENCE_S,
        "cap_s": settings.PATIENCE_CAP_S,
    }
    with connection.cursor() as cursor:
        cursor.execute(POSTPONE, values)
        return [(saga, compensating) for saga, compensating in cursor.fetchall()]


@transition
def move_up_all(sagas: Collection[int]) -> set[int]:
    """Those of ``sagas`` that are not due yet are met again when they are (``due_from``). Returns them. A locked row is passed."""
    may_be_lost()
    with connection.cursor() as cursor:
        cursor.execute(MOVE_UP, {"sagas": list(sagas)})
        return {saga for (saga,) in cursor.fetchall()}


def move_up(saga: Saga) -> None:
    """The saga, which is locked and was met by the sweep, is met again at its ``wake_at``, and not before."""
    Saga.objects.filter(pk=saga.pk, due_from__lt=F("wake_at")).update(due_from=F("wake_at"))
