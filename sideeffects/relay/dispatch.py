"""Dispatch: the deliveries that are due are taken, and each becomes a message. The caller publishes the messages.

It does not wait for rows that somebody else holds, and it does not wait for the disk.
"""

from collections.abc import Callable, Collection, Sequence
from datetime import datetime

from django.conf import settings
from django.db import transaction
from django.db.models import Q, QuerySet

from orders.clock import ShopNow, shop_now
from orders.durability import may_be_lost
from orders.facts import Fact
from orders.lowwater import A_PAGE, LowWater
from sideeffects import circuit, deliveries
from sideeffects.deliveries import Failure
from sideeffects.models import Delivery, DeliveryState
from sideeffects.relay import aside
from sideeffects.relay.marks import Marks
from sideeffects.tasks import Message

NO_PROGRESS = "no_progress"

AfterLoss = Callable[[str, int], Failure]  # what follows when the worker of try number n of a subscriber was lost


def due(known: Collection[str], lost_before: datetime | None, after_loss: AfterLoss, marks: Marks | None = None) -> list[Message]:
    """Take up to 100 deliveries that are due and 100 whose message is lost, the oldest first. Each message that is returned is to be published now.

    A delivery that was started and is past its lease has lost its worker: that counts as a try. A delivery that was published often, and that nobody starts,
    becomes a dead letter.
    """
    marks = marks or Marks()
    ours = Delivery.objects.filter(subscriber__in=known).exclude(pk__in=aside.deliveries.keys())
    keys = _waiting(ours, "wake_at", shop_now(), marks.due)
    if lost_before is not None:
        keys += _waiting(ours, "launched_at", lost_before, marks.launched)
    return aside.deliveries.work(keys, lambda some: _take(some, lost_before, after_loss)) if keys else []


def inspect_circuits(known: Collection[str], marks: Marks) -> list[Message]:
    """The probes that are to be published now. If a circuit has closed, the deliveries that wait for it are woken; before that none of them is due."""
    ahead = []
    found = list(circuit.not_closed())
    for one in found:
        if one.subscriber not in known:
            continue
        if one.wakes:
            circuit.wake_those_who_wait(one.subscriber)
            continue
        with transaction.atomic():
            if chosen := circuit.send_ahead(one.subscriber):
                ahead += _published([chosen.pk])
    at_work = frozenset(circuit.not_closed().values_list("subscriber", flat=True)) if found else frozenset()
    if at_work != marks.at_work:
        marks.due.start_over()
        marks.launched.start_over()
        marks.at_work = at_work
    return ahead


def _waiting(ours: QuerySet[Delivery], instant: str, until: datetime, mark: LowWater) -> list[int]:
    """The oldest by ``instant``, each read on a partial index of its own. Rows that somebody holds are passed over: a page of them would keep all others back."""

    def read(after: datetime | None, up_to: datetime) -> list[tuple[int, datetime]]:
        bounds = {f"{instant}__lte": up_to} | ({f"{instant}__gt": after} if after else {})
        with transaction.atomic():
            may_be_lost()
            free = ours.filter(**bounds).order_by(instant, "id").select_for_update(of=("self",), no_key=True, skip_locked=True)
            return list(free.values_list("pk", instant)[:A_PAGE])

    found = read(mark.since, until)
    if len(found) == A_PAGE:
        mark.passed(found[-1][1])
    else:
        found += mark.behind(read)
        mark.reached(until)
    return [key for key, _ in found]


def _take(keys: Sequence[int], lost_before: datetime | None, after_loss: AfterLoss) -> list[Message]:
    """The deliveries that nobody holds and that are still due."""
    is_due = Q(wake_at__lte=ShopNow())
    if lost_before is not None:
        is_due |= Q(launched_at__lt=lost_before)
    with transaction.atomic():
        may_be_lost()
        rows = Delivery.objects.filter(is_due, pk__in=keys).order_by("id")
        rows = rows.select_for_update(of=("self",), no_key=True, skip_locked=True)
        found = rows.values_list("pk", "state", "tries", "unspent", "relaunches")
        return _published([row[0] for row in found if _may_be_published(after_loss, *row)])


def _may_be_published(after_loss: AfterLoss, key: int, state: str, tries: int, unspent: int, relaunches: int) -> bool:
    """False: its worker was lost, or nobody starts it, and this is recorded."""
    started = tries + unspent
    if state != DeliveryState.STARTED and relaunches - started < settings.POISON_AFTER:
        return True
    delivery = Delivery.objects.select_related("fact").get(pk=key)
    if state == DeliveryState.STARTED:
        deliveries.write_failure(delivery, after_loss(delivery.subscriber, tries))
    else:
        sentence = f"published {relaunches} times, started {started} times"
        deliveries.write_failure(delivery, Failure(code=NO_PROGRESS, message=sentence, retry_in_s=None))
    return False


def _published(keys: list[int]) -> list[Message]:
    """A message for each of these deliveries, the oldest first. The caller's transaction holds their rows."""
    rows = sorted(deliveries.SQL.rows("publish", {"deliveries": keys})) if keys else []
    return [
        Message(fact=fact, subscriber=subscriber, order=order, launch=launch, correlation_id=correlation_id)
        for _, fact, subscriber, order, launch, correlation_id in rows
    ]


def not_published(messages: list[Message]) -> None:
    """The broker took none of these messages: their deliveries are due again at once."""
    if messages:
        names = {"facts": [message.fact for message in messages], "subscribers": [message.subscriber for message in messages]}
        deliveries.SQL.rows("not_published", names)


def waits_since(marks: Marks | None = None) -> datetime | None:
    """When the oldest message that nobody has started was published. None: no message waits."""
    marks = marks or Marks()
    unheard = Fact.objects.filter(relayed_at__isnull=True, number__gte=marks.relayed).order_by("number").values_list("at", flat=True)
    launched = Delivery.objects.filter(launched_at__isnull=False).order_by("launched_at").values_list("launched_at", flat=True)
    if marks.launched.since:
        launched = launched.filter(launched_at__gt=marks.launched.since)
    return min(filter(None, (unheard.first(), launched.first())), default=None)
