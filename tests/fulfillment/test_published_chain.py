"""Promise: what is published is what Celery's own chain would publish, so that Celery goes on with it by itself, and every task of it has the errback."""

import json
from collections.abc import Callable
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
