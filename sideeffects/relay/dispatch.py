"""The relay: who is owed which fact, and which delivery is due. It says what is to be published, and publishes nothing itself.

The fast path (a message when the fact is committed) decides nothing: the relay numbers each fact after its commit and owes it to every subscriber that starts
at or before that number, whoever has published what. It waits neither for rows that somebody else holds nor for the disk.
"""

import uuid
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import connection, transaction
from django.db.models import F, Q, QuerySet

from orders import facts
from orders.clock import ShopNow, in_seconds, shop_now
from orders.durability import may_be_lost
from orders.facts import Fact
from orders.lowwater import A_PAGE, LowWater
from sideeffects import circuit, deliveries
from sideeffects.containment import Containment
from sideeffects.deliveries import Failure
from sideeffects.models import OPEN, Circuit, Delivery, DeliveryState, RelayBeat, Subscriber, SubscriberState

UNHEARD = """
SELECT s.name, count(*), min(o.number) FROM orders_fact f JOIN orders_order o ON o.id = f.order_id
JOIN sideeffects_subscriber s ON s.state = 'active' AND s.starts_at <= coalesce(f.number, s.starts_at)
WHERE f.relayed_at IS NULL AND f.at <= shop_now() - %s * interval '1 second'
    AND NOT EXISTS (SELECT FROM sideeffects_delivery d WHERE d.event_id = f.id AND d.subscriber = s.name)
GROUP BY s.name
"""
BATCH = A_PAGE
NUMBERED_AT_ONCE = 1000
NO_PROGRESS = "no_progress"
BEAT_EVERY_S = 5.0


@dataclass(frozen=True, kw_only=True)
class Message:
    """What a task needs to know: which fact, for whom, of which order, and the how many-th message this is."""

    fact: uuid.UUID
    subscriber: str
    order: str
    attempt: int


AfterLoss = Callable[[str, int], Failure]  # what follows when the worker of try number n of a subscriber was lost

_facts, _deliveries = Containment("fact"), Containment("delivery")


@dataclass
class Marks:
    """Up to where one relay has read its queues: facts without a number, facts below ``relayed`` (their numbers), what is due, what was launched.

    ``looked``: the number up to which it has looked at facts since it last began with the oldest; 0: it begins with it. ``at_work``: the subscribers whose circuit
    kept their deliveries back when it looked last.
    """

    unnumbered: LowWater = field(default_factory=LowWater)
    relayed: int = 0
    looked: int = 0
    due: LowWater = field(default_factory=LowWater)
    launched: LowWater = field(default_factory=LowWater)
    at_work: frozenset[str] = frozenset()


# --- who is owed what ---------------------------------------------------------------------------------------------------------


def owe(lost_before: datetime | None, marks: Marks | None = None) -> bool:
    """Number what was committed, then look at a page of facts that are not relayed yet. Where a delivery row is missing and the message is lost, it is owed.

    ``lost_before``: whatever was published earlier, and has not started, is lost; None: nothing can be said. True: there is more to look at now, behind this
    page: those in it that somebody holds, or that cannot be worked on, keep no others back.
    """
    marks = marks or Marks()
    with transaction.atomic():
        may_be_lost()
        _number(marks.unnumbered)
    last = facts.next_number()
    waiting = Fact.objects.filter(relayed_at__isnull=True, number__gte=max(marks.relayed, marks.looked + 1)).exclude(pk__in=_facts.aside())
    page = list(waiting.order_by("number").values_list("pk", "number", "at")[:BATCH])
    if not marks.looked and not _facts.aside():
        marks.relayed = (page[0][1] or 0) if page else last
    relayed = _facts.work([fact for fact, _, _ in page], lambda keys: _relay(keys, lost_before))
    more = len(page) == BATCH and (bool(relayed) or _is_lost(page[-1][2], lost_before, shop_now()))
    marks.looked = (page[-1][1] or 0) if more else 0
    return more


def _is_lost(at: datetime, lost_before: datetime | None, now: datetime) -> bool:
    """Whether a message that was published ``at`` is lost. One that lies ahead of ``now`` was written by a clock that was ahead: nobody can tell when."""
    return lost_before is not None and not lost_before <= at <= now


def _number(mark: LowWater) -> None:
    now = shop_now()
    if len(facts.number_committed(NUMBERED_AT_ONCE, mark.since, now)) < NUMBERED_AT_ONCE:
        mark.behind(lambda after, up_to: facts.number_committed(A_PAGE, after, up_to))
        mark.reached(now)


def _relay(keys: Sequence[uuid.UUID], lost_before: datetime | None) -> list[uuid.UUID]:
    """Those of the facts with which the relay is done."""
    with transaction.atomic():
        may_be_lost()
        rows = Fact.objects.filter(pk__in=keys, relayed_at__isnull=True).select_for_update(no_key=True, skip_locked=True)
        now = shop_now()
        lost = {fact.pk for fact in rows if _is_lost(fact.at, lost_before, now)}
        done = [fact.pk for fact, lacking in _lacking(list(rows)) if not lacking or (fact.pk in lost and _owe(fact, lacking))]
        Fact.objects.filter(pk__in=done).update(relayed_at=ShopNow())
        return done


def _lacking(page: list[Fact]) -> Iterable[tuple[Fact, list[str]]]:
    """Each fact with the subscribers that it is owed to and that have no delivery row."""
    starts = dict(Subscriber.objects.filter(state=SubscriberState.ACTIVE).values_list("name", "starts_at"))
    rows: dict[Any, set[str]] = defaultdict(set)
    for fact_id, name in Delivery.objects.filter(fact__in=page).values_list("fact_id", "subscriber"):
        rows[fact_id].add(name)
    for fact in page:
        yield fact, [name for name, starts_at in starts.items() if starts_at <= (fact.number or 0) and name not in rows[fact.pk]]


def _owe(fact: Fact, names: list[str]) -> bool:
    """False: one of them is being delivered right now, so its message was not lost."""
    owed = [name for name in names if not deliveries.is_being_delivered(fact.pk, name)]
    Delivery.objects.bulk_create((Delivery(fact=fact, subscriber=name, wake_at=ShopNow()) for name in owed), ignore_conflicts=True)
    return len(owed) == len(names)


# --- what is due --------------------------------------------------------------------------------------------------------------


def due(known: Collection[str], lost_before: datetime | None, after_loss: AfterLoss, marks: Marks | None = None) -> list[Message]:
    """Take up to 100 deliveries that are due, and 100 whose message is lost, oldest first: each is to be published now.

    One that was started and is past its lease has lost its worker: that was a try. What nobody starts, however often it is published, is a dead letter.
    """
    marks = marks or Marks()
    ours = Delivery.objects.filter(subscriber__in=known).exclude(pk__in=_deliveries.aside())
    keys = _waiting(ours, "wake_at", shop_now(), marks.due)
    if lost_before is not None:
        keys += _waiting(ours, "launched_at", lost_before, marks.launched)
    return _deliveries.work(keys, lambda some: _take(some, lost_before, after_loss))


def look_after_circuits(known: Collection[str], marks: Marks) -> list[Message]:
    """The probes that are to be published now. Those who wait for a circuit that has closed are woken; nothing else of theirs is due before that."""
    ahead = []
    for one in circuit.all_at_work().filter(subscriber__in=known):
        if one.wakes:
            circuit.wake_those_who_wait(one.subscriber)
            continue
        with transaction.atomic():
            if chosen := circuit.send_ahead(one.subscriber):
                ahead.append(_published(chosen))
    at_work = frozenset(circuit.all_at_work().values_list("subscriber", flat=True))
    if at_work != marks.at_work:
        marks.due.start_over()
        marks.launched.start_over()
        marks.at_work = at_work
    return ahead


def _waiting(ours: QuerySet[Delivery], instant: str, until: datetime, mark: LowWater) -> list[int]:
    """The oldest of them by ``instant``, each on a partial index of its own. Rows that somebody holds are passed: a page of them would keep all others back."""

    def read(after: datetime | None, up_to: datetime) -> list[int]:
        bounds = {f"{instant}__lte": up_to} | ({f"{instant}__gt": after} if after else {})
        with transaction.atomic():
            may_be_lost()
            free = ours.filter(**bounds).order_by(instant, "id").select_for_update(of=("self",), no_key=True, skip_locked=True)
            return list(free.values_list("pk", flat=True)[:A_PAGE])

    keys = read(mark.since, until)
    if len(keys) < A_PAGE:
        keys += mark.behind(read)
        mark.reached(until)
    return keys


def _take(keys: Sequence[int], lost_before: datetime | None, after_loss: AfterLoss) -> list[Message]:
    """Those that nobody holds, and that are still due."""
    is_due = Q(wake_at__lte=ShopNow())
    if lost_before is not None:
        is_due |= Q(launched_at__lt=lost_before)
    with transaction.atomic():
        may_be_lost()
        rows = Delivery.objects.filter(is_due, pk__in=keys).order_by("id").select_related("fact__order")
        rows = rows.select_for_update(of=("self",), no_key=True, skip_locked=True)
        return [message for delivery in rows if (message := _launch(delivery, after_loss))]


def _launch(delivery: Delivery, after_loss: AfterLoss) -> Message | None:
    if delivery.state == DeliveryState.STARTED:
        deliveries.record_failure(delivery, after_loss(delivery.subscriber, delivery.tries))
        return None
    started = delivery.tries + delivery.unspent
    if delivery.relaunches - started >= settings.POISON_AFTER:
        told = f"published {delivery.relaunches} times, started {started} times"
        deliveries.record_failure(delivery, Failure(code=NO_PROGRESS, message=told, retry_in_s=None))
        return None
    return _published(delivery)


def _published(delivery: Delivery) -> Message:
    relaunches = delivery.relaunches + 1
    Delivery.objects.filter(pk=delivery.pk).update(relaunches=relaunches, launched_at=ShopNow(), wake_at=None)
    return Message(fact=delivery.fact_id, subscriber=delivery.subscriber, order=delivery.fact.order.number, attempt=relaunches + 1)


def not_published(messages: list[Message]) -> None:
    """The broker took none of these: they are due again at once."""
    with transaction.atomic():
        may_be_lost()
        for message in messages:
            waiting = Delivery.objects.filter(fact=message.fact, subscriber=message.subscriber, state__in=deliveries.WAITING)
            waiting.update(relaunches=F("relaunches") - 1, launched_at=None, wake_at=ShopNow())


def waits_since(marks: Marks | None = None) -> datetime | None:
    """When the oldest message was published of which nobody has heard yet; None: none waits."""
    marks = marks or Marks()
    unheard = Fact.objects.filter(relayed_at__isnull=True, number__gte=marks.relayed).order_by("number").values_list("at", flat=True)
    launched = Delivery.objects.filter(launched_at__isnull=False).order_by("launched_at").values_list("launched_at", flat=True)
    if marks.launched.since:
        launched = launched.filter(launched_at__gt=marks.launched.since)
    return min(filter(None, (unheard.first(), launched.first())), default=None)


# --- who subscribes -----------------------------------------------------------------------------------------------------------


def register(names: Collection[str], release: int) -> bool:
    """Write down who subscribes, as this code has it. Nobody is owed what was numbered before; older code changes nothing that newer code has said.

    What was owed to whoever has gone, or is back, is written a page at a time. False: there is more, for the next round.
    """
    with transaction.atomic():
        may_be_lost()
        rows = {row.name: row for row in Subscriber.objects.select_for_update()}
        for name in names:
            row = rows.get(name)
            if row is None:
                Subscriber.objects.create(name=name, starts_at=facts.next_number(), release=release)
            elif row.release <= release:
                _confirm(row, release)
    rows |= {row.name: row for row in _unknown(names)}
    gone = [row for name, row in rows.items() if name not in names and row.release <= release and row.state == SubscriberState.ACTIVE]
    return all([_hand_back(names), *(_remove(row, release) for row in gone)])


def _unknown(names: Collection[str]) -> Iterable[Subscriber]:
    """Names that stand on deliveries and nowhere else, like one that only a worker of a newer release has used: after as long as an order waits for newer code
    they get a row, and are removed like any other name that no code knows.
    """
    long_ago = in_seconds(-settings.UNKNOWN_STEP_AFTER_S)
    waiting = Delivery.objects.filter(Q(wake_at__lt=long_ago) | Q(launched_at__lt=long_ago)).exclude(subscriber__in=names)
    waiting = waiting.exclude(subscriber__in=Subscriber.objects.values("name"))
    for name in waiting.order_by("subscriber").values_list("subscriber", flat=True).distinct():
        yield Subscriber.objects.get_or_create(name=name, defaults={"starts_at": facts.next_number(), "release": 0})[0]


def _confirm(row: Subscriber, release: int) -> None:
    """One that has come back is owed what it still was when it went, and what comes from now on."""
    if row.state == SubscriberState.REMOVED:
        row.starts_at = facts.next_number()
    if (row.state, row.release) != (SubscriberState.ACTIVE, release):
        row.state, row.release = SubscriberState.ACTIVE, release
        row.save()


def _hand_back(names: Collection[str]) -> bool:
    active = Subscriber.objects.filter(name__in=names, state=SubscriberState.ACTIVE).values("name")
    held = Delivery.objects.filter(subscriber__in=active, state=DeliveryState.HELD)
    _page(
        held,
        _deliveries,
        lambda some: _move_all(held.filter(pk__in=some), DeliveryState.PENDING, code="subscriber_is_back", wake_at=ShopNow()),
    )
    return not held.exists()


def _remove(row: Subscriber, release: int) -> bool:
    """What it is still owed is written down, and held until a person decides: nobody could deliver it, however often it were published.

    It is removed when nothing of that is left: until then it is owed whatever comes, as any other.
    """
    unheard = Fact.objects.filter(relayed_at__isnull=True, number__gte=row.starts_at).exclude(deliveries__subscriber=row.name)
    still_open = Delivery.objects.filter(subscriber=row.name, state__in=OPEN)
    held: dict[str, Any] = {"code": "subscriber_removed", "wake_at": None, "launched_at": None, "claim": None}
    _page(unheard, _facts, lambda some: _hold_unheard(unheard.filter(pk__in=some), row.name, held))
    _page(still_open, _deliveries, lambda some: _move_all(still_open.filter(pk__in=some), DeliveryState.HELD, **held))
    with transaction.atomic():
        may_be_lost()
        Subscriber.objects.select_for_update().get(pk=row.pk)
        if unheard.exists() or still_open.exists():
            return False
        row.state, row.release = SubscriberState.REMOVED, release
        row.save()
        return True


def _page(rows: QuerySet[Any], containment: Containment, work: Callable[[Sequence[Any]], list[None]]) -> None:
    containment.work(list(rows.exclude(pk__in=containment.aside()).order_by("pk").values_list("pk", flat=True)[:BATCH]), work)


def _move_all(rows: QuerySet[Delivery], to: DeliveryState, **changes: Any) -> list[None]:
    """Those that nobody holds."""
    with transaction.atomic():
        may_be_lost()
        for delivery in rows.select_related("fact").select_for_update(of=("self",), no_key=True, skip_locked=True):
            deliveries.move(delivery, to, **changes)
    return []


def _hold_unheard(unheard: QuerySet[Fact], name: str, held: dict[str, Any]) -> list[None]:
    """Those that nobody is delivering right now."""
    with transaction.atomic():
        may_be_lost()
        for fact in unheard:
            if not deliveries.is_being_delivered(fact.pk, name):
                deliveries.move(Delivery(fact=fact, subscriber=name), DeliveryState.HELD, **held)
    return []


# --- the clock has jumped -----------------------------------------------------------------------------------------------------


def move_with_the_clock(jumped_s: float) -> None:
    """Set back, what is open would stand still for as long: it is moved back too. Set forward, it is only looked at sooner. No jump is time in which it failed."""
    by = timedelta(seconds=jumped_s)
    with transaction.atomic():
        may_be_lost()
        Delivery.objects.filter(failing_since__isnull=False).update(failing_since=F("failing_since") + by)
        if jumped_s < 0:
            Delivery.objects.filter(state__in=OPEN).update(wake_at=F("wake_at") + by, launched_at=F("launched_at") + by)
            Circuit.objects.update(next_probe_at=F("next_probe_at") + by, probe_until=F("probe_until") + by)


# --- how it stands ------------------------------------------------------------------------------------------------------------


def waiting(for_s: float = 0.0) -> int:
    """How many deliveries are due, or under way, for at least so many seconds; those that no row tells of included."""
    long_ago = in_seconds(-for_s)
    due_at = Q(wake_at__lt=long_ago) if for_s else Q(wake_at__isnull=False)
    return sum(count for _, count, _ in not_begun(for_s)) + Delivery.objects.filter(due_at | Q(launched_at__lt=long_ago)).count()


def not_begun(for_s: float) -> list[tuple[str, int, str]]:
    """(subscriber, how many, the first order): facts that it is owed for so long, and of which no row tells."""
    with connection.cursor() as cursor:
        cursor.execute(UNHEARD, [for_s])
        return [(name, count, first) for name, count, first in cursor.fetchall()]


# --- that it is at work -------------------------------------------------------------------------------------------------------


def beat() -> None:
    """Note that the relay is at work. May be lost: the next one comes."""
    with transaction.atomic():
        may_be_lost()
        RelayBeat.objects.update_or_create(pk=1, defaults={"at": ShopNow()})


def age_s() -> float | None:
    """Seconds since the relay was last at work; None if it never was."""
    last = RelayBeat.objects.filter(pk=1).values_list("at", flat=True).first()
    return None if last is None else (shop_now() - last).total_seconds()
