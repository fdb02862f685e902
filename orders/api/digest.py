"""Whether two bodies order the same: a digest of what a body means, stored with the order beside the version of the rule that made it.

Each version stays as it is for ever, because orders that carry it are asked for again. Whoever changes what the fields make of a body, or what it means, adds one.

Note: ``request_digest`` is always of version 1. Code from before the versions compares it, and runs beside this code in a rolling deploy; code that does not
know an order's version falls back on it.
"""

import hashlib
import json
import unicodedata
from collections.abc import Callable, Mapping
from typing import Any

from orders.models import Order

VERSION = 2
NO_PART = ("expected_total_minor",)  # a condition of placing the order, and no part of it


def first(wanted: Mapping[str, Any]) -> str:
    """Version 1: the fields as they were read, in the order in which they came."""
    return _sha256(_ordered(wanted))


def newest(wanted: Mapping[str, Any]) -> str:
    """Version 2: what is empty is not there, lines have no order, and a letter is the same however it is composed."""
    meant = _meant(_ordered(wanted))
    return _sha256(meant | {"lines": sorted(meant["lines"], key=lambda line: str(line["sku"]))})


_RULES: Mapping[int, Callable[[Mapping[str, Any]], str]] = {1: first, VERSION: newest}


def columns(wanted: Mapping[str, Any]) -> dict[str, Any]:
    """What an order stores of it."""
    return {"request_digest": first(wanted), "digest": newest(wanted), "digest_version": VERSION}


def is_same(order: Order, wanted: Mapping[str, Any]) -> bool:
    """Whether ``wanted`` (a valid ``RequestedOrder``) is what ``order`` was placed with."""
    rule = _RULES.get(order.digest_version)
    if rule is None or order.digest_version == 1:
        return order.request_digest == first(wanted)
    return order.digest == rule(wanted)


def _ordered(wanted: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in wanted.items() if name not in NO_PART}


def _meant(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _meant(part) for name, part in value.items() if part not in ("", None)}
    if isinstance(value, list):
        return [_meant(part) for part in value]
    return unicodedata.normalize("NFC", value) if isinstance(value, str) else value


def _sha256(what: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()
