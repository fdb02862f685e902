"""The heartbeat of the sweep: one row says when it was last at work, so that its death is noticed, and when it last started a reconciliation.

It also says for how long the sweep has seen the database's clock go as it should. So a worker's process that has just begun need not wait until it has itself seen
that what was asked before is over (``Claim.seen_to_pass``).
"""

from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import Q

from fulfillment.clock import ShopNow, in_seconds, shop_now
from fulfillment.models import SweepHeartbeat
from fulfillment.recovery.containment import ClockHasJumped
from orders.clock_watch import ClockWatch
from orders.durability import may_be_lost

HEARTBEAT_EVERY = timedelta(seconds=5)


def record_heartbeat(watch: ClockWatch | None = None) -> int:
    """Note that the sweep is at work. The caller does so at most every five seconds. The commit may be lost, because the next one comes.

    ``watch``: the sweep's own. Raises ClockHasJumped, and notes nothing.
    """
    with transaction.atomic():
        seen = {} if watch is None else _watched(watch)
        may_be_lost()
        recorded = SweepHeartbeat.objects.filter(pk=1).update(at=ShopNow(), **seen)
        if not recorded:
            SweepHeartbeat.objects.create(pk=1, at=ShopNow(), reconciled_at=ShopNow(), **seen)
    return recorded


def _watched(watch: ClockWatch) -> dict[str, Any]:
    """The clock is read once more, in this transaction: nobody has seen what happened since the last reading."""
    if jumped_s := watch.jumped_s():
        raise ClockHasJumped(jumped_s)
    return {"watched_from": in_seconds(-watch.calm_until_read_s), "watched_until": ShopNow()}


def sweep_age_s() -> float | None:
    """Seconds since the sweep was last at work. None: it never was."""
    last = SweepHeartbeat.objects.filter(pk=1).values_list("at", flat=True).first()
    return None if last is None else (shop_now() - last).total_seconds()


def reconciliation_is_due() -> bool:
    """True once every RECONCILE_EVERY_S, for the first that asks. It is noted as begun."""
    with transaction.atomic():
        may_be_lost()
        old = Q(reconciled_at__isnull=True) | Q(reconciled_at__lt=in_seconds(-settings.RECONCILE_EVERY_S))
        return bool(SweepHeartbeat.objects.filter(old, pk=1).update(reconciled_at=ShopNow()))
