"""The description of the bus for its readers: an AsyncAPI 3 document, made from the events. ``docs/asyncapi.json`` is a copy of it.

Source: https://www.asyncapi.com/docs/reference/specification/v3.0.0
"""

import json
from typing import Any

from orders.events import EVENTS, Event
from orders.events.schema import schema_of
from sideeffects.bus.envelope import CONTENT_TYPE, DIGITS, data_schema

Document = dict[str, Any]
EXCHANGE = {"name": "shop.events", "type": "topic", "durable": True, "autoDelete": False}
TEXT: Document = {"type": "string", "minLength": 1}
ENVELOPE: Document = {
    "type": "object",
    "description": "A CloudEvent 1.0. It may have attributes that are not named here: a reader ignores them.",
    "required": ["specversion", "id", "source", "type", "subject", "time", "datacontenttype", "dataschema", "correlationid", "sequence", "data"],
    "properties": {
        "specversion": {"const": "1.0"},
        "id": {"type": "string", "format": "uuid", "description": "The same whenever the event is sent: by it a reader recognises one that it has had."},
        "source": {"type": "string", "format": "uri-reference", "description": "This shop (BUS_SOURCE)."},
        "type": TEXT,
        "subject": TEXT | {"description": "The number of the order."},
        "time": {"type": "string", "format": "date-time", "description": "When it became true."},
        "datacontenttype": {"const": "application/json"},
        "dataschema": {"type": "string", "format": "uri", "description": "Type and version of the event."},
        "correlationid": {"type": "string", "description": "The id of the request that has placed the order."},
        "sequence": {"type": "string", "pattern": f"^[0-9]{{{DIGITS}}}$", "description": "Its position: a later event of the same order has a greater one."},
        "data": {"type": "object"},
    },
}  # fmt: skip


def document() -> str:
    """As the file has it."""
    return json.dumps(_document(), indent=2) + "\n"


def _document() -> Document:
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Events of an order's life",
            "version": "1.0.0",
            "description": "Every event of the shop, for programs outside of it: at least once, and the events of an order in their order. `docs/bus.md` says more.",
            "license": {"name": "MIT"},
        },
        "defaultContentType": CONTENT_TYPE,
        "servers": {
            "valkey": {"host": "localhost:6379", "protocol": "redis", "description": "One stream, `shop.events` (BUS_NAME), with the fields `type` and `event`."},
            "rabbitmq": {"host": "localhost:5672", "protocol": "amqp", "description": "A topic exchange, `shop.events` (BUS_NAME). The routing key is the type."},
        },
        "channels": {event.type: _channel(event) for event in EVENTS},
        "operations": {f"send.{event.type}": _operation(event) for event in EVENTS},
        "components": {
            "messages": {event.type: _message(event) for event in EVENTS},
            "schemas": {"envelope": ENVELOPE} | {event.type: _of_data(event) for event in EVENTS},
        },
    }  # fmt: skip


def _channel(event: type[Event]) -> Document:
    return {
        "address": event.type,
        "messages": {event.type: {"$ref": f"#/components/messages/{event.type}"}},
        "bindings": {"amqp": {"is": "routingKey", "exchange": EXCHANGE, "bindingVersion": "0.3.0"}},
    }


def _operation(event: type[Event]) -> Document:
    channel = f"#/channels/{event.type}"
    return {"action": "send", "channel": {"$ref": channel}, "messages": [{"$ref": f"{channel}/messages/{event.type}"}]}


def _message(event: type[Event]) -> Document:
    of_this_type = {
        "properties": {
            "type": {"const": event.type},
            "dataschema": {"const": data_schema(event.type, event.version)},
            "data": {"$ref": f"#/components/schemas/{event.type}"},
        }
    }
    return {
        "name": event.type,
        "title": f"{event.type}, version {event.version}",
        "contentType": CONTENT_TYPE,
        "payload": {"allOf": [{"$ref": "#/components/schemas/envelope"}, of_this_type]},
    }


def _of_data(event: type[Event]) -> Document:
    """Without the dialect, which the document has no place for."""
    return {name: value for name, value in schema_of(event).items() if name != "$schema"}
