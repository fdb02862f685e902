"""Celery's only entry point in this package: one named task for each subscriber, the messages to them, and the probe of their queue.

A task does one thing: it calls ``delivery_try.deliver``.
"""

import logging
import uuid
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from celery import Task, current_app, shared_task
from celery.exceptions import OperationalError
from django.conf import settings
from django.db import transaction
from kombu.exceptions import BatchPublishError  # type: ignore[attr-defined]  # new in 5.7

from orders import queue_probes, tracing
from orders.clock import shop_now
from orders.events import Event, Subscription, signal_of
from sideeffects.delivery_try import HARD_AFTER_S, deliver
from sideeffects.discovery import subscriptions, wanting

log = logging.getLogger(__name__)

QUEUE = "sideeffects"

TASKS: dict[str, Any] = {}
_probes = queue_probes.Probes()


@dataclass(frozen=True, kw_only=True)
class Message:
    """What a task needs to know: which fact, for which subscriber, and of which order. ``launch``: 2 for the second message of this delivery.

    ``correlation_id``: the fact's, for whoever publishes in nobody's name.
    """

    fact: uuid.UUID
    subscriber: str
    order: str
    launch: int
    correlation_id: str = field(default="", compare=False)


def define() -> None:
    """At start-up, when all models are loaded: make a task for every subscriber, and connect the receiver of every event that somebody reacts to."""
    for subscription in subscriptions().values():
        TASKS[subscription.name] = _define(subscription)
        for event in subscription.events:
            signal_of(event).connect(receive, dispatch_uid="sideeffects.tasks")


# --- out of the core ------------------------------------------------------------------------------------------------------


def receive(sender: object, fact: Event, **_: Any) -> None:
    """A fact became true in the caller's transaction. Its messages go out after the commit, best effort. The relay decides who is owed the fact."""
    messages = [Message(fact=fact.fact_id, subscriber=name, order=fact.number, launch=1) for name in wanting(fact.type)]
    transaction.on_commit(lambda: publish(messages), robust=True)


def publish(messages: list[Message]) -> list[Message]:
    """Best effort, and in one round trip where the broker can do that (Valkey). Returns those that the broker did not take: the relay publishes them again."""
    if not messages:
        return []
    with current_app.producer_or_acquire() as producer:
        if producer.supports_batch_publish:
            try:
                with producer.batch():
                    return _publish_each(messages, producer)
            except (
                BatchPublishError
            ) as failed:  # nobody knows whether the broker took them; a delivery that is done takes no second message
                log.warning("%d deliveries are published one by one: %s", len(messages), failed.__cause__)
        return _publish_each(messages, producer)


def _publish_each(messages: list[Message], producer: Any) -> list[Message]:
    for position, message in enumerate(messages):
        task_id = f"{message.order}.{message.subscriber}.{message.launch}"
        try:
            with tracing.continued(message.correlation_id):
                TASKS[message.subscriber].apply_async(
                    kwargs={"fact": str(message.fact), "order": message.order}, task_id=task_id, producer=producer
                )
        except (OperationalError, OSError) as down:
            log.warning("%d deliveries were not published, the relay will: %s", len(messages) - position, down)
            return messages[position:]
    return []


# --- is the queue consumed? -----------------------------------------------------------------------------------------------


def probe_the_queue(oldest: datetime | None) -> None:
    """Send a probe if the ``oldest`` message that nobody has started has waited for longer than ``PATIENCE_S``.

    If no probe comes out for too long, an incident is opened.
    """
    if oldest is not None and (shop_now() - oldest).total_seconds() > settings.PATIENCE_S:
        _probes.want(QUEUE)
    for queue, stamp in _probes.due():
        task_id = f"probe.{queue}.{stamp:%H%M%S.%f}"
        try:
            probe.apply_async(kwargs={"stamp": stamp.isoformat()}, task_id=task_id)
        except (OperationalError, OSError) as down:
            log.warning("A probe of queue %s was not published: %s", queue, down)
            queue_probes.probe_not_sent(queue)
    _probes.open_incidents_of_unserved([QUEUE], settings.QUEUE_UNSERVED_LIMIT_S)


@shared_task(name="sideeffects.probe")
def probe(*unnamed: Any, **message: Any) -> str:
    """A probe came out of the queue. Whatever was published before it and has not started is lost."""
    stamp = None if unnamed or set(message) != {"stamp"} else queue_probes.stamp_of(message["stamp"])
    if stamp is None:
        return _refuse("sideeffects.probe", "it must name a stamp with a time zone, and nothing else")
    queue_probes.probe_came_out(QUEUE, stamp)
    return f"{QUEUE} is consumed"


# --- into a subscriber ----------------------------------------------------------------------------------------------------


def _define(subscription: Subscription) -> "Task[..., str]":
    limit = subscription.timeout_s * settings.TIME_SCALE

    limits: dict[str, Any] = {"soft_time_limit": limit, "time_limit": limit + HARD_AFTER_S * settings.TIME_SCALE}

    @shared_task(name=f"sideeffects.{subscription.name}", **limits)
    def task(*unnamed: Any, **message: Any) -> str:
        if unnamed or set(message) != {"fact", "order"} or not (fact_id := _as_uuid(message["fact"])):
            return _refuse(f"sideeffects.{subscription.name}", "it must name fact and order, and nothing else")
        return f"{message['order']}: {deliver(subscription, fact_id)}"

    return task  # type: ignore[no-any-return]


def _as_uuid(text: Any) -> uuid.UUID | None:
    try:
        return uuid.UUID(text)
    except (AttributeError, TypeError, ValueError):
        return None


def _refuse(task: str, wrong: str) -> str:
    """A message of the first release is refused too: it named a delivery. No delivery is lost by this, because the relay publishes a message of its own."""
    log.error("%s: message refused: %s", task, wrong)
    return f"refused: {wrong}"
