"""The relay's heartbeat: how old it is tells whether the relay is at work."""

from django.db import transaction

from orders.clock import ShopNow, shop_now
from orders.durability import may_be_lost
from sideeffects.models import RelayHeartbeat

HEARTBEAT_EVERY_S = 5.0


def record_heartbeat() -> None:
    """Record that the relay is at work. A crash may lose it: the next heartbeat comes soon."""
    with transaction.atomic():
        may_be_lost()
        RelayHeartbeat.objects.update_or_create(pk=1, defaults={"at": ShopNow()})


def age_s() -> float | None:
    """Seconds since the relay was last at work. None: it never was."""
    last = RelayHeartbeat.objects.filter(pk=1).values_list("at", flat=True).first()
    return None if last is None else (shop_now() - last).total_seconds()
