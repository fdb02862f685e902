"""The envelope of an event outside of the shop: CloudEvents 1.0, in JSON, with everything in one document (structured mode).

Source: https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md, formats/json-format.md, extensions/sequence.md
"""

import json
from typing import Any

from django.conf import settings

from orders.facts import Fact

CONTENT_TYPE = "application/cloudevents+json"
DIGITS = 20  # of a sequence, which is compared as text


def envelope(fact: Fact) -> dict[str, Any]:
    """Of a fact that has a number. ``id`` is the same whenever it is sent; ``sequence`` is its number, and that of a later event of its order is greater."""
    return {
        "specversion": "1.0",
        "id": str(fact.pk),
        "source": settings.BUS_SOURCE,
        "type": fact.type,
        "subject": fact.order.number,
        "time": fact.at.isoformat().replace("+00:00", "Z"),
        "datacontenttype": "application/json",
        "dataschema": data_schema(fact.type, fact.version),
        "correlationid": fact.correlation_id,
        "sequence": f"{fact.number:0{DIGITS}d}",
        "data": fact.payload,
    }


def data_schema(type_: str, version: int) -> str:
    """What names the schema of an event's data."""
    return f"urn:event:{type_}:{version}"


def as_json(fact: Fact) -> str:
    return json.dumps(envelope(fact), ensure_ascii=False, separators=(",", ":"))
