"""What waits for a person, or has failed for so long that one should know: one incident for each subscriber and cause. And what a person gives up.

Nobody is told letter by letter: a mail server that is away for a day would open thousands of incidents about one thing.
"""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from django.conf import settings
from django.db import transaction
from django.db.models import Count, Max, Min, Q, QuerySet

from orders import refusals
from orders.attention import Incident, IncidentKind, open_incident, resolve, unresolved
from orders.clock import in_seconds
from orders.operators import Actor
from sideeffects import circuit, deliveries, relay
from sideeffects.models import Circuit, Delivery, DeliveryState

WAITING = (DeliveryState.DEAD, DeliveryState.HELD)
OUT_OF_TIME, REMOVED, FAILING = "out_of_time", "subscriber_removed", "failing"


@dataclass(frozen=True, kw_only=True)
class Pile:
    """Deliveries of one subscriber in one state, with one cause. ``code``: of the error; ``error``: the last one's, a sentence."""

    subscriber: str
    state: DeliveryState
    code: str
    count: int
    error: str


def piles() -> list[Pile]:
    """What waits for a person. On an index of its own: as fast as there is little to decide."""
    return _piled(Delivery.objects.filter(state__in=WAITING))


def all_piles() -> list[Pile]:
    """Of everything that has not happened and was not given up; each part on an index of its own."""
    return _piled(Delivery.objects.filter(Q(state__in=WAITING) | Q(wake_at__isnull=False) | Q(launched_at__isnull=False)))


def _piled(of: "QuerySet[Delivery]") -> list[Pile]:
    rows = list(of.order_by().values("subscriber", "state", "error_code").annotate(count=Count("id"), last=Max("id")))
    errors = dict(Delivery.objects.filter(pk__in=[row["last"] for row in rows]).values_list("pk", "error_message"))
    found = [
        Pile(
            subscriber=row["subscriber"],
            state=DeliveryState(row["state"]),
            code=row["error_code"],
            count=row["count"],
            error=errors.get(row["last"], ""),
        )
        for row in rows
    ]
    return sorted(found, key=lambda pile: (pile.subscriber, pile.state, pile.code))


def chosen(subscriber: str = "", state: str = "", error: str = "", order: str = "") -> "QuerySet[Delivery]":
    """The newest first; empty: whichever."""
    asked = {"subscriber": subscriber, "state": state, "error_code": error, "fact__order__number": order}
    found = Delivery.objects.filter(**{name: value for name, value in asked.items() if value})
    return found.select_related("fact__order").order_by("-id")


# --- what a person is told ------------------------------------------------------------------------------------------------


def _causes() -> Iterator[tuple[str, str, str]]:
    """(subscriber, code, sentence) of each cause."""
    held: dict[str, int] = defaultdict(int)
    for pile in piles():
        if pile.state == DeliveryState.HELD:
            held[pile.subscriber] += pile.count
        else:
            letters = "1 dead letter" if pile.count == 1 else f"{pile.count} dead letters"
            yield pile.subscriber, pile.code or OUT_OF_TIME, f"{letters}{f'; the last: {pile.error}' if pile.error else ''}"
    for subscriber, count in held.items():
        yield subscriber, REMOVED, f"no code knows this subscriber any more; held for it: {count}"
    for subscriber, sentence in not_answering().items():
        yield subscriber, deliveries.NOT_ANSWERING, sentence
    for subscriber, count in _failing().exclude(subscriber__in=circuit.all_at_work().values("subscriber")):
        yield subscriber, FAILING, f"failing for longer than {settings.QUEUE_UNSERVED_LIMIT_S:g} s, and still tried: {count}"


def not_answering() -> dict[str, str]:
    """By subscriber whose circuit is open: since when nobody is answered there, and how many wait."""
    return {
        one.subscriber: f"no answer since {one.opened_at:%Y-%m-%d %H:%M:%S} UTC ({one.last_error}); "
        f"one asks again and again, {circuit.waiting(one.subscriber)} wait and spend no try"
        for one in Circuit.objects.exclude(opened_at=None).order_by("pk")
    }


def _failing() -> "QuerySet[Delivery, tuple[str, int]]":
    """A try for days must not be days of silence."""
    long = Delivery.objects.filter(failing_since__lte=in_seconds(-settings.QUEUE_UNSERVED_LIMIT_S))
    return long.order_by("subscriber").values_list("subscriber").annotate(Count("pk"))


def tell() -> None:
    """Open an incident for each cause, keep its count up to date, and close those whose cause is gone. Writes nothing where nothing has changed."""
    told = {(incident.step, incident.code): incident for incident in unresolved(kind=IncidentKind.DEAD_LETTER)}
    for subscriber, code, sentence in _causes():
        known = told.pop((subscriber, code[:60]), None)
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
    if told:
        with transaction.atomic():
            gone = Incident.objects.filter(pk__in=[incident.pk for incident in told.values()])
            resolve(gone, "gone", "nothing waits for a person any more", "relay")


# --- what is owed ---------------------------------------------------------------------------------------------------------


def owed(answered: Mapping[str, Collection[str]]) -> Iterator[tuple[str, str]]:
    """(subscriber, what it is owed and has not heard): dead letters, and what is late. What a person gave up is owed no more, and what is held for a name that no
    code knows is told by its incident.

    ``answered``: by subscriber the errors that are a final answer, like that of a mail server about a recipient who does not exist.
    """
    long_ago = in_seconds(-settings.QUEUE_UNSERVED_LIMIT_S)
    is_late = Q(failing_since__lte=long_ago) | Q(wake_at__lte=long_ago) | Q(launched_at__lte=long_ago)
    late = Delivery.objects.filter(is_late | Q(state=DeliveryState.DEAD)).order_by("subscriber", "state", "error_code")
    rows = late.values_list("subscriber", "state", "error_code").annotate(Count("pk"), Min("fact__order__number"))
    for subscriber, state, code, count, first in rows:
        if not (state == DeliveryState.DEAD and code in answered.get(subscriber, ())):
            why = ", ".join(filter(None, [DeliveryState(state).label.lower(), code]))
            yield subscriber, f"{count} owed and not delivered ({why}), like that of {first}"
    for subscriber, count, first in relay.not_begun(settings.QUEUE_UNSERVED_LIMIT_S):
        yield subscriber, f"{count} owed and not begun, like that of {first}"


# --- what a person gives up -----------------------------------------------------------------------------------------------


def discard(subscriber: str, actor: Actor, reason: str, state: str = "", error: str = "", order: str = "") -> int:
    """Dead letters, or what is held: it will not happen. Each with its line of history. Returns how many. Raises Refused."""
    with refusals.recorded(actor, "discard", order or subscriber):
        actor.must_have("sideeffects.discard_delivery", "discard deliveries")
    told = {"user": actor.user, "message": reason}

    def give_up(batch: list[Delivery]) -> None:
        for delivery in batch:
            deliveries.move(delivery, DeliveryState.DISCARDED, code="discard", detail=told, actor=actor.name)

    return deliveries.change_in_batches(chosen(subscriber, state, error, order).filter(state__in=WAITING), give_up)
