"""Quarantine: a saga that the sweep cannot work on harms no other. It is not in the list of what is due, is inspected less and less often, and a person is notified.

Note: the last resort. Nothing here reads a plan or a receipt, derives an amount, or touches the saga's own row: what broke the inspection would break this too.
It writes constants and plain columns, into tables of its own, and without a foreign key wherever possible.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import DatabaseError, connection, transaction
from django.db.models import Q

from fulfillment.clock import ShopNow, furthest_s
from fulfillment.models import Quarantine, Saga
from orders.clock import shop_now
from orders.database import is_our_trouble
from orders.incidents import Incident, IncidentKind, open_incident, resolve, resolve_incidents
from orders.models import Order

BATCH = 100
CODE = "sweep_failed"
# The code of an inspection that failed because somebody else holds rows that the saga needs. Nothing is wrong with the rows.
ROWS_LOCKED = "locked"
ACTOR = "sweep"
WORKED_ON = "the sweep could work on it again"

# One statement; if its commit is lost, an inspection is repeated. The wait doubles as a step's does until a person is notified. From then on it doubles again, up
# to five minutes. It varies by 20 %, so that a thousand do not come back at once.
ADD = """
INSERT INTO fulfillment_quarantine AS held (saga_id, order_id, failures, code, first_at, last_at, inspect_at)
SELECT %(saga)s, %(order)s, 1, %(code)s, shop_now(), shop_now(), shop_now() + %(first_s)s * %(jitter)s * interval '1 second'
WHERE set_config('synchronous_commit', 'off', true) IS NOT NULL
ON CONFLICT (saga_id) DO UPDATE SET failures = held.failures + 1, code = excluded.code, last_at = shop_now(),
    inspect_at = shop_now() + %(jitter)s * interval '1 second' * CASE
        WHEN held.failures + 1 < %(notify_after)s THEN least(%(first_s)s * 2 ^ least(held.failures, 16), %(cap_s)s)
        ELSE least(%(cap_s)s * 2 ^ least(held.failures + 1 - %(notify_after)s, 16), %(notified_cap_s)s) END
RETURNING failures >= %(notify_after)s AND notified_at IS NULL
"""


def add(saga_id: int, order_id: int | None, code: str, jitter: float) -> bool:
    """One more inspection has failed, with ``code``. True: it is time to notify a person."""
    values: dict[str, Any] = {
        "saga": saga_id,
        "order": order_id,
        "code": code[:60],
        "first_s": settings.BACKOFF_S,
        "cap_s": settings.BACKOFF_CAP_S,
        "notified_cap_s": settings.PATIENCE_CAP_S,
        "notify_after": settings.POISON_AFTER,
        "jitter": jitter,
    }
    with connection.cursor() as cursor:
        cursor.execute(ADD, values)
        return bool(cursor.fetchone()[0])


def order_of(saga_id: int) -> int | None:
    """The order of the saga. None: that cannot be read."""
    try:
        with transaction.atomic():
            return Saga.objects.filter(pk=saga_id).values_list("order_id", flat=True).first()
    except DatabaseError as error:
        if is_our_trouble(error):
            raise
        return None


# --- a person is notified ------------------------------------------------------------------------------------------------


def open_incident_of(saga_id: int, order_id: int | None, code: str) -> None:
    """Open the incident of last resort: the whole total counts as at risk. Where its order's row cannot be referred to, it has no order."""
    about = _about(saga_id, order_id)
    try:
        _open_incident(saga_id, order_id, about, code)
    except DatabaseError as error:
        if is_our_trouble(error):
            raise
        _open_incident(saga_id, None, about, code)


def _open_incident(saga_id: int, order_id: int | None, about: tuple[str, str, int], code: str) -> None:
    number, currency, total_minor = about
    with transaction.atomic():
        Quarantine.objects.filter(pk=saga_id).update(notified_at=ShopNow())
        open_incident(
            IncidentKind.QUARANTINED,
            subject=number,
            order_id=order_id,
            code=CODE,
            message=_message(code),
            currency=currency,
            amount_minor=total_minor,
        )


def _message(code: str) -> str:
    if code == ROWS_LOCKED:
        return "somebody holds rows that it needs, and does not let go"
    return f"the sweep has failed on it again and again: {code}"


def _about(saga_id: int, order_id: int | None) -> tuple[str, str, int]:
    """(number, currency, total) from plain columns. An order that cannot be read is named after its saga, with a total of 0."""
    unknown = (f"saga {saga_id}", settings.SHOP_CURRENCY, 0)
    if order_id is None:
        return unknown
    try:
        with transaction.atomic():
            return Order.objects.filter(pk=order_id).values_list("number", "currency", "total_minor").first() or unknown
    except DatabaseError as error:
        if is_our_trouble(error):
            raise
        return unknown


# --- inspected again ------------------------------------------------------------------------------------------------------


def due_again(now: datetime) -> Iterator[tuple[int, int | None]]:
    """(saga, order) of what is due for another inspection, longest overdue first."""
    after: tuple[datetime, int] | None = None
    while page := _page(now, after):
        for inspect_at, saga_id, order_id in page:
            yield saga_id, order_id
            after = (inspect_at, saga_id)


def _page(now: datetime, after: tuple[datetime, int] | None) -> list[tuple[datetime, int, int | None]]:
    too_far_away = now + timedelta(seconds=furthest_s())
    waiting = Quarantine.objects.filter(Q(inspect_at__lte=now) | Q(inspect_at__gt=too_far_away)).order_by("inspect_at", "saga_id")
    if after is not None:
        waiting = waiting.filter(Q(inspect_at__gt=after[0]) | Q(inspect_at=after[0], saga_id__gt=after[1]))
    return list(waiting.values_list("inspect_at", "saga_id", "order_id")[:BATCH])


def release(saga_id: int, order_id: int | None) -> None:
    """The sweep could work on it. From now on it is due as any other, and its incident is resolved."""
    with transaction.atomic():
        Quarantine.objects.filter(pk=saga_id).delete()
        if order_id is not None:
            resolve_incidents(order_id, "worked_on", WORKED_ON, ACTOR, kind=IncidentKind.QUARANTINED)
        subjects = [_about(saga_id, order_id)[0], f"saga {saga_id}"]
        without_order = Incident.objects.filter(kind=IncidentKind.QUARANTINED, order__isnull=True, subject__in=subjects)
        resolve(without_order, "worked_on", WORKED_ON, ACTOR)


def inspect_now(held: Quarantine) -> None:
    """A person wants it to be inspected now. If it fails again, they are notified again."""
    Quarantine.objects.filter(pk=held.pk).update(inspect_at=ShopNow(), notified_at=None)


def locked_count() -> int:
    """How many of them wait only until somebody else releases rows that they need."""
    return Quarantine.objects.filter(code=ROWS_LOCKED).count()


def held_since() -> tuple[int, float]:
    """How many are in quarantine, and for how many seconds the oldest of them. (0, 0.0): none."""
    count = Quarantine.objects.count()
    first = Quarantine.objects.order_by("first_at").values_list("first_at", flat=True).first()
    return count, (shop_now() - first).total_seconds() if first else 0.0
