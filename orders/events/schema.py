"""The JSON Schema of each event, made from its class: what ``docs/events/`` has, and what a consumer may rely on.

A payload may have more fields than its schema names: a later release adds some, and a reader ignores what it does not know.
"""

import inspect
import types
from dataclasses import MISSING, fields, is_dataclass
from typing import Any, get_args, get_origin, get_type_hints

from orders.events.event import JSON_TYPES, Event

Schema = dict[str, Any]


def file_of(event: type[Event]) -> str:
    """Its name below ``docs/events/``."""
    return f"{event.type}.v{event.version}.json"


def schema_of(event: type[Event]) -> Schema:
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": f"{event.type}, version {event.version}"}
    return head | {"description": inspect.getdoc(event)} | _object(event)


def _object(cls: Any) -> Schema:
    hints = get_type_hints(cls)
    found: Schema = {"type": "object", "properties": {}, "required": []}
    for field in fields(cls):
        found["properties"][field.name] = _value(hints[field.name])
        if field.default is MISSING:
            found["required"].append(field.name)
        else:
            found["properties"][field.name]["default"] = field.default
    return found


def _value(hint: Any) -> Schema:
    if get_origin(hint) is tuple:
        return {"type": "array", "items": _value(get_args(hint)[0])}
    if is_dataclass(hint):
        return _object(hint)
    if get_origin(hint) is types.UnionType:
        return {"type": [JSON_TYPES[one] for one in get_args(hint)]}
    return {"type": JSON_TYPES[hint]}
