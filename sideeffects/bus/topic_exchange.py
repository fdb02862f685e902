"""A bus in RabbitMQ: a durable topic exchange. The routing key is the type of the event. Each reader has a quorum queue of its own, which is bounded too."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import kombu
from kombu.exceptions import OperationalError

from orders.facts import Fact
from sideeffects.bus.envelope import CONTENT_TYPE, as_json
from sideeffects.bus.errors import BusTrouble
from sideeffects.bus.kind import Received

ANSWERS_WITHIN_S = 5.0
PERSISTENT = 2
FETCHED_AT_ONCE = 100
WAITS_S = 1.0  # for the next event, before it says that there is none
LINE = {"confirm_publish": True, "read_timeout": ANSWERS_WITHIN_S, "write_timeout": ANSWERS_WITHIN_S}


class TopicExchange:
    """``name``: of the exchange. ``keeps``: how many events wait in a queue at most; the oldest ones are dropped."""

    def __init__(self, url: str, name: str, keeps: int) -> None:
        self._url, self._keeps = url, keeps
        self._exchange = kombu.Exchange(name, "topic", durable=True)
        self._line: Any = None

    def newest(self) -> None:
        """An exchange keeps nothing."""

    def publish(self, facts: Sequence[Fact]) -> None:
        with self._told() as line:
            producer = kombu.Producer(line, self._exchange)
            for fact in facts:
                producer.publish(
                    as_json(fact).encode(),
                    routing_key=fact.type,
                    content_type=CONTENT_TYPE,
                    content_encoding="utf-8",
                    message_id=str(fact.pk),
                    delivery_mode=PERSISTENT,
                    retry=False,
                    confirm_timeout=ANSWERS_WITHIN_S,
                )

    def forget(self) -> None:
        """An exchange keeps nothing, and what waits in a queue is its reader's."""

    def receive(self, pattern: str, after: int | None, queue: str) -> Iterator[Received | None]:
        """From when the queue was made on. ``after`` skips what was published before it, and brings nothing back: `manage.py bus --again-from` does."""
        arrived: list[Any] = []
        with self._told() as line, self._consumer(line, self._queue(pattern, queue), arrived):
            while True:
                try:
                    line.drain_events(timeout=WAITS_S)
                except TimeoutError:
                    line.heartbeat_check()
                    yield None
                while arrived:
                    message = arrived.pop(0)
                    envelope = json.loads(message.body)
                    number = int(envelope["sequence"])
                    if number > (after or 0):
                        yield Received(number, envelope)
                    message.ack()

    def _consumer(self, line: Any, queue: kombu.Queue, arrived: list[Any]) -> kombu.Consumer:
        return kombu.Consumer(line, [queue], on_message=arrived.append, accept=[CONTENT_TYPE], prefetch_count=FETCHED_AT_ONCE)

    def _queue(self, pattern: str, name: str) -> kombu.Queue:
        """Without a name it is gone with its reader."""
        if not name:
            return kombu.Queue(
                exchange=self._exchange, routing_key=pattern, exclusive=True, auto_delete=True, durable=False, max_length=self._keeps
            )
        kept = {"x-queue-type": "quorum"}
        return kombu.Queue(name, self._exchange, pattern, durable=True, max_length=self._keeps, queue_arguments=kept)

    def close(self) -> None:
        if self._line is not None:
            self._line.collect()  # a server that stands still would not read a farewell, and is waited for
            self._line = None

    @contextmanager
    def _told(self) -> Iterator[Any]:
        if self._line is None:
            self._line = kombu.Connection(self._url, transport_options=LINE, connect_timeout=ANSWERS_WITHIN_S, heartbeat=30)
        trouble = (OperationalError, OSError, *self._line.connection_errors, *self._line.channel_errors)
        try:
            self._line.ensure_connection(max_retries=1, interval_start=0, timeout=ANSWERS_WITHIN_S)
            yield self._line
        except trouble as error:
            self.close()
            raise BusTrouble(
                f"the bus (RabbitMQ) has not taken or answered what it was sent: {type(error).__name__}: {str(error)[:80].rstrip('.')}"
            ) from error
