"""Whether the bus keeps up: how long it has taken nothing while events wait, for findings, and for the incident that tells a person."""

from datetime import datetime

from django.conf import settings
from django.db import transaction

from orders.clock import shop_now
from orders.facts import Fact
from orders.incidents import IncidentKind, open_incident, resolve, unresolved
from sideeffects.models import BusPosition

SUBJECT = "bus"
COUNTED_TO = 10_000


def waiting() -> int:
    """How many events the bus has not got; 10,000 stand for more."""
    return Fact.objects.filter(number__gt=_published())[:COUNTED_TO].count()


def stands_still_for_s() -> float:
    """Since when it has taken nothing although something waits, in seconds; 0: nothing waits."""
    first = Fact.objects.filter(number__gt=_published()).order_by("number").values_list("at", flat=True).first()
    if first is None:
        return 0.0
    return (shop_now() - max(first, _moved_at() or first)).total_seconds()


def refresh_incident() -> None:
    """One while the bus has stood still for longer than QUEUE_UNSERVED_LIMIT_S; resolved when it moves, or when there is no bus any more."""
    still_s = stands_still_for_s() if settings.BUS_URL else 0.0
    known = unresolved(kind=IncidentKind.QUEUE_UNSERVED, subject=SUBJECT)
    if still_s > settings.QUEUE_UNSERVED_LIMIT_S:
        if not known.exists():
            with transaction.atomic():
                message = "the bus takes no events, and programs outside hear of nothing; none is lost"
                open_incident(IncidentKind.QUEUE_UNSERVED, subject=SUBJECT, currency=settings.SHOP_CURRENCY, message=message)
    elif known.exists():
        with transaction.atomic():
            resolve(known, "served", "the bus takes events again", "relay")


def _published() -> int:
    return BusPosition.objects.filter(name=settings.BUS_NAME).values_list("published", flat=True).first() or 0


def _moved_at() -> datetime | None:
    return BusPosition.objects.filter(name=settings.BUS_NAME).values_list("at", flat=True).first()
