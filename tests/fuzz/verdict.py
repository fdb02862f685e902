"""What an answer may be: a success, or a problem document with a request id; a page for people outside of the API. Whoever sends no whole request may find the
connection closed, in order.
"""

import json
import re
from collections import Counter

from tests.fuzz.connection import END, RESET, Answer, Heard, answers_in
from tests.fuzz.figures import CLOSED
from tests.fuzz.inputs import Exchange

PAGES = re.compile(rb" (?:https?://[^/ ]*)?/(?:admin|static|docs|problems|\?|#| )")  # answered to people, as HTML
LENGTH = re.compile(rb"(?i)content-length[: \t]*(\d+)")
MEMBERS = {"type", "title", "status", "code", "detail", "request_id"}
MOST_BYTES = 64 * 1024  # of an error
CLEAN_UP_TO = 256 * 1024  # bytes sent; what is far beyond any limit may be cut off


class Unacceptable(AssertionError):
    """Something that no client may meet."""


def judge(exchange: Exchange, heard: Heard) -> Counter[str]:
    """How many answers of which status there were. Raises Unacceptable."""
    try:
        answers = answers_in(heard.raw, b"HEAD" in exchange.sent)
    except ValueError as odd:
        raise Unacceptable(f"not HTTP: {odd}") from None
    for answer in answers:
        if fault := _fault(answer, exchange.sent):
            raise Unacceptable(f"{fault}: {answer}"[:2000])
    if heard.ended != END and not (heard.ended == RESET and len(exchange.sent) > CLEAN_UP_TO):
        raise Unacceptable(f"the connection is {heard.ended} after {[answer.status for answer in answers]}")
    if not answers and _is_whole(exchange.sent):
        raise Unacceptable("a whole request, and no answer")
    return Counter(str(answer.status) for answer in answers) or Counter({CLOSED: 1} if exchange.sent else {})


def _is_whole(sent: bytes) -> bool:
    """Its first request, as far as a glance can tell: a head that ends, and the body that it announces."""
    head, end, body = sent.partition(b"\r\n\r\n")
    announced = [int(length) for length in LENGTH.findall(head)]
    return bool(end) and b"chunked" not in head.lower() and len(body) >= max(announced, default=0)


def _fault(answer: Answer, sent: bytes) -> str:
    if not answer.is_whole:
        return "cut off"
    if answer.doubled:
        return f"headers stand twice: {answer.doubled}"
    if answer.status >= 500 and answer.status not in (501, 503):
        return "an error of ours"
    if answer.status == 503 and "retry-after" not in answer.headers:
        return "no Retry-After"
    if not answer.headers.get("x-request-id"):
        return "no request id"
    if answer.status < 400:
        return ""
    kind = answer.headers.get("content-type", "")
    if kind.startswith("text/html") and PAGES.search(sent):
        return ""
    if answer.status == 503 and kind == "application/json" and b"/readyz" in sent:
        return ""  # a probe has a document of its own
    if kind != "application/problem+json":
        return f"no problem document but {kind!r}"
    return _fault_of_document(answer) if answer.body else ""


def _fault_of_document(answer: Answer) -> str:
    if len(answer.body) > MOST_BYTES:
        return "too long"
    document = json.loads(answer.body)
    if missing := MEMBERS - set(document):
        return f"members are missing: {missing}"
    if document["request_id"] != answer.headers["x-request-id"]:
        return "two request ids"
    return "" if document["status"] == answer.status else "two statuses"
