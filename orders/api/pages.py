"""Pages of a list: ``{"data", "has_more", "next_cursor"}``. A cursor says behind which row the next page begins, so what is added meanwhile moves nothing.

It holds what the client has seen already (an instant and an order's number, a SKU), and no primary key. It is signed: only a list that has given it takes it back.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from django.core import signing
from drf_canon.errors import QueryParamError
from rest_framework.exceptions import ErrorDetail
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.utils.urls import replace_query_param


class Cursors:
    """Those of one list: ``name``, and what was ``asked`` of it. With other filters a cursor would begin somewhere else, so it is refused there."""

    def __init__(self, name: str, asked: Mapping[str, Any]) -> None:
        self._salt = f"{name} {json.dumps(asked, sort_keys=True, default=str)}"

    def made_of(self, position: Sequence[str]) -> str:
        return signing.dumps(position, salt=self._salt)

    def position(self, cursor: str | None) -> list[str] | None:
        """None: the list is read from its beginning. Raises QueryParamError: another list has given this cursor, or nobody has."""
        if cursor is None:
            return None
        try:
            position: list[str] = signing.loads(cursor, salt=self._salt)
        except signing.BadSignature:
            message = "Must be a cursor that this list has given, with the same filters."
            raise QueryParamError({"cursor": [ErrorDetail(message, "invalid")]}) from None
        return position


def answer(request: Request, data: list[dict[str, Any]], has_more: bool, next_cursor: str | None) -> Response:
    following = replace_query_param(request.build_absolute_uri(), "cursor", next_cursor) if has_more else ""
    return Response(
        {"data": data, "has_more": has_more, "next_cursor": next_cursor},
        headers={"Link": f'<{following}>; rel="next"'} if following else {},
    )
