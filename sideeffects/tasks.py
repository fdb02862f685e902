"""Discovery of the subscribers, the receiver of every public fact, the relay's round, and Celery's door: one named task per subscriber.

A subscriber is a folder in ``sideeffects/subscribers/`` whose ``subscriber.py`` declares one; nothing here names any of them.
"""

import functools
import importlib
import inspect
import logging
import uuid
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from datetime import datetime
from importlib.util import find_spec
from typing import Any

from celery import Task, shared_task
from celery.exceptions import OperationalError
from django.apps import AppConfig, apps
from django.conf import settings
from django.core.checks import CheckMessage, Error, register
from django.db import transaction
from django.urls import URLPattern, URLResolver, include, path

from orders import probes
from orders.clock import shop_now
from orders.events import OrderFulfilled, Subscription, order_fulfilled
from sideeffects import dead_letters, relay
from sideeffects.attempt import HARD_AFTER_S, after_loss, deliver
from sideeffects.deliveries import Failure
from sideeffects.relay import Message

log = logging.getLogger(__name__)

ROOMS = "sideeffects.subscribers."
QUEUE = "sideeffects"
LAUNCHES_A_ROUND, LOOKS_A_ROUND = 500, 20  # the relay's bound: it is silent for a few seconds at most, whatever is due

TASKS: dict[str, Any] = {}
_probes = probes.Probes()


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


def audit(since: datetime | None = None, doubted: Collection[str] = ()) -> Iterator[tuple[str, str]]:
    """(subscriber, what is off): what it is owed and has not heard; and each room's own word about its rows, that whatever it has heard was done once, from the
    function ``audit`` of its ``subscriber.py`` where it has one.

    ``since``: a room whose ``audit`` takes it is asked only about facts from then on (None: about all), unless it is ``doubted``.
    A room whose audit breaks is off, and hides nothing about the others.
    """
    yield from dead_letters.owed({name: {final.__name__ for final in one.final} for name, one in subscriptions().items()})
    for name, subscription in subscriptions().items():
        ask = getattr(importlib.import_module(subscription.handler.__module__), "audit", None)
        if ask is None:
            continue
        try:
            with transaction.atomic():
                found = list(ask(None if name in doubted else since) if "since" in inspect.signature(ask).parameters else ask())
        except Exception as error:
            log.exception("The audit of %s broke", name)
            found = [f"its audit broke: {type(error).__name__}"]
        yield from ((name, told) for told in found)


def forget(email: str, write: bool) -> Counter[str]:
    """Subscriber → rows that belong to this address: each room's own doing, by the function ``forget`` of its ``subscriber.py`` where it has one.

    In the caller's transaction. Without ``write`` they are only counted.
    """
    doing = {name: getattr(importlib.import_module(s.handler.__module__), "forget", None) for name, s in subscriptions().items()}
    return +Counter({name: do(email, write) for name, do in doing.items() if do is not None})


def open_the_doors() -> None:
    """At start-up, once all models are loaded: a task for every subscriber, and the receiver of every fact."""
    for subscription in subscriptions().values():
        TASKS[subscription.name] = _define(subscription)
    order_fulfilled.connect(receive, dispatch_uid="sideeffects.tasks")


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


def receive(sender: object, fact: OrderFulfilled, **_: Any) -> None:
    """A fact became true in the caller's transaction. The fast path: its messages go out on commit, best effort. The relay decides who is owed it."""
    interested = [subscription.name for subscription in subscriptions().values() if isinstance(fact, subscription.fact)]
    messages = [Message(fact=fact.fact_id, subscriber=name, order=fact.number, attempt=1) for name in interested]
    transaction.on_commit(lambda: publish(messages), robust=True)


def publish(messages: list[Message]) -> list[Message]:
    """Best effort: returns those that the broker did not take; the relay publishes them once more."""
    for position, message in enumerate(messages):
        task_id = f"{message.order}.{message.subscriber}.{message.attempt}"
        try:
            TASKS[message.subscriber].apply_async(kwargs={"fact": str(message.fact), "order": message.order}, task_id=task_id)
        except (OperationalError, OSError) as down:
            log.warning("%d deliveries were not published, the relay will: %s", len(messages) - position, down)
            return messages[position:]
    return []


# --- the relay ------------------------------------------------------------------------------------------------------------


def relay_round(may_go_on: Callable[[], bool], marks: relay.Marks | None = None) -> int:
    """One round of the relay: who is owed what, then at most 500 messages, then a probe if one is wanted. Returns how many went out."""
    marks = marks or relay.Marks()
    lost_before = probes.lost_before(QUEUE)
    for _ in range(LOOKS_A_ROUND):
        if not may_go_on() or not relay.owe(lost_before, marks):
            break
    ahead = relay.look_after_circuits(names(), marks)
    relay.not_published(publish(ahead))
    launched = len(ahead)
    known = [name for name in names() if name not in marks.at_work]
    while launched < LAUNCHES_A_ROUND and may_go_on():
        messages = relay.due(known, lost_before, _after_loss, marks)
        left = publish(messages)
        launched += len(messages) - len(left)
        if left:
            relay.not_published(left)
        if left or not messages:
            break
    _ask_after(relay.waits_since(marks))
    return launched


def _after_loss(subscriber: str, tries: int) -> Failure:
    return after_loss(subscriptions()[subscriber], tries)


def _ask_after(oldest: datetime | None) -> None:
    """Send a probe, if the oldest message that nobody has started waits for longer than patience; tell a person where none comes out for too long."""
    if oldest is not None and (shop_now() - oldest).total_seconds() > settings.PATIENCE_S:
        _probes.want(QUEUE)
    for queue, stamp in _probes.due():
        task_id = f"probe.{queue}.{stamp:%H%M%S.%f}"
        try:
            probe.apply_async(kwargs={"stamp": stamp.isoformat()}, task_id=task_id)
        except (OperationalError, OSError) as down:
            log.warning("A probe of queue %s was not published: %s", queue, down)
            probes.probe_not_sent(queue)
    _probes.tell_of_unserved([QUEUE], settings.QUEUE_UNSERVED_LIMIT_S)


@shared_task(name="sideeffects.probe")
def probe(*unnamed: Any, **message: Any) -> str:
    """A probe came out of the queue: whatever was published before it, and has not started, is lost."""
    stamp = None if unnamed or set(message) != {"stamp"} else probes.stamp_of(message["stamp"])
    if stamp is None:
        return _refuse("sideeffects.probe", "it must name a stamp with a time zone, and nothing else")
    probes.probe_came_out(QUEUE, stamp)
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
    """Also a message of the first release, which named a delivery. Nothing is stranded by it: the relay publishes a message of its own."""
    log.error("%s: message refused: %s", task, wrong)
    return f"refused: {wrong}"
