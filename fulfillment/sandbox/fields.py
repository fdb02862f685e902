"""Reading what came in: every field is there, has its type and stays in its bounds, or the caller gets the name of the one that does not."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from unicodedata import category

from fulfillment.sandbox.answers import Problem

MAX_LENGTH = 255  # characters
MAX_AMOUNT = 999_999_999_999  # minor units
MAX_PAGE = 200  # entries: whatever they hold, a page stays below a megabyte


@dataclass(frozen=True, kw_only=True)
class Page:
    """A part of a list: at most ``limit`` entries behind the one with the id ``after``, entered at or after ``since`` (UTC; empty: any time)."""

    after: str
    limit: int
    since: str


def invalid(field: str, message: str) -> Problem:
    return Problem(400, "invalid_field", f"{field}: {message}", field)


def read_object(raw: bytes) -> dict[str, Any]:
    """The JSON object in ``raw``. Raises Problem 400."""
    try:
        body = json.loads(raw)
    except (ValueError, RecursionError):
        raise Problem(400, "invalid_json", "The body is not JSON.") from None
    if not isinstance(body, dict):
        raise Problem(400, "invalid_json", "The body is not a JSON object.")
    return body


def present(body: dict[str, Any], name: str, within: str = "") -> Any:
    if name not in body:
        raise Problem(400, "missing_field", f"{within}{name} is missing.", within + name)
    return body[name]


def text(body: dict[str, Any], name: str, within: str = "") -> str:
    """A string of 1 to 255 characters, none of them a control character. ``within``: the path of ``body``, for the message."""
    value, field = present(body, name, within), within + name
    if not isinstance(value, str) or not value.strip():
        raise invalid(field, "must be a text that is not empty.")
    if len(value) > MAX_LENGTH or any(category(character) in ("Cc", "Cs") for character in value):
        raise invalid(field, f"must be at most {MAX_LENGTH} characters, none of them a control character.")
    return value


def whole(body: dict[str, Any], name: str, maximum: int, within: str = "") -> int:
    """A whole number from 1 to ``maximum``."""
    value = present(body, name, within)
    if type(value) is not int or not 1 <= value <= maximum:
        raise invalid(within + name, f"must be a whole number from 1 to {maximum}.")
    return value


def amount(body: dict[str, Any]) -> int:
    """Minor units, above 0."""
    return whole(body, "amount", MAX_AMOUNT)


def currency(body: dict[str, Any]) -> str:
    """ISO 4217, three capitals."""
    value = text(body, "currency")
    if not re.fullmatch("[A-Z]{3}", value):
        raise invalid("currency", "must be three capital letters.")
    return value


def page(parameter: Callable[[str, str], str]) -> Page:
    """Which part of a list the query asks for; ``parameter(name, default)`` reads it. Raises Problem 400."""
    limit = parameter("limit", str(MAX_PAGE))
    if not (limit.isascii() and limit.isdecimal() and len(limit) <= 3 and 1 <= int(limit) <= MAX_PAGE):
        raise invalid("limit", f"must be a whole number from 1 to {MAX_PAGE}.")
    since = parameter("since", "")
    return Page(after=parameter("after", ""), limit=int(limit), since=_instant(since) if since else "")


def _instant(value: str) -> str:
    """As the ledger writes it."""
    try:
        at = datetime.fromisoformat(value)
        if at.tzinfo is None:
            raise ValueError("no offset")
        return at.astimezone(UTC).isoformat(timespec="microseconds")
    except (ValueError, OverflowError):
        raise invalid("since", "must be an instant with its offset, as in ISO 8601.") from None
