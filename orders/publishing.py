"""Publishing of many messages: in one round trip where the broker can do that (Valkey), else one by one."""

import logging
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from celery import current_app
from celery.exceptions import OperationalError
from kombu.exceptions import BatchPublishError  # type: ignore[attr-defined]  # new in 5.7

log = logging.getLogger(__name__)

Message = TypeVar("Message")


def publish_all(messages: Sequence[Message], publish: Callable[[Message, Any], object]) -> list[Message]:
    """Best effort. Returns those that the broker did not take. ``publish``: puts one message into the queue by way of a producer.

    A message may be published twice. So it must be one whose twin does nothing.
    """
    with current_app.producer_or_acquire() as producer:
        if producer.supports_batch_publish:
            try:
                with producer.batch():
                    return _each(messages, publish, producer)
            except BatchPublishError as failed:  # nobody knows whether the broker took them
                log.warning("%d messages are published one by one: %s", len(messages), failed.__cause__)
        return _each(messages, publish, producer)


def _each(messages: Sequence[Message], publish: Callable[[Message, Any], object], producer: Any) -> list[Message]:
    for position, message in enumerate(messages):
        try:
            publish(message, producer)
        except (OperationalError, OSError) as down:
            log.warning("%d messages were not published, a loop will: %s", len(messages) - position, down)
            return list(messages[position:])
    return []
