"""An example as it takes place: its request sent to the real views, and the answer as the example would tell it."""

import json
import re
from contextlib import nullcontext
from typing import Any

from rest_framework.test import APIClient

from orders.api.reference.examples import REQUEST_ID, Example
from tests.orders.conftest import Client
from tests.orders.reference.situations import MEANWHILE, SITUATIONS

TOLD = (  # headers that an example tells
    *("Cache-Control", "ETag", "Idempotent-Replayed", "Link", "Location", "Retry-After", "WWW-Authenticate"),
    *("RateLimit-Policy", "RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset"),
)
INSTANT = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+(?:Z|\+00:00)")
ETAG = re.compile(r'(?<="ETag": "\\")[0-9a-f]+')
PREFIX = re.compile(r"\bapi_[0-9a-f]{8}\b")
CURSOR = re.compile(r'(?<="next_cursor": ")[^"]+|(?<=cursor=)[\w%=-]+')


def completed(example: Example, usual: Example) -> Example:
    """One that may happen to every operation: what it leaves out is as in the operation's usual request."""
    request = {**usual.request, **{part: {**usual.request.get(part, {}), **sent} for part, sent in example.request.items()}}
    before = usual.given if example.given in MEANWHILE else example.given or usual.given
    return Example(name=example.name, summary=example.summary, given=before, request=request, answer=example.answer)


def take_place(client: Client, method: str, path: str, example: Example, meanwhile: str = "") -> dict[str, Any]:
    """The answer. ``path``: with the names of its parameters in braces."""
    SITUATIONS[example.given](client)
    request = example.request
    headers = {"Host": "localhost:8000", "X-Request-ID": REQUEST_ID, "Authorization": client.authorization, **request.get("headers", {})}
    sent = {name: value for name, value in headers.items() if value is not None}
    content_type = sent.pop("Content-Type", "application/json")
    body = json.dumps(request["body"]) if "body" in request else ""
    api = APIClient(raise_request_exception=False)
    with MEANWHILE.get(meanwhile, nullcontext)():
        answer = api.generic(
            method, path.format(**request.get("path", {})), body, content_type, headers=sent, query_params=request.get("query", {})
        )
    assert answer.headers["X-Request-ID"] == REQUEST_ID
    told = {name: answer.headers[name] for name in TOLD if name in answer.headers}
    return {"status": answer.status_code, "headers": told, "body": answer.json() if answer.content else None}


def comparable(answer: dict[str, Any]) -> str:
    """Without what differs each time: instants, tokens, cursors and tags."""
    text = json.dumps(answer, indent=1, sort_keys=True, ensure_ascii=False)
    for changing in (INSTANT, PREFIX, ETAG, CURSOR):
        text = changing.sub("…", text)
    return text
