"""Messages that must not reach anybody: for each kind a name and what is put into the queue. No one of them may cost more than its own refusal.

``MESSAGES`` travel on every broker: body, headers and properties are odd. ``ENVELOPES`` are what only Valkey lets in, because there a message is any string.
"""

import base64
import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

NOBODY = 2**40  # a saga that does not exist
EMBED: dict[str, Any] = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}


def arguments(**changes: Any) -> dict[str, Any]:
    return {"saga": NOBODY, "epoch": 1, "order": "ORD-NONE"} | changes


def whole(embed: Mapping[str, Any] = EMBED, **changes: Any) -> bytes:
    """The body of a message that would be handled."""
    return json.dumps([[], arguments(**changes), embed]).encode()


@dataclass(frozen=True)
class Message:
    """``headers`` on top of what a whole message has; a value of ``...`` leaves that header out."""

    body: bytes = field(default_factory=whole)
    headers: Mapping[str, Any] = field(default_factory=dict)
    content_type: Any = "application/json"
    content_encoding: Any = "utf-8"
    properties: Mapping[str, Any] = field(default_factory=dict)

    def all_headers(self) -> dict[str, Any]:
        number = str(uuid.uuid4())
        headers: dict[str, Any] = {
            "lang": "py",
            "task": "fulfillment.payment",
            "id": number,
            "root_id": number,
            "parent_id": None,
            "group": None,
        }
        headers |= {"retries": 0, "eta": None, "expires": None, "timelimit": [None, None], "ignore_result": True, "argsrepr": "()"}
        return {name: value for name, value in (headers | dict(self.headers)).items() if value is not ...}

    def envelope(self, queue: str) -> dict[str, Any]:
        """As kombu puts it into a list of Valkey."""
        delivery = {"exchange": "", "routing_key": queue}
        properties = {"correlation_id": None, "reply_to": "", "delivery_mode": 2, "delivery_info": delivery, "priority": 0}
        properties |= {"body_encoding": "base64", "delivery_tag": str(uuid.uuid4())}
        return {
            "body": base64.b64encode(self.body).decode(),
            "content-type": self.content_type,
            "content-encoding": self.content_encoding,
            "headers": self.all_headers(),
            "properties": {name: value for name, value in (properties | dict(self.properties)).items() if value is not ...},
        }


def _signature(**changes: Any) -> dict[str, Any]:
    options = {"task_id": str(uuid.uuid4())}
    return {"task": "fulfillment.probe", "args": [], "kwargs": {}, "options": options, "subtask_type": None, "immutable": True} | changes


def _embedding(**changes: Any) -> bytes:
    return whole(EMBED | changes)


DEEP = 900
MESSAGES: dict[str, Message] = {
    "body null": Message(b"null"),
    "body a number": Message(b"5"),
    "body an object": Message(b'{"a": 1}'),
    "body an old protocol": Message(b'{"args": 1, "kwargs": 2}'),
    "body an empty list": Message(b"[]"),
    "body of two": Message(b"[1, 2]"),
    "body of three wrong": Message(b'[1, "x", 3]'),
    "arguments no mapping": Message(json.dumps([[], [], EMBED]).encode()),
    "embed no mapping": Message(json.dumps([[], arguments(), [1]]).encode()),
    "embed empty": Message(json.dumps([[], arguments(), {}]).encode()),
    "body empty": Message(b""),
    "body no JSON": Message(b"{{{"),
    "body binary": Message(b"\xff\xfe\x00\x01"),
    "body pickled": Message(b"\x80\x04N.", content_type="application/x-python-serialize", content_encoding="binary"),
    "body text": Message(b"hello", content_type="text/plain"),
    "no content type": Message(content_type=None),
    "unknown encoding": Message(content_encoding="klingon"),
    "bad compression": Message(b"xx", {"compression": "application/x-gzip"}),
    "unknown compression": Message(b"xx", {"compression": "application/x-nothing"}),
    "body deep": Message(json.dumps([[], arguments(), EMBED]).encode().replace(b'"ORD-NONE"', b"[" * DEEP + b"]" * DEEP)),
    "body very deep": Message(b"[" * 100_000 + b"]" * 100_000),
    "body huge": Message(json.dumps([[], arguments(order="x" * 2_000_000), EMBED]).encode()),
    "half a character": Message(whole(order="\ud800")),
    "no headers": Message(headers=dict.fromkeys(Message().all_headers(), ...)),
    "no task": Message(headers={"task": ...}),
    "task a number": Message(headers={"task": 5}),
    "task a list": Message(headers={"task": ["fulfillment.payment"]}),
    "unknown task": Message(headers={"task": "fulfillment.gift_wrap"}),
    "a task of Celery": Message(json.dumps([[], {"group_id": "g", "callback": {}}, EMBED]).encode(), {"task": "celery.chord_unlock"}),
    "no id": Message(headers={"id": ...}),
    "id a number": Message(headers={"id": 5}),
    "id a list": Message(headers={"id": [1]}),
    "id odd": Message(headers={"id": "\u202e\U0001f600/../<b>\nERROR forged" + "x" * 3000}),
    "group a number": Message(headers={"group": 5}),
    "root no text": Message(headers={"root_id": {"a": 1}}),
    "retries a text": Message(headers={"retries": "x"}),
    "eta garbage": Message(headers={"eta": "tomorrow"}),
    "eta a number": Message(headers={"eta": 5}),
    "eta far away": Message(headers={"eta": "9999-12-31T23:59:59"}),
    "expires garbage": Message(headers={"expires": "tomorrow"}),
    "expired": Message(headers={"expires": "2001-01-01T00:00:00"}),
    "time limit a number": Message(headers={"timelimit": 5}),
    "time limit of one": Message(headers={"timelimit": [1]}),
    "time limit of texts": Message(headers={"timelimit": ["a", "b"]}),
    "shadow a number": Message(headers={"shadow": 5}),
    "hops a text": Message(headers={"x_hops": "many", "x_cid": {"a": 1}}),
    "stamps odd": Message(headers={"stamped_headers": 5, "stamps": 5}),
    "chain no list": Message(_embedding(chain=5)),
    "chain of numbers": Message(_embedding(chain=[5])),
    "chain without a task": Message(_embedding(chain=[{}])),
    "chain with odd options": Message(_embedding(chain=[_signature(options=5)])),
    "callbacks no list": Message(_embedding(callbacks={"a": 1})),
    "errbacks no list": Message(_embedding(errbacks=5)),
    "errbacks of numbers": Message(_embedding(errbacks=[5])),
    "errback without a task": Message(_embedding(errbacks=[{}]), {"task": "fulfillment.boom"}),
    "a chord": Message(_embedding(chord=_signature())),
}  # fmt: skip


def _spoilt(**changes: Any) -> bytes:
    envelope = Message().envelope("saga") | changes
    return json.dumps({name: value for name, value in envelope.items() if value is not ...}).encode()


def _without(name: str, value: Any = ...) -> bytes:
    return json.dumps(Message(properties={name: value}).envelope("saga")).encode()


ENVELOPES: dict[str, bytes] = {
    "not JSON": b"not json",
    "binary": b"\xff\xfe\x00\x01",
    "empty": b"",
    "null": b"null",
    "a list": b"[]",
    "a number": b"5",
    "another object": b'{"a": 1}',
    "nested deeply": b"[" * 100_000 + b"]" * 100_000,
    "huge": b'{"body": "' + b"x" * 5_000_000 + b'"}',
    "no properties": _spoilt(properties=...),
    "properties a list": _spoilt(properties=[]),
    "headers a list": _spoilt(headers=[1]),
    "body no text": _spoilt(body=5),
    "body missing": _spoilt(body=...),
    "bad base64": _spoilt(body="a"),
    "no delivery tag": _without("delivery_tag"),
    "delivery tag an object": _without("delivery_tag", {"a": 1}),
    "no delivery info": _without("delivery_info"),
    "delivery info a list": _without("delivery_info", [1]),
    "delivery info empty": _without("delivery_info", {}),
    "unknown body encoding": _without("body_encoding", "rot13"),
    "body encoding a number": _without("body_encoding", 5),
    "priority a text": _without("priority", "high"),
}

# To every worker at once, through Valkey's publish: control commands that are none.
BROADCASTS = (b"x", b"[]", b"5", b'{"a": 1}', b'{"properties": {}}', b"\xff", b"")
