"""Registration: the table of subscribers follows what the code declares."""

import functools
import operator
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import Q, QuerySet

from orders import facts
from orders.clock import ShopNow, in_seconds
from orders.durability import may_be_lost
from orders.facts import Fact
from orders.lowwater import A_PAGE
from sideeffects import deliveries
from sideeffects.containment import Containment
from sideeffects.models import OPEN, Delivery, DeliveryState, Subscriber, SubscriberState
from sideeffects.relay import aside


def register(wanted: Mapping[str, Collection[str]], release: int) -> bool:
    """Record who subscribes to which types of events, as this code declares it. A new subscriber is not owed the facts that were numbered before, nor is one that
    reacts to a new type the facts of this type.

    Older code changes nothing that newer code has recorded. The deliveries of a subscriber that has gone, or has come back, are written one page at a time.
    False: there are more, for the next round.
    """
    with transaction.atomic():
        may_be_lost()
        rows = {row.name: row for row in Subscriber.objects.select_for_update()}
        for name, types in wanted.items():
            row = rows.get(name)
            if row is None:
                first = facts.next_number()
                Subscriber.objects.create(name=name, starts_at=first, types=dict.fromkeys(sorted(types), first), release=release)
            elif row.release <= release:
                _confirm(row, types, release)
    names = list(wanted)
    rows |= {row.name: row for row in _unknown(names)}
    gone = [row for name, row in rows.items() if name not in names and row.release <= release and row.state == SubscriberState.ACTIVE]
    return all([_hand_back(names), *(_remove(row, release) for row in gone)])


def _unknown(names: Collection[str]) -> Iterable[Subscriber]:
    """Subscribers that only deliveries name, for example because a worker of a newer release has written them.

    After ``UNKNOWN_STEP_AFTER_S``, as long as an order waits for newer code, such a name gets a row. Then it is removed like any other name that no code knows.
    """
    long_ago = in_seconds(-settings.UNKNOWN_STEP_AFTER_S)
    waiting = Delivery.objects.filter(Q(wake_at__lt=long_ago) | Q(launched_at__lt=long_ago)).exclude(subscriber__in=names)
    waiting = waiting.exclude(subscriber__in=Subscriber.objects.values("name"))
    for name in waiting.order_by("subscriber").values_list("subscriber", flat=True).distinct():
        yield Subscriber.objects.get_or_create(name=name, defaults={"starts_at": facts.next_number(), "release": 0})[0]


def _confirm(row: Subscriber, types: Collection[str], release: int) -> None:
    """A subscriber that has come back is owed what it was still owed when it went, and what comes from now on."""
    if row.state == SubscriberState.REMOVED:
        row.starts_at = facts.next_number()
    if (row.state, row.release, row.types.keys()) != (SubscriberState.ACTIVE, release, set(types)):
        row.state, row.release = SubscriberState.ACTIVE, release
        row.types = {type_: row.types[type_] if type_ in row.types else facts.next_number() for type_ in sorted(types)}
        row.save()


def _hand_back(names: Collection[str]) -> bool:
    active = Subscriber.objects.filter(name__in=names, state=SubscriberState.ACTIVE).values("name")
    held = Delivery.objects.filter(subscriber__in=active, state=DeliveryState.SUBSCRIBER_REMOVED)
    _page(
        held,
        aside.deliveries,
        lambda some: _move_all(held.filter(pk__in=some), DeliveryState.PENDING, code="subscriber_is_back", wake_at=ShopNow()),
    )
    return not held.exists()


def _remove(row: Subscriber, release: int) -> bool:
    """Record what the subscriber is still owed, and hold it until a person decides: no code could deliver it.

    The subscriber is removed when all of this is recorded. Until then it is owed every new fact, like any other.
    """
    of_its_types = functools.reduce(operator.or_, (Q(type=type_, number__gte=first) for type_, first in row.types.items()), Q(pk__in=[]))
    unheard = Fact.objects.filter(of_its_types, relayed_at__isnull=True, number__gte=row.starts_at).exclude(deliveries__subscriber=row.name)
    still_open = Delivery.objects.filter(subscriber=row.name, state__in=OPEN)
    held: dict[str, Any] = {"code": "subscriber_removed", "wake_at": None, "launched_at": None, "claim": None}
    _page(unheard, aside.facts, lambda some: _hold_unheard(unheard.filter(pk__in=some), row.name, held))
    _page(still_open, aside.deliveries, lambda some: _move_all(still_open.filter(pk__in=some), DeliveryState.SUBSCRIBER_REMOVED, **held))
    with transaction.atomic():
        may_be_lost()
        Subscriber.objects.select_for_update().get(pk=row.pk)
        if unheard.exists() or still_open.exists():
            return False
        row.state, row.release = SubscriberState.REMOVED, release
        row.save()
        return True


def _page(rows: QuerySet[Any], containment: Containment, work: Callable[[Sequence[Any]], list[None]]) -> None:
    containment.work(list(rows.exclude(pk__in=containment.keys()).order_by("pk").values_list("pk", flat=True)[:A_PAGE]), work)


def _move_all(rows: QuerySet[Delivery], to: DeliveryState, **changes: Any) -> list[None]:
    """Move the deliveries that nobody holds."""
    with transaction.atomic():
        may_be_lost()
        for delivery in rows.select_related("fact").select_for_update(of=("self",), no_key=True, skip_locked=True):
            deliveries.move(delivery, to, **changes)
    return []


def _hold_unheard(unheard: QuerySet[Fact], name: str, held: dict[str, Any]) -> list[None]:
    """Hold the facts that nobody is delivering right now."""
    with transaction.atomic():
        may_be_lost()
        for fact in unheard:
            if not deliveries.is_being_delivered(fact.pk, name):
                deliveries.move(Delivery(fact=fact, subscriber=name), DeliveryState.SUBSCRIBER_REMOVED, **held)
    return []
