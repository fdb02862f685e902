"""Revalidation (RFC 9110, 13): a client that polls sends back the ETag of what it has, and is answered 304 without a body as long as that is still so.

The tag is made of the whole answer, with whatever was expanded, so it cannot miss a change. It spares the network, and not the database.
"""

import hashlib
from typing import Any

from django.utils.http import parse_etags, quote_etag
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response


def answer_unless_known(request: Request, document: dict[str, Any]) -> Response:
    tag = quote_etag(hashlib.sha256(JSONRenderer().render(document)).hexdigest()[:32])
    headers = {"ETag": tag, "Cache-Control": "private, no-cache"}
    known = {one.removeprefix("W/") for one in parse_etags(request.headers.get("If-None-Match", ""))}
    return Response(status=304, headers=headers) if {tag, "*"} & known else Response(document, headers=headers)
