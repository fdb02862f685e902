"""Discovery of the subscribers, the receiver of every public fact, and Celery's door: one named task per subscriber.

A subscriber is a folder in ``sideeffects/subscribers/`` whose ``subscriber.py`` declares one; nothing here names any of them.
"""

import functools
import importlib
import logging
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

from celery import Task, shared_task
from celery.exceptions import OperationalError
from django.apps import AppConfig, apps
from django.conf import settings
from django.core.checks import CheckMessage, Error, register
from django.db import transaction
from django.urls import URLPattern, URLResolver, include, path

from orders.clock import doubled, jittered
from orders.durability import may_be_lost
from orders.events import OrderFulfilled, Subscription, order_fulfilled
from orders.models import Order
from sideeffects import outbox
from sideeffects.models import Delivery
from sideeffects.outbox import Failure, Message

log = logging.getLogger(__name__)

ROOMS = "sideeffects.subscribers."
CUT_BY_THE_DATABASE = 0.8  # of the time limit: the server ends a hanging statement before the worker gives up on it
HARD_AFTER_S = 5.0  # a task that ignores its time limit is killed this much later, times TIME_SCALE

TASKS: dict[str, Any] = {}


# --- discovery ----------------------------------------------------------------------------------------------------------


def rooms() -> list[AppConfig]:
    return [config for config in apps.get_app_configs() if config.name.startswith(ROOMS)]


@functools.cache
def subscriptions() -> dict[str, Subscription]:
    """Every declared subscriber by name. Raises ImportError: a room without ``subscriber.py``, or with one that does not load."""
    found = [
        value.subscription
        for room in rooms()
        for value in vars(importlib.import_module(f"{room.name}.subscriber")).values()
        if isinstance(getattr(value, "subscription", None), Subscription)
    ]
    return {subscription.name: subscription for subscription in sorted(found, key=lambda subscription: subscription.name)}


def names() -> list[str]:
    return list(subscriptions())


def urlpatterns() -> list[URLResolver | URLPattern]:
    """What the rooms serve themselves, relative to ``/api/v1/``."""
    return [path("", include(f"{room.name}.urls")) for room in rooms() if find_spec(f"{room.name}.urls")]


def audit() -> Iterator[tuple[str, str]]:
    """(subscriber, what is off): each room's own word about its rows, from the function ``audit`` of its ``subscriber.py`` where it has one.

    A room whose audit breaks is off, and hides nothing about the others.
    """
    for name, subscription in subscriptions().items():
        ask = getattr(importlib.import_module(subscription.handler.__module__), "audit", None)
        if ask is None:
            continue
        try:
            with transaction.atomic():
                found = list(ask())
        except Exception as error:
            log.exception("The audit of %s broke", name)
            found = [f"its audit broke: {type(error).__name__}"]
        yield from ((name, told) for told in found)


def open_the_doors() -> None:
    """At start-up, once all models are loaded: a task for every subscriber, and the receiver of every fact."""
    for subscription in subscriptions().values():
        TASKS[subscription.name] = _define(subscription)
    order_fulfilled.connect(receive, dispatch_uid="sideeffects.registry")


@register()
def rooms_are_whole(app_configs: object, **_: Any) -> Iterator[CheckMessage]:
    """A folder that Django does not see, a room without a subscriber, or tables that no migration makes."""
    folders = sorted(
        folder.name for folder in settings.SUBSCRIBERS_DIR.iterdir() if folder.is_dir() and not folder.name.startswith(("_", "."))
    )
    for name in folders:
        if not (settings.SUBSCRIBERS_DIR / name / "apps.py").exists():
            yield Error(f"sideeffects/subscribers/{name}/ has no apps.py.", hint="Copy one from a neighbour.", id="sideeffects.E001")
    for room in rooms():
        declared = [s.name for s in subscriptions().values() if s.handler.__module__.startswith(room.name)]
        if len(declared) != 1:
            yield Error(
                f"{room.name} declares {len(declared)} subscribers, not one.", hint="@subscriber(OrderFulfilled)", id="sideeffects.E002"
            )
        if room.models and not find_spec(f"{room.name}.migrations"):
            yield Error(
                f"{room.name} has models and no migrations package.", hint=f"manage.py makemigrations {room.label}", id="sideeffects.E003"
            )


# --- out of the core ------------------------------------------------------------------------------------------------------


def receive(sender: object, payload: OrderFulfilled, order: Order, **_: Any) -> None:
    """A fact became true in the caller's transaction: its rows commit with it or not at all, its messages go out on commit."""
    interested = [subscription.name for subscription in subscriptions().values() if isinstance(payload, subscription.fact)]
    messages = outbox.record(payload, order, interested, settings.PATIENCE_S)
    transaction.on_commit(lambda: publish(messages), robust=True)


def publish(messages: list[Message]) -> list[Message]:
    """Best effort: returns those that the broker did not take; the sweep publishes them when they are due."""
    for position, message in enumerate(messages):
        task_id = f"{message.order}.{message.subscriber}.{message.attempt}"
        try:
            TASKS[message.subscriber].apply_async(kwargs={"delivery": message.delivery, "order": message.order}, task_id=task_id)
        except (OperationalError, OSError) as down:
            log.warning("%d deliveries were not published, the sweep will: %s", len(messages) - position, down)
            return messages[position:]
    return []


def launch_due() -> int:
    """The sweep's half: publish every delivery that is due. Returns how many; stops at the first that the broker does not take."""
    published = 0
    while messages := outbox.due(settings.PATIENCE_S):
        known = [message for message in messages if message.subscriber in TASKS]
        if left := publish(known):
            outbox.not_published(left)
            return published + len(known) - len(left)
        published += len(known)
    return published


# --- into a subscriber ----------------------------------------------------------------------------------------------------


def _define(subscription: Subscription) -> "Task[..., str]":
    limit = subscription.timeout_s * settings.TIME_SCALE

    limits: dict[str, Any] = {"soft_time_limit": limit, "time_limit": limit + HARD_AFTER_S * settings.TIME_SCALE}

    @shared_task(name=f"sideeffects.{subscription.name}", **limits)
    def task(*, delivery: int, order: str) -> str:
        deliver = _deliver_outside if subscription.outside else _deliver_here
        return f"{order}: {deliver(subscription, delivery)}"

    return task  # type: ignore[no-any-return]


def _deliver_here(subscription: Subscription, delivery_id: int) -> str:
    """The effect is on our own rows: it commits together with "delivered", or not at all."""
    delivery: Delivery | None = None
    try:
        with transaction.atomic():
            may_be_lost()
            outbox.cut_statements_after(subscription.timeout_s * settings.TIME_SCALE * CUT_BY_THE_DATABASE)
            delivery = outbox.take(delivery_id)
            if delivery is None:
                return "nothing to deliver here"
            before = _copy(delivery)
            subscription.handler(_fact(subscription, delivery), delivery)
            outbox.delivered(delivery)
    except Exception as error:
        if delivery is None:
            raise
        return _failed(subscription, before, error)
    return "delivered"


def _deliver_outside(subscription: Subscription, delivery_id: int) -> str:
    """The effect lies outside: started first, then the call outside any transaction, then delivered. At least once, under a stable key."""
    delivery = outbox.start(delivery_id, subscription.timeout_s * settings.TIME_SCALE * 2 + HARD_AFTER_S * settings.TIME_SCALE)
    if delivery is None:
        return "nothing to deliver here"
    try:
        subscription.handler(_fact(subscription, delivery), delivery)
    except Exception as error:
        return _failed(subscription, delivery, error)
    return "delivered" if outbox.delivered_outside(delivery) else "too late, somebody else owns it"


def _fact(subscription: Subscription, delivery: Delivery) -> OrderFulfilled:
    return subscription.fact.from_json(delivery.event.payload)


def _copy(delivery: Delivery) -> Delivery:
    """As it was before the try: a rollback undoes the row, not the object."""
    return Delivery(pk=delivery.pk, event=delivery.event, subscriber=delivery.subscriber, state=delivery.state, tries=delivery.tries)


def _failed(subscription: Subscription, delivery: Delivery, error: Exception) -> str:
    """The boundary that isolates: whatever a subscriber raises becomes the state of its delivery and nothing else."""
    tries = delivery.tries + (delivery.claim is None)
    dead = isinstance(error, subscription.final) or tries > subscription.retries
    wait = jittered(doubled(subscription.backoff_s * settings.TIME_SCALE, tries - 1, settings.BACKOFF_CAP_S))
    name = type(error).__name__
    message = str(error) if isinstance(error, subscription.final) else f"{name} in try {tries} of {subscription.retries + 1}"
    log.warning("%s failed with %s, try %d%s", subscription.name, name, tries, ": dead letter" if dead else "")
    outbox.failed(delivery, Failure(code=name, message=message, retry_in_s=None if dead else wait))
    return f"{name}: {'dead letter' if dead else 'tried again later'}"
