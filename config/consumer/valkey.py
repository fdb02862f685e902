"""Valkey lets anybody put anything into a list. What is no envelope of kombu's is dropped as soon as it is read: nothing knows how to give it back.

Also here: keys of the broker that hold something else than kombu expects, and answers that a publisher must take for "not published".

Note: one round trip to publish a message, and one to fetch it. Kombu's own channel needs two more for each message: it keeps a copy at the broker from when the
message is fetched until it is acknowledged, and gives it back 300 s after a worker has died. Here a message is acknowledged before its task runs, and what a dead
worker had fetched is found sooner, by the probes of the sweep and the relay (docs/decisions/0035-no-copy-of-a-fetched-message.md).
"""

import json
import logging
import uuid
from collections.abc import Callable, Sequence
from queue import Empty
from typing import Any

from celery import signals
from kombu.exceptions import OperationalError
from kombu.transport import redis, virtual
from redis.exceptions import ResponseError

from config.consumer import refusal
from orders.messages import MOST_BYTES

log = logging.getLogger(__name__)
PlainChannel: Any = redis.Channel
PlainTransport: Any = redis.Transport
PlainPoller: Any = redis.MultiChannelPoller
PlainQoS: Any = virtual.QoS

WRONG_TYPE = "WRONGTYPE"
PARTS: dict[str, type] = {"body": str, "headers": dict, "properties": dict}
PROPERTIES: dict[str, tuple[type, ...]] = {"delivery_tag": (str,), "delivery_info": (dict,), "priority": (int, type(None))}
DELIVERY = ("exchange", "routing_key")
ENVELOPE_BYTES = 2 * MOST_BYTES  # base64 and headers
BROADCASTS = ("celery.pidbox", "reply.celery.pidbox", "celeryev")


def of_envelope(item: bytes) -> tuple[str, dict[str, Any] | None]:
    """(what is wrong, the envelope where it could be read); empty: kombu can make a message of it."""
    if len(item) > ENVELOPE_BYTES:
        return f"it is larger than {ENVELOPE_BYTES} bytes", None
    try:
        envelope = json.loads(item)
    except (ValueError, RecursionError):
        return "it is no JSON", None
    if not isinstance(envelope, dict) or [name for name, kind in PARTS.items() if type(envelope.get(name)) is not kind]:
        return "it is no envelope: body, headers and properties", None
    headers, properties = envelope["headers"], envelope["properties"]
    if [name for name, kinds in PROPERTIES.items() if type(properties.get(name)) not in kinds]:
        return f"one of its properties is missing or odd: {', '.join(PROPERTIES)}", envelope
    if [name for name in DELIVERY if not isinstance(properties["delivery_info"].get(name), str)]:
        return "it does not say where it was published", envelope
    if headers.get("compression"):
        return "it is compressed", envelope
    return _of_encoding(envelope["body"], properties.get("body_encoding")), envelope


def _of_encoding(body: str, encoding: Any) -> str:
    if encoding != "base64":
        return "its body is not in base64"
    try:
        PlainChannel.codecs["base64"].decode(body)
    except ValueError:
        return "its body is not in base64"
    return ""


def _whole(response: Any, **_: Any) -> tuple[str, dict[str, Any]] | None:
    """What BRPOP brought: its key, and the envelope. None, as if it had waited in vain, where nobody can read it."""
    if not response:
        return None
    key, item = response[0].decode(errors="replace"), response[1]
    wrong, envelope = of_envelope(item)
    if envelope is not None and not wrong:
        return key, envelope
    _refuse(key, wrong, item, envelope)
    signals.task_rejected.send(sender=None, message=None, exc=None)
    return None


def _refuse(where: str, wrong: str, item: bytes, envelope: dict[str, Any] | None) -> None:
    refusal.record(where, wrong, len(item), (envelope or {}).get("headers"))


class QoS(PlainQoS):
    """The process that has fetched a message is the only one that knows of it."""

    def restore_unacked(self) -> list[Any]:
        """Give back what was fetched and not begun, when the worker stops. What the broker does not take is as lost as what a dead worker had fetched."""
        if errors := super().restore_unacked():
            log.warning("%d messages that were fetched could not be given back, probes will find out: %s", len(errors), errors[0][0])
        return []


class Channel(PlainChannel):
    """Kombu's, which gets only what is an envelope, and keeps no copy of it at the broker."""

    ack_emulation = False
    from_transport_options = tuple(option for option in PlainChannel.from_transport_options if option != "ack_emulation")

    def __init__(self, *words: Any, **options: Any) -> None:
        self._asking: Any = None
        self._consumed: Any = None
        self._counted: list[str] = []
        super().__init__(*words, **options)
        self.QoS = QoS

    def _create_client(self, asynchronous: bool = False) -> Any:
        """One for all questions, as long as its pool lasts: kombu makes one for each. The one that waits for messages is its own."""
        if asynchronous:
            client = super()._create_client(asynchronous)
            client.set_response_callback("BRPOP", _whole)
            return client
        if self._asking is None or self._asking.connection_pool is not self.pool:
            self._asking = super()._create_client()
        return self._asking

    def _brpop_read(self, **options: Any) -> bool:
        """As kombu's, which would parse again what has been parsed to find out whether it is an envelope."""
        connection = self.client.connection
        try:
            try:
                found = self.client.parse_response(connection, "BRPOP", **options)
            except self.connection_errors:
                connection.disconnect()
                raise
            if not found:
                raise Empty
            key, envelope = found
            queue = key.rsplit(self.sep, 1)[0]
            self._queue_cycle.rotate(queue)
            self.connection._deliver(envelope, queue)
            return True
        finally:
            self._in_poll = None
            self._flush_brpop_reauth()

    @property
    def active_queues(self) -> list[str]:
        """Kombu asks in each turn of its loop, and counts anew."""
        if self._consumed != (now := (self._active_queues, self.active_fanout_queues)):
            self._consumed, self._counted = (list(now[0]), set(now[1])), PlainChannel.active_queues.fget(self)
        return self._counted

    def _restore(self, message: Any, leftmost: bool = False) -> None:
        """Before those that wait: it was fetched before them."""
        delivery = message.delivery_info
        with self.conn_or_acquire() as client:
            self._do_restore_message(message._raw, delivery["exchange"], delivery["routing_key"], client, leftmost)

    def _handle_message(self, client: Any, response: Any) -> dict[str, Any]:
        """A broadcast (``celery control``) is heard once and never kept."""
        heard: dict[str, Any] = super()._handle_message(client, response)
        if isinstance(heard["data"], bytes):
            wrong, envelope = of_envelope(heard["data"])
            if wrong:
                _refuse(heard["channel"].decode(errors="replace"), wrong, heard["data"], envelope)
                heard["type"] = b"refused"
        return heard

    # Whoever publishes meets a key of another type before any worker does: a worker that is busy reads nothing.

    def _put(self, queue: str, message: Any, **options: Any) -> None:
        self._healed(queue, lambda: super(Channel, self)._put(queue, message, **options))

    def _size(self, queue: str) -> int:
        return int(self._healed(queue, lambda: super(Channel, self)._size(queue)))

    def _queue_bind(self, exchange: str, routing_key: str, pattern: str, queue: str) -> None:
        self._healed(queue, lambda: super(Channel, self)._queue_bind(exchange, routing_key, pattern, queue))

    def _healed(self, queue: str, ask: Callable[[], Any]) -> Any:
        """Raises OperationalError also where Valkey answers that it will not: no memory, no disk, no right to write."""
        try:
            return ask()
        except ResponseError as refused:
            if not is_of_wrong_type(refused):
                raise OperationalError(str(refused)) from refused
            self.set_aside([queue])
        try:
            return ask()
        except ResponseError as refused:
            raise OperationalError(str(refused)) from refused

    def set_aside(self, queues: Sequence[str]) -> None:
        """Rename every key that ``queues`` need and that holds something else; nothing is deleted."""
        expected = {self._q_for_pri(queue, priority): "list" for queue in queues for priority in self.priority_steps}
        expected |= {self.keyprefix_queue % exchange: "set" for exchange in (*queues, *BROADCASTS)}
        with self.conn_or_acquire() as client:
            for key, kind in expected.items():
                _set_aside(client, key, kind)


class Poller(PlainPoller):
    """Kombu's, which remembers what the event loop must hear of."""

    def __init__(self) -> None:
        super().__init__()
        self.connected: set[int] = set()  # file descriptors of sockets that the loop does not know

    def _register(self, channel: Any, client: Any, type: str) -> None:
        super()._register(channel, client, type)
        self.connected.add(self._chan_to_sock[channel, client, type].fileno())


class _Loop:
    """The event loop, for a transport that adds each of its sockets in every turn: two calls of the kernel for each, of which one is refused."""

    def __init__(self, loop: Any, poller: Poller) -> None:
        self._loop, self._poller = loop, poller

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loop, name)

    def add_reader(self, fd: int, callback: Callable[..., Any], *words: Any) -> None:
        """A new socket may have the number of one that was closed."""
        if fd not in self._loop.readers or fd in self._poller.connected:
            self._loop.add_reader(fd, callback, *words)
            self._poller.connected.discard(fd)


class Transport(PlainTransport):
    Channel = Channel

    def __init__(self, *words: Any, **options: Any) -> None:
        super().__init__(*words, **options)
        self.cycle = Poller()

    def register_with_event_loop(self, connection: Any, loop: Any) -> None:
        super().register_with_event_loop(connection, _Loop(loop, self.cycle))


def is_of_wrong_type(error: Exception) -> bool:
    return WRONG_TYPE in str(error)


# In one step: of two processes that have seen the same, the slower one would rename what was put there since.
SET_ASIDE = """
local found = redis.call('TYPE', KEYS[1]).ok
if found == ARGV[1] or found == 'none' then return '' end
local aside = KEYS[1] .. '.' .. found .. '.' .. ARGV[2]
redis.call('RENAME', KEYS[1], aside)
return aside
"""


def _set_aside(client: Any, key: str, kind: str) -> None:
    found = client.eval(SET_ASIDE, 1, key, kind, uuid.uuid4().hex[:8]).decode()
    if found:
        log.error("Key %r of the broker was a %s and not a %s: it is called %r now", key, found.split(".")[-2], kind, found)
