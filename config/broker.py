"""The broker: can anything be published, and how long are the queues? Each question is as brief as a publish."""

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import kombu
import redis
from django.conf import settings
from kombu.exceptions import ChannelError, OperationalError

ASKED_FOR_WRITES = "shop.takes_writes"
CONFIRMS_WITHIN_S = 1.0
ASKED_AGAIN_AFTER_S = 5.0


def no_answer() -> tuple[type[Exception], ...]:
    """The exceptions of a broker that does not answer: its client's own errors are no ``OSError``."""
    with _connection() as broker:
        return (OperationalError, OSError, *broker.connection_errors)


def trouble() -> str:
    """Why nothing can be published now, as a sentence without its subject; empty: the broker answers, and takes what is published."""
    with _connection() as broker:
        try:
            _connect(broker)
            return _refusal(broker.default_channel.client) if broker.transport.driver_type == "redis" else _block(broker)
        except no_answer():
            return "does not answer"


def _refusal(client: Any) -> str:
    """A replica, and a server that is full or cannot write its file, answers PING and takes no message. Its first words say which."""
    try:
        client.set(ASKED_FOR_WRITES, "", px=1)
    except redis.ResponseError as refused:
        return f"answers and takes no messages ({str(refused)[:80].rstrip('.')})"
    return ""


def _block(broker: Any) -> str:
    """RabbitMQ with an alarm of its memory or disk lets everybody in, confirms the first message (nobody gets this one) and reads nothing that follows."""
    channel = broker.default_channel
    broker.connection.on_blocked = _raise
    try:
        for _ in range(2):
            nothing = channel.prepare_message("", content_encoding="utf-8")
            channel.basic_publish_confirm(nothing, exchange="", routing_key=ASKED_FOR_WRITES, confirm_timeout=CONFIRMS_WITHIN_S)
    except _Blocked:
        why = "it blocks whoever publishes: `rabbitmqctl list_alarms`, or its log, says why"
    except TimeoutError:
        why = f"it has confirmed none within {CONFIRMS_WITHIN_S:g} s"
    except broker.channel_errors as refused:
        why = str(refused)[:80].rstrip(".")
    else:
        return ""
    broker.connection.collect()  # a farewell would not be read either, and is waited for
    return f"answers and takes no messages ({why})"


class _Blocked(Exception):
    """The broker has said so, while something else was waited for."""


def _raise(reason: str) -> None:
    raise _Blocked(reason)


def lengths(queues: Iterable[str]) -> dict[str, int]:
    """Messages that wait in each queue, without those that a worker has fetched already; empty where the broker cannot be asked."""
    with _connection() as broker:
        try:
            _connect(broker)
            return {queue: _length(broker, queue) for queue in queues}
        except no_answer():
            return {}


class QueueLength:
    """How many messages wait in ``queues`` together, for whoever asks all the time. The channel is kept: to open one costs more than the question."""

    def __init__(self, *queues: str) -> None:
        self._queues = queues
        self._broker: Any = None
        self._channel: Any = None
        self._asked_again_at = 0.0

    def ask(self) -> int | None:
        """Without those that a worker has fetched already. None: the broker cannot be asked; then it is left alone for some seconds."""
        if time.monotonic() < self._asked_again_at:
            return None
        try:
            return sum(map(self._length, self._queues))
        except (*no_answer(), *self._broker.channel_errors):
            self.close()
            self._asked_again_at = time.monotonic() + ASKED_AGAIN_AFTER_S
            return None

    def _length(self, queue: str) -> int:
        try:
            return int(self._opened().queue_declare(queue=queue, passive=True).message_count)
        except ChannelError:  # there is no such queue until somebody publishes to it
            if self._broker.transport.driver_type == "amqp":
                self._channel = None  # RabbitMQ has closed it
            return 0

    def close(self) -> None:
        if self._broker is not None:
            self._broker.release()
        self._broker, self._channel = None, None

    def _opened(self) -> Any:
        if self._broker is None:
            self._broker = _new_connection()
        if self._channel is None:
            _connect(self._broker)
            self._channel = self._broker.channel()
        return self._channel


@contextmanager
def _connection() -> Iterator[Any]:
    broker = _new_connection()
    try:
        yield broker
    finally:
        broker.release()


def _new_connection() -> Any:
    return kombu.Connection(
        settings.CELERY_BROKER_URL,
        transport_options=settings.CELERY_BROKER_TRANSPORT_OPTIONS,
        connect_timeout=settings.CELERY_BROKER_CONNECTION_TIMEOUT,
    )


def _connect(broker: Any) -> None:
    """At once or not at all: a channel of its own accord would try for two seconds."""
    broker.ensure_connection(max_retries=1, interval_start=0, timeout=1)


def _length(broker: Any, queue: str) -> int:
    channel = broker.channel()
    try:
        return int(channel.queue_declare(queue=queue, passive=True).message_count)
    except (ChannelError, *broker.channel_errors):
        return 0  # there is no such queue until somebody publishes to it
    finally:
        channel.close()
