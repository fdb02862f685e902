"""The committed JSON Schemas of the public events, and whether a recorded payload matches its own."""

import json
from functools import cache
from typing import Any

from jsonschema import Draft202012Validator

from orders.events import event_class
from orders.events.schema import file_of
from tests.engines import ROOT

SCHEMAS = ROOT / "docs" / "events"


@cache
def validator(type_: str) -> Draft202012Validator:
    event = event_class(type_)
    assert event is not None, type_
    schema = json.loads((SCHEMAS / file_of(event)).read_text())
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


def faults(type_: str, payload: Any) -> list[str]:
    """What of the payload does not match the schema. Empty: it is as consumers may rely on."""
    return [f"{type_}: {error.json_path}: {error.message}" for error in validator(type_).iter_errors(payload)]
