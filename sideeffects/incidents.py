"""Incidents of the side effects: one for each subscriber and cause.

A cause is a group of dead letters, a subscriber that was removed, a circuit that is open, or deliveries that have failed for a long time. There is never an
incident for a single letter: a mail server that is away for a day would open thousands about one thing.
"""

from collections import defaultdict
from collections.abc import Iterator

from django.conf import settings
from django.db import transaction
from django.db.models import Count, QuerySet

from orders.clock import in_seconds
from orders.incidents import Incident, IncidentKind, open_incident, resolve, unresolved
from orders.text import counted
from sideeffects import circuit, dead_letters, deliveries
from sideeffects.models import Circuit, Delivery, DeliveryState

OUT_OF_TIME, REMOVED, FAILING = "out_of_time", "subscriber_removed", "failing"


def _causes() -> Iterator[tuple[str, str, str]]:
    """The subscriber, the code and the sentence of each cause."""
    held: dict[str, int] = defaultdict(int)
    for group in dead_letters.groups():
        if group.state == DeliveryState.SUBSCRIBER_REMOVED:
            held[group.subscriber] += group.count
        else:
            yield (
                group.subscriber,
                group.code or OUT_OF_TIME,
                f"{counted(group.count, 'dead letter')}{f'; the last: {group.error}' if group.error else ''}",
            )
    for subscriber, count in held.items():
        yield subscriber, REMOVED, f"no code knows this subscriber any more; held for it: {count}"
    for subscriber, sentence in not_answering().items():
        yield subscriber, deliveries.NOT_ANSWERING, sentence
    for subscriber, count in _failing().exclude(subscriber__in=circuit.not_closed().values("subscriber")):
        yield subscriber, FAILING, f"failing for longer than {settings.QUEUE_UNSERVED_LIMIT_S:g} s, and still tried: {count}"


def not_answering() -> dict[str, str]:
    """For each subscriber whose circuit is open: since when its service has not answered, and how many deliveries wait."""
    return {
        one.subscriber: f"no answer since {one.opened_at:%Y-%m-%d %H:%M:%S} UTC ({one.last_error}); "
        f"one asks again and again, {circuit.waiting(one.subscriber)} wait and spend no try"
        for one in Circuit.objects.exclude(opened_at=None).order_by("pk")
    }


def _failing() -> "QuerySet[Delivery, tuple[str, int]]":
    """A delivery may be tried for days. A person hears of it before that."""
    long = Delivery.objects.filter(failing_since__lte=in_seconds(-settings.QUEUE_UNSERVED_LIMIT_S))
    return long.order_by("subscriber").values_list("subscriber").annotate(Count("pk"))


def refresh() -> None:
    """Open an incident for each cause, keep its count up to date, and resolve the incidents whose cause is gone. Without a change nothing is written."""
    opened = {(incident.step, incident.code): incident for incident in unresolved(kind=IncidentKind.DEAD_LETTER)}
    for subscriber, code, sentence in _causes():
        known = opened.pop((subscriber, code[:60]), None)
        if known is None or known.message != sentence[:300]:
            with transaction.atomic():
                open_incident(
                    IncidentKind.DEAD_LETTER,
                    subject=subscriber,
                    step=subscriber,
                    code=code,
                    message=sentence,
                    currency=settings.SHOP_CURRENCY,
                )
    if opened:
        with transaction.atomic():
            gone = Incident.objects.filter(pk__in=[incident.pk for incident in opened.values()])
            resolve(gone, "gone", "nothing waits for a person any more", "relay")
