"""The outbox: every change of a delivery's row, each with its line of history in the same transaction. Publishes nothing and calls no subscriber.

None of these transactions waits for the disk, except ``record``, which belongs to the engine's settle: losing one only repeats a delivery.
"""

import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django.db import connection, transaction
from django.db.models import F, QuerySet

from orders.clock import ShopNow, in_seconds
from orders.durability import may_be_lost
from orders.events import OrderFulfilled
from orders.models import Order
from orders.timeline import Kind, TimelineEntry
from sideeffects.models import Delivery, DeliveryState, Event

OPEN = (DeliveryState.PENDING, DeliveryState.RETRY_WAIT)
BATCH = 100


@dataclass(frozen=True, kw_only=True)
class Message:
    """What a task needs to know: which delivery, for which order, and how often it was published before."""

    delivery: int
    subscriber: str
    order: str
    attempt: int


@dataclass(frozen=True, kw_only=True)
class Failure:
    """Why a try failed: a stable ``code``, one sentence without personal data, and when to try again in seconds; None: never."""

    code: str
    message: str
    retry_in_s: float | None


def record(fact: OrderFulfilled, order: Order, subscribers: Iterable[str], patience_s: float) -> list[Message]:
    """Insert the event and one delivery per subscriber, in the caller's transaction. Recording the same fact again inserts nothing."""
    if Event.objects.filter(pk=fact.event_id).exists():
        return []
    event = Event.objects.create(
        id=fact.event_id,
        order=order,
        type=fact.type,
        version=fact.version,
        correlation_id=order.correlation_id,
        payload=fact.to_json(),
    )
    deliveries = Delivery.objects.bulk_create(
        Delivery(event=event, subscriber=subscriber, wake_at=in_seconds(patience_s)) for subscriber in subscribers
    )
    return [_message(delivery, order.number) for delivery in deliveries]


def due(patience_s: float) -> list[Message]:
    """Take up to 100 deliveries that are due, oldest first: each is to be published, and waits ``patience_s`` doubled for each time before.

    One that was started and is past its lease has lost its worker: it may be started again.
    """
    with transaction.atomic():
        may_be_lost()
        waiting = Delivery.objects.filter(wake_at__lte=ShopNow()).order_by("wake_at", "id").select_related("event__order")
        found = list(waiting.select_for_update(of=("self",), skip_locked=True)[:BATCH])
        for delivery in found:
            if delivery.state == DeliveryState.STARTED:
                _move(delivery, DeliveryState.PENDING, code="lost", detail={"message": "its worker was lost"}, claim=None)
            wait = patience_s * 2 ** min(delivery.relaunches, 8)
            Delivery.objects.filter(pk=delivery.pk).update(relaunches=F("relaunches") + 1, wake_at=in_seconds(wait))
            delivery.relaunches += 1
        return [_message(delivery, delivery.event.order.number) for delivery in found]


def not_published(messages: list[Message]) -> None:
    """The broker took none of these: they are due again soon, and their patience does not grow."""
    with transaction.atomic():
        may_be_lost()
        Delivery.objects.filter(pk__in=[message.delivery for message in messages]).update(relaunches=F("relaunches") - 1, wake_at=ShopNow())


def take(delivery_id: int) -> Delivery | None:
    """The delivery under its row lock, for an effect that commits with it; None if it is delivered, dead, or being delivered by somebody else."""
    return _locked(Delivery.objects.filter(pk=delivery_id, state__in=OPEN))


def start(delivery_id: int, lease_s: float) -> Delivery | None:
    """Claim a delivery whose effect lies outside; None as for ``take``. Durable enough: a lost start only repeats it."""
    with transaction.atomic():
        may_be_lost()
        delivery = take(delivery_id)
        if delivery is not None:
            _move(delivery, DeliveryState.STARTED, claim=uuid.uuid4(), tries=delivery.tries + 1, wake_at=in_seconds(lease_s))
        return delivery


def delivered(delivery: Delivery) -> None:
    """In the caller's transaction, which holds the row: the subscriber has heard."""
    tries = delivery.tries + (delivery.claim is None)
    changes: dict[str, Any] = {"claim": None, "wake_at": None, "relaunches": 0, "error_code": "", "error_message": ""}
    _move(delivery, DeliveryState.DELIVERED, tries=tries, delivered_at=ShopNow(), **changes)


def delivered_outside(delivery: Delivery) -> bool:
    """Settle a started delivery; False if somebody else owns it by now."""
    with transaction.atomic():
        may_be_lost()
        mine = _locked(Delivery.objects.filter(pk=delivery.pk, state=DeliveryState.STARTED, claim=delivery.claim))
        if mine is not None:
            delivered(mine)
        return mine is not None


def failed(delivery: Delivery, failure: Failure) -> bool:
    """Record a failed try: it waits for the next one, or is a dead letter. False if somebody else owns the delivery by now."""
    states = (DeliveryState.STARTED,) if delivery.claim else OPEN
    with transaction.atomic():
        may_be_lost()
        mine = _locked(Delivery.objects.filter(pk=delivery.pk, state__in=states, claim=delivery.claim, tries=delivery.tries))
        if mine is None:
            return False
        tries = mine.tries + (mine.claim is None)
        dead = failure.retry_in_s is None
        _move(
            mine,
            DeliveryState.DEAD if dead else DeliveryState.RETRY_WAIT,
            code=failure.code,
            detail={"message": failure.message},
            tries=tries,
            claim=None,
            relaunches=0,
            wake_at=None if failure.retry_in_s is None else in_seconds(failure.retry_in_s),
            error_code=failure.code[:60],
            error_message=failure.message[:300],
        )
        return True


def cut_statements_after(timeout_s: float) -> None:
    """In this transaction the server itself ends a statement that hangs: a worker that gives up would leave it running, with its locks."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config('statement_timeout', %s, true)", [str(max(int(timeout_s * 1000), 1))])


def _locked(deliveries: QuerySet[Delivery]) -> Delivery | None:
    return deliveries.select_for_update(of=("self",), skip_locked=True).select_related("event").first()


def _message(delivery: Delivery, order_number: str) -> Message:
    return Message(
        delivery=delivery.pk, subscriber=delivery.subscriber, order=order_number, attempt=delivery.tries + delivery.relaunches + 1
    )


def _move(delivery: Delivery, to: DeliveryState, *, code: str = "", detail: dict[str, str] | None = None, **changes: Any) -> None:
    TimelineEntry.objects.create(
        order_id=delivery.event.order_id,
        kind=Kind.DELIVERY,
        name=delivery.subscriber,
        from_state=delivery.state,
        to_state=to,
        code=code[:60],
        detail=detail or {},
    )
    Delivery.objects.filter(pk=delivery.pk).update(state=to, **changes)
    for field, value in {"state": to, **changes}.items():
        setattr(delivery, field, value)
