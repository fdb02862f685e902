"""Query parameters: each is known, stands once, and has a value that can be read. Whatever is wrong is refused by name, all of it at once."""

import re
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from typing import Any, ClassVar

from drf_canon.errors import QueryParamError
from rest_framework import serializers
from rest_framework.exceptions import ErrorDetail
from rest_framework.request import Request

PAGE_SIZE, MAX_PAGE_SIZE = 25, 100
SEVERAL = "with commas between the names, or one name in each of several"
EXPAND = f"More to show, {SEVERAL}."
FIELDS = f"What to show beside `number`, {SEVERAL}. Without it: all of them."
LONGEST_NUMBER = 9  # digits
RFC_3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", re.ASCII | re.IGNORECASE)
UNKNOWN = ErrorDetail("This parameter is not known.", "unknown_parameter")
DOUBLED = ErrorDetail("This parameter stands here more than once.", "duplicate_parameter")


class Parameters(serializers.Serializer[Any]):
    """What a request may ask in its URL. Without fields: nothing."""

    @classmethod
    def of(cls, request: Request) -> Mapping[str, Any]:
        """The values, by name. Raises QueryParamError."""
        given = request.query_params
        several = {name for name, field in cls().fields.items() if isinstance(field, Names)}
        asked = cls(data=given.dict() | {name: ",".join(given.getlist(name)) for name in several & given.keys()})
        faults: dict[str, Any] = {} if asked.is_valid() else dict(asked.errors)
        faults |= {name: [DOUBLED] for name, values in given.lists() if len(values) > 1 and name not in several}
        faults |= {name: [UNKNOWN] for name in given if name not in asked.fields}
        if faults:
            raise QueryParamError(faults)
        values: Mapping[str, Any] = asked.validated_data
        return values


class Names(serializers.CharField):
    """Some of the ``known`` names, with commas between them. The parameter may stand more than once: it is then read as one list."""

    default_error_messages: ClassVar = {"unknown_value": "Not known here: {unknown}. Known: {known}."}

    def __init__(self, known: Collection[str], **options: Any) -> None:
        super().__init__(required=False, **options)
        self.known = tuple(known)

    def to_internal_value(self, data: Any) -> tuple[str, ...]:  # type: ignore[override]  # several of what its parent reads
        names = tuple(dict.fromkeys(name.strip() for name in super().to_internal_value(data).split(",") if name.strip()))
        if not names:
            self.fail("blank")
        if unknown := [name for name in names if name not in self.known]:
            self.fail("unknown_value", unknown=", ".join(map(repr, unknown)), known=", ".join(self.known))
        return names


class Number(serializers.IntegerField):
    """In plain digits: what only Python takes for a number ("1_0", "٣") is none."""

    default_error_messages: ClassVar = {"invalid": "Must be a whole number.", "min_value": "Must be a positive integer."}

    def to_internal_value(self, data: Any) -> int:
        if not (data.isascii() and data.isdecimal()):
            self.fail("invalid")
        digits = data.lstrip("0") or "0"
        return int(digits) if len(digits) <= LONGEST_NUMBER else 10**LONGEST_NUMBER


class Instant(serializers.DateTimeField):
    """RFC 3339, with its offset: without one nobody knows which instant is meant."""

    default_error_messages: ClassVar = {
        "invalid": "Must be an instant like 2026-01-31T12:00:00Z. In a URL the + of an offset is written %2B.",
    }

    def to_internal_value(self, value: Any) -> datetime:
        if RFC_3339.fullmatch(value) is None:  # Python reads much more
            self.fail("invalid")
        try:
            return datetime.fromisoformat(value.upper()).astimezone(UTC)
        except (ValueError, OverflowError):
            self.fail("invalid")


class Paged(Parameters):
    """Of a list. A page that is larger than the largest is the largest."""

    cursor = serializers.CharField(required=False, help_text="`next_cursor` of the page before, with the same filters. It does not expire.")
    page_size = Number(min_value=1, default=PAGE_SIZE, help_text=f"At most {MAX_PAGE_SIZE}; more counts as that.")

    def validate_page_size(self, value: int) -> int:
        return min(value, MAX_PAGE_SIZE)


def filters(asked: Mapping[str, Any], of: Parameters) -> dict[str, Any]:
    """What all pages of one list have in common. What is shown of an order may change from page to page."""
    return {name: value for name, value in asked.items() if name not in Paged().fields and not isinstance(of.fields[name], Names)}
