"""Promise: what is published is what Celery's own chain would publish, so that Celery goes on with it by itself, and every task of it has the errback."""

import json
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from celery import chain

from config.celery import app
from fulfillment import tasks
from fulfillment.engine import Launch

WHAT = Launch(saga=1, epoch=3, order="ORD-1", compensating=False, steps=("payment", "inventory", "shipping"), again=2, correlation_id="c")
LATER = "reply_to"  # for results, which nobody keeps


def as_celery_would() -> None:
    signatures = tasks.signatures(WHAT)
    for signature in signatures:
        del signature.options["link_error"]
    chain(*signatures).apply_async(link_error=tasks.errback(WHAT))


def published(by: Callable[[], None], monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The messages, as text and back."""
    messages: list[Any] = []

    def keep(_: Any, name: str, message: Any, **options: Any) -> None:
        headers = {header: message.headers[header] for header in ("id", "root_id", "parent_id", "group", "timelimit", "kwargsrepr")}
        body = json.loads(json.dumps(message.body))
        for signature in body[2]["chain"]:
            signature["options"].pop(LATER, None)
        messages.append((name, headers, body, options["queue"].name))

    monkeypatch.setattr(app.amqp, "send_task_message", keep)
    by()
    return messages


def test_a_launch_is_published_as_celery_would_publish_its_chain(monkeypatch: pytest.MonkeyPatch) -> None:
    (ours,) = published(lambda: tasks.publish(WHAT), monkeypatch)

    assert [ours] == published(as_celery_would, monkeypatch)
    name, headers, (_, _, embedded), queue = ours
    assert (name, headers["id"], queue) == ("fulfillment.payment", "ORD-1.payment.e3.r2", "saga")
    assert [signature["task"] for signature in embedded["chain"]] == ["fulfillment.shipping", "fulfillment.inventory"]
    assert [errback["task"] for errback in embedded["errbacks"]] == ["fulfillment.failed"]
    assert all(signature["options"]["link_error"] for signature in embedded["chain"])


def test_a_page_of_launches_is_published_as_each_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """In one round trip, where the broker can do that."""
    left: list[Launch] = []
    other = Launch(saga=2, epoch=1, order="ORD-2", compensating=True, steps=("payment",))

    each = [message for what in (WHAT, other) for message in published(partial(tasks.publish, what), monkeypatch)]

    assert published(lambda: left.extend(tasks.launch_all([WHAT, other])), monkeypatch) == each
    assert (len(each), left) == (2, [])
