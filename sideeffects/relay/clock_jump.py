"""A jump of the database's clock, as far as it concerns deliveries and their circuits."""

from datetime import timedelta

from django.db import transaction
from django.db.models import F

from orders.durability import may_be_lost
from sideeffects.models import OPEN, Circuit, Delivery


def move_with_the_clock(jumped_s: float) -> None:
    """Move the instants of open deliveries by the jump of the database's clock.

    If the clock was set back, open deliveries would stand still for as long, so they are moved back too. If it was set forward, they are only inspected sooner.
    A jump never counts as time in which a delivery has failed.
    """
    by = timedelta(seconds=jumped_s)
    with transaction.atomic():
        may_be_lost()
        Delivery.objects.filter(failing_since__isnull=False).update(failing_since=F("failing_since") + by)
        if jumped_s < 0:
            Delivery.objects.filter(state__in=OPEN).update(wake_at=F("wake_at") + by, launched_at=F("launched_at") + by)
            Circuit.objects.update(next_probe_at=F("next_probe_at") + by, probe_until=F("probe_until") + by)
