"""The body of a request as it is read: JSON, and nothing that would break the reader or could be read in two ways."""

import codecs
import json
from collections import Counter
from collections.abc import Mapping
from typing import IO, Any

from rest_framework.exceptions import ErrorDetail, ValidationError
from rest_framework.parsers import JSONParser, get_encoding  # type: ignore[attr-defined]  # newer than the stubs
from rest_framework.request import Request
from rest_framework.utils.json import strict_constant

LONGEST_NUMBER = 40  # digits; Python itself stops later, with words about its own settings


class Members(dict[str, Any]):
    """A JSON object. ``doubled``: names that stand in it more than once; readers differ in which value they take, so its field refuses it by name."""

    doubled: tuple[str, ...] = ()


class Body(JSONParser):
    """As DRF's reader; objects are ``Members``. What is nested too deeply for Python is the client's mistake, as any other malformed JSON is."""

    def parse(self, stream: IO[Any], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None) -> Any:
        text = codecs.getreader(get_encoding(parser_context or {}))(stream)
        try:
            return json.load(text, parse_constant=strict_constant, parse_int=_whole_number, object_pairs_hook=_members)
        except ValueError as malformed:
            raise _unreadable(str(malformed)) from None
        except RecursionError:
            raise _unreadable("it is nested too deeply") from None


def body_of(request: Request) -> Any:
    """Raises ValidationError: it cannot be read, or there is none."""
    data = request.data
    if request.stream is None:
        raise ValidationError(ErrorDetail("The body is empty, and must be a JSON object.", "empty_body"))
    return data


def _unreadable(why: str) -> ValidationError:
    return ValidationError(ErrorDetail(f"The body cannot be read as JSON: {why}.", "invalid_json"))


def _whole_number(written: str) -> int:
    if len(written.lstrip("-")) > LONGEST_NUMBER:
        raise ValueError(f"A number has more than {LONGEST_NUMBER} digits.")
    return int(written)


def _members(pairs: list[tuple[str, Any]]) -> Members:
    members = Members(pairs)
    if len(members) < len(pairs):
        members.doubled = tuple(name for name, times in Counter(name for name, _ in pairs).items() if times > 1)
    return members
