"""What waits for a person: dead letters, and what is held for a subscriber that is gone. One incident for each subscriber and cause, and what may be decided.

Nobody is told letter by letter: a mail server that is away for a day would open thousands of incidents about one thing.
"""

from dataclasses import dataclass

from django.conf import settings
from django.db import transaction
from django.db.models import Count, Max, QuerySet

from orders.attention import Incident, IncidentKind, IncidentState, open_incident, resolve
from orders.clock import ShopNow
from sideeffects import outbox
from sideeffects.models import Delivery, DeliveryState

WAITING = (DeliveryState.DEAD, DeliveryState.HELD)
CODES = {DeliveryState.DEAD: "out_of_tries", DeliveryState.HELD: "subscriber_removed"}
TOLD = {DeliveryState.DEAD: "dead letters", DeliveryState.HELD: "deliveries are held, because the subscriber was removed"}
AT_ONCE = 500
DECISIONS = {"retry": DeliveryState.PENDING, "discard": DeliveryState.DISCARDED}


@dataclass(frozen=True, kw_only=True)
class Pile:
    """Deliveries of one subscriber that wait for a person. ``error``: the last one's, a sentence."""

    subscriber: str
    state: DeliveryState
    count: int
    error: str


def piles() -> list[Pile]:
    """On an index of its own: as fast as there is little to decide."""
    rows = Delivery.objects.filter(state__in=WAITING).order_by().values("subscriber", "state").annotate(count=Count("id"), last=Max("id"))
    errors = dict(Delivery.objects.filter(pk__in=[row["last"] for row in rows]).values_list("pk", "error_message"))
    found = [
        Pile(subscriber=row["subscriber"], state=DeliveryState(row["state"]), count=row["count"], error=errors.get(row["last"], ""))
        for row in rows
    ]
    return sorted(found, key=lambda pile: (pile.subscriber, pile.state))


def tell() -> None:
    """Open an incident for each pile, keep its count up to date, and close those whose pile is gone. Writes nothing where nothing has changed."""
    told = {(incident.step, incident.code): incident for incident in _open_incidents()}
    for pile in piles():
        code, message = CODES[pile.state], f"{pile.count} {TOLD[pile.state]}{f'; the last: {pile.error}' if pile.error else ''}"[:300]
        known = told.pop((pile.subscriber, code), None)
        if known is None or known.message != message:
            with transaction.atomic():
                open_incident(
                    IncidentKind.DEAD_LETTER,
                    subject=pile.subscriber,
                    step=pile.subscriber,
                    code=code,
                    message=message,
                    currency=settings.SHOP_CURRENCY,
                )
    if told:
        with transaction.atomic():
            gone = Incident.objects.filter(pk__in=[incident.pk for incident in told.values()])
            resolve(gone, "gone", "nothing waits for a person any more", "relay")


def _open_incidents() -> QuerySet[Incident]:
    return Incident.objects.exclude(state=IncidentState.RESOLVED).filter(kind=IncidentKind.DEAD_LETTER)


def decide(decision: str, subscriber: str, actor: str, reason: str, order: str = "") -> int:
    """``retry`` gives fresh tries, ``discard`` ends it. Of one order, or of all; each with its line of history. Returns how many."""
    to, decided = DECISIONS[decision], 0
    due = {"tries": 0, "unspent": 0, "relaunches": 0, "wake_at": ShopNow()} if to == DeliveryState.PENDING else {}
    waiting = Delivery.objects.filter(state__in=WAITING, subscriber=subscriber).select_related("fact").order_by("id")
    if order:
        waiting = waiting.filter(fact__order__number=order)
    while True:
        with transaction.atomic():
            batch = list(waiting.select_for_update(of=("self",), no_key=True)[:AT_ONCE])
            for delivery in batch:
                outbox.move(delivery, to, code=decision, detail={"message": reason}, actor=actor, **due)
        if not batch:
            return decided
        decided += len(batch)
