"""Valkey lets anybody put anything into a list. What is no envelope of kombu's is dropped as soon as it is read: nothing knows how to give it back.

Also here: keys of the broker that hold something else than kombu expects, and answers that a publisher must take for "not published".
"""

import json
import logging
import uuid
from typing import Any

from celery import signals
from kombu.exceptions import OperationalError
from kombu.transport import redis
from redis.exceptions import ResponseError

from config.poison import refusal
from config.poison.faults import MOST_BYTES

log = logging.getLogger(__name__)
PlainChannel: Any = redis.Channel
PlainTransport: Any = redis.Transport

WRONG_TYPE = "WRONGTYPE"
PARTS: dict[str, type] = {"body": str, "headers": dict, "properties": dict}
PROPERTIES: dict[str, tuple[type, ...]] = {"delivery_tag": (str,), "delivery_info": (dict,), "priority": (int, type(None))}
DELIVERY = ("exchange", "routing_key")
ENVELOPE_BYTES = 2 * MOST_BYTES  # base64 and headers
BROADCASTS = ("celery.pidbox", "reply.celery.pidbox", "celeryev")


def of_envelope(item: bytes) -> tuple[str, dict[str, Any] | None]:
    """(what is wrong, headers where they could be read); empty: kombu can make a message of it."""
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
        return f"one of its properties is missing or odd: {', '.join(PROPERTIES)}", headers
    if [name for name in DELIVERY if not isinstance(properties["delivery_info"].get(name), str)]:
        return "it does not say where it was published", headers
    if headers.get("compression"):
        return "it is compressed", headers
    return _of_encoding(envelope["body"], properties.get("body_encoding")), headers


def _of_encoding(body: str, encoding: Any) -> str:
    if encoding != "base64":
        return "its body is not in base64"
    try:
        PlainChannel.codecs["base64"].decode(body)
    except ValueError:
        return "its body is not in base64"
    return ""


def _whole(response: Any, **_: Any) -> tuple[bytes, bytes] | None:
    """What BRPOP brought; None, as if it had waited in vain, where nobody can read it."""
    if not response:
        return None
    queue, item = response
    wrong, headers = of_envelope(item)
    if not wrong:
        return queue, item
    refusal.tell(queue.decode(errors="replace"), wrong, len(item), headers)
    signals.task_rejected.send(sender=None, message=None, exc=None)
    return None


# A KeyError counts among them for kombu, and is none here: it is what a message without a part raises.
_BROKEN_LINE = tuple(kind for kind in PlainTransport.connection_errors if not issubclass(KeyError, kind))


class Channel(PlainChannel):
    """kombu's, behind a door."""

    def _create_client(self, asynchronous: bool = False) -> Any:
        client = super()._create_client(asynchronous)
        client.set_response_callback("BRPOP", _whole)
        return client

    def _deliver_fanout_message(self, message: Any, exchange: str) -> bool:
        """A broadcast (``celery control``) is heard once and never kept."""
        try:
            return bool(super()._deliver_fanout_message(message, exchange))
        except _BROKEN_LINE:
            raise
        except Exception as error:
            refusal.tell(exchange, f"a broadcast that nobody can read ({type(error).__name__})", None)
            return True

    def _put(self, queue: str, message: Any, **options: Any) -> None:
        """Raises OperationalError also where Valkey answers that it will not: a key of another type, no memory, no disk, no right to write."""
        try:
            super()._put(queue, message, **options)
        except ResponseError as refused:
            raise OperationalError(str(refused)) from refused


class Transport(PlainTransport):
    Channel = Channel


# --- keys of another type ---------------------------------------------------------------------------------------------


def is_of_wrong_type(error: Exception) -> bool:
    return WRONG_TYPE in str(error)


def set_aside(broker: Any, queues: list[str]) -> list[str]:
    """Rename every key that the broker needs and that holds something else; nothing is deleted. Returns the names that they had."""
    with broker:
        channel = broker.default_channel
        expected = {channel.unacked_key: "hash", channel.unacked_index_key: "zset", channel.unacked_mutex_key: "string"}
        expected |= {channel._q_for_pri(queue, priority): "list" for queue in queues for priority in channel.priority_steps}
        expected |= {channel.keyprefix_queue % exchange: "set" for exchange in (*queues, *BROADCASTS)}
        return [key for key, kind in expected.items() if _is_moved(channel.client, key, kind)]


def _is_moved(client: Any, key: str, kind: str) -> bool:
    found = client.type(key).decode()
    if found in (kind, "none"):
        return False
    aside = f"{key}.{found}.{uuid.uuid4().hex[:8]}"
    client.rename(key, aside)
    log.error("Key %r of the broker was a %s and not a %s: it is called %r now", key, found, kind, aside)
    return True
