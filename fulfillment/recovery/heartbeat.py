"""The heartbeat of the sweep: one row says when it was last at work, so that its death is noticed, and when it last started a reconciliation."""

from datetime import timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import Q

from fulfillment.clock import ShopNow, in_seconds, shop_now
from fulfillment.models import SweepHeartbeat
from orders.durability import may_be_lost

HEARTBEAT_EVERY = timedelta(seconds=5)


def record_heartbeat() -> int:
    """Note that the sweep is at work. The caller does so at most every five seconds. The commit may be lost, because the next one comes."""
    with transaction.atomic():
        may_be_lost()
        recorded = SweepHeartbeat.objects.filter(pk=1).update(at=ShopNow())
        if not recorded:
            SweepHeartbeat.objects.create(pk=1, at=ShopNow(), reconciled_at=ShopNow())
    return recorded


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
