"""The worker's consumer: it inspects a message before Celery reads it. Whatever Celery cannot take after all ends that message, not the worker."""

import logging
import time
from collections.abc import Callable
from typing import Any

from celery import signals
from celery.worker import consumer, state
from kombu.exceptions import DecodeError
from redis.exceptions import ResponseError

from config.consumer import refusal, valkey
from config.consumer.request import correlation_id_of
from orders import messages, tracing

log = logging.getLogger(__name__)
PlainConsumer: Any = consumer.Consumer

EVENTS_EVERY_S = 0.1  # Flower shows a task so much later; a worker that is busy sends a tenth of the messages about it


class Consumer(PlainConsumer):
    """Set by ``worker_consumer``."""

    def __init__(self, *words: Any, **options: Any) -> None:
        super().__init__(*words, **options)
        self._events_leave_at = 0.0  # by the monotonic clock
        if self.hub is not None:
            _leave_unknown_writers_alone(self.hub)

    def on_send_event_buffered(self) -> None:
        """The events of a tenth of a second are one message. Celery sends one in each turn of its loop, which is one for nearly each event."""
        now = time.monotonic()
        if now >= self._events_leave_at:  # a new connection forgets its timers, so none is waited for
            self._events_leave_at = now + EVENTS_EVERY_S
            self.hub.call_later(EVENTS_EVERY_S, self._flush_events)

    def shutdown(self) -> None:
        self._flush_events()
        super().shutdown()

    def create_task_handler(self, *words: Any, **options: Any) -> Callable[[Any], None]:
        handle = super().create_task_handler(*words, **options)
        self.controller._process_task = self.hand_over
        broker_errors = tuple(kind for kind in (*self.connection_errors, *self.channel_errors) if not issubclass(KeyError, kind))

        def receive(message: Any) -> None:
            try:
                with tracing.traced(correlation_id_of(message.headers)):
                    if self.may_be_handled(message):
                        handle(message)
            except KeyError as error:
                # Kombu counts it among the errors of a connection: the worker would connect anew, and meet the message again.
                self.refuse(message, f"Celery cannot read it ({error!r:.60})")
            except broker_errors:
                raise
            except Exception as error:
                self.refuse(message, f"Celery cannot read it ({type(error).__name__})")

        return receive

    def hand_over(self, request: Any) -> None:
        """To the pool, now or when one of its processes becomes free: then nobody else would catch what it raises, and nobody would give the process back."""
        try:
            type(self.controller)._process_task(self.controller, request)
        except OSError:
            raise
        except Exception as error:
            state.task_ready(request)
            self.controller._quick_release()
            self.refuse(request.message, f"Celery cannot read it ({type(error).__name__})")

    def may_be_handled(self, message: Any) -> bool:
        if wrong := messages.wrong_with(message):
            self.refuse(message, wrong)
        elif not self.knows(message.headers["task"]):
            self.refuse(message, "this code has no task of its name")
            self.announce_unknown(message)
        else:
            return True
        return False

    def knows(self, task: str) -> bool:
        """Celery's own tasks (``celery.chord_unlock`` and its like) are none of this shop's, and some of them come back for ever."""
        return task in self.app.tasks and not task.startswith("celery.")

    def announce_unknown(self, message: Any) -> None:
        """As Celery would, without its page of log: whoever hears it finds out whose work was dropped."""
        name, number = message.headers["task"], message.headers["id"]
        signals.task_unknown.send(sender=self, message=message, exc=None, name=name, id=number)

    def on_decode_error(self, message: Any, exc: Exception) -> None:
        """Kombu has met it, before it came to us."""
        self.refuse(message, "it cannot be unpacked" if isinstance(exc, DecodeError) else f"it cannot be unpacked ({type(exc).__name__})")

    def refuse(self, message: Any, why: str) -> None:
        """It never comes back. ``task_rejected`` is for whoever counts what has arrived."""
        body = message.body
        refusal.record(
            (message.delivery_info or {}).get("routing_key"), why, len(body) if isinstance(body, bytes | str) else None, message.headers
        )
        if not message.acknowledged:
            message.reject_log_error(log, self.connection_errors)
        signals.task_rejected.send(sender=self, message=message, exc=None)

    def on_connection_error_after_connected(self, exc: Exception) -> None:
        """A key of the broker that has another type would break each new connection in the same way."""
        if isinstance(exc, ResponseError) and valkey.is_of_wrong_type(exc):
            with self.app.connection_for_write() as another:
                another.default_channel.set_aside(sorted(self.app.amqp.queues.consume_from))
        super().on_connection_error_after_connected(exc)


def _leave_unknown_writers_alone(hub: Any) -> None:
    """In each turn of the loop Celery takes out each pool process that has nothing to be written to: a call of the kernel for each, which is refused."""
    remove = type(hub).remove_writer

    def remove_writer(fd: Any) -> None:
        if fd in hub.writers or fd in hub.readers or not isinstance(fd, int):
            remove(hub, fd)

    hub.remove_writer = remove_writer
