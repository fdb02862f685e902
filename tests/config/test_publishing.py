"""Promise: a message of this shop is the one that Celery would have sent."""

import base64
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import kombu
import pytest
from celery import _state, signals
from celery.app.task import Context
from celery.contrib.django.task import DjangoTask

from config.celery import app
from config.publishing import Task
from fulfillment import tasks
from fulfillment.engine import Launch
from orders import tracing
from sideeffects import tasks as deliveries

AMQP: Any = app.amqp
STATE: Any = _state
LAUNCH = Launch(saga=7, epoch=2, order="ORD-1001", compensating=False, steps=("payment", "inventory", "shipping"), correlation_id="c-1")
Publish = Callable[[Any], None]


def chain(producer: Any) -> None:
    first, *rest = tasks.signatures(LAUNCH)
    with tracing.traced("c-1"):
        first.apply_async(chain=rest[::-1], producer=producer)


def what_follows_in_a_chain(producer: Any) -> None:
    """As Celery's tracer publishes it, in the task before it."""
    _, *rest = json.loads(json.dumps(tasks.signatures(LAUNCH)))
    with inside("fulfillment.payment", "ORD-1001.payment.e2"):
        following = app.signature(rest[0])
        words = {"chain": rest[1:], "parent_id": "ORD-1001.payment.e2", "root_id": "ORD-1001.payment.e2", "priority": None}
        AMQP._retry_publish(following.apply_async, ("done",), producer=producer, **words)


def what_a_task_publishes(producer: Any) -> None:
    with inside("fulfillment.shipping", "ORD-1001.shipping.e2"):
        deliveries.TASKS["email"].apply_async(kwargs={"fact": "f-1", "order": "ORD-1001"}, task_id="ORD-1001.email.1", producer=producer)


def what_no_task_publishes(producer: Any) -> None:
    deliveries.TASKS["email"].apply_async(kwargs={"fact": "f-1", "order": "ORD-1001"}, task_id="ORD-1001.email.1", producer=producer)


def a_task_with_other_options(producer: Any) -> None:
    tasks.probe.apply_async(kwargs={"queue": "compensation"}, task_id="probe.1", queue="compensation", producer=producer)


@contextmanager
def inside(name: str, number: str) -> Iterator[None]:
    task = app.tasks[name]
    STATE._task_stack.push(task)
    task.request_stack.push(Context({"id": number, "root_id": "ORD-1001.payment.e2"}))
    try:
        with tracing.traced("c-1"):
            yield
    finally:
        task.request_stack.pop()
        STATE._task_stack.pop()


def published(publish: Publish) -> list[dict[str, Any]]:
    """The messages as they stand in their queues, and what ``before_task_publish`` has said of each."""
    said: list[dict[str, Any]] = []

    def note(**words: Any) -> None:
        said.append({name: words[name] for name in ("sender", "body", "exchange", "routing_key", "headers", "properties", "retry_policy")})

    signals.before_task_publish.connect(note, weak=False)
    try:
        with kombu.Connection("memory://") as connection:
            channel: Any = connection.default_channel
            channel.state.clear()
            queues = channel.queues
            queues.clear()
            publish(app.amqp.Producer(connection, auto_declare=False))
            messages = [message for name in sorted(queues) for message in _all(queues[name])]
    finally:
        signals.before_task_publish.disconnect(note)
    for message in messages:
        message["body"] = json.loads(base64.b64decode(message["body"]))
        del message["properties"]["delivery_tag"]
    return [*messages, *json.loads(json.dumps(said))]


def _all(queue: Any) -> list[dict[str, Any]]:
    found = []
    while not queue.empty():
        found.append(json.loads(json.dumps(queue.get())))
    return found


@pytest.mark.parametrize(
    "publish", [chain, what_follows_in_a_chain, what_a_task_publishes, what_no_task_publishes, a_task_with_other_options]
)
def test_a_message_is_the_one_that_celery_would_have_sent(publish: Publish, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever it says, and whatever those who listen are told of it."""
    ours = published(publish)

    monkeypatch.setattr(Task, "apply_async", DjangoTask.apply_async)
    celerys = published(publish)

    assert len(ours) == 2 and ours == celerys


def test_what_is_published_all_the_time_goes_the_short_way(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: Any, **__: Any) -> None:
        raise AssertionError("Celery's own way")

    monkeypatch.setattr(app, "send_task", never)

    for publish in (chain, what_follows_in_a_chain, what_a_task_publishes, what_no_task_publishes):
        assert len(published(publish)) == 2
