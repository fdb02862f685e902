"""Promise: the fuzzers fail where they should: at each kind of answer that no client may meet, and where nothing was sent."""

import json
from collections import Counter

import pytest

from tests.fuzz.connection import END, RESET, SILENT, Heard
from tests.fuzz.figures import CLOSED, Figures, Told, collect, shortcomings
from tests.fuzz.inputs import Exchange
from tests.fuzz.verdict import Unacceptable, judge

ASKED = Exchange((b"GET /api/v1/orders HTTP/1.1\r\n\r\n",), 1)
DOCUMENT = {"type": "x", "title": "x", "status": 400, "code": "x", "detail": "x", "request_id": "req-7"}


def answer(status: int = 400, request_id: str = "req-7", kind: str = "application/problem+json", more: str = "") -> bytes:
    body = json.dumps(DOCUMENT | {"status": status})
    return f"HTTP/1.1 {status} X\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\nX-Request-ID: {request_id}\r\n{more}\r\n{body}".encode()


GOOD = {"a problem document": (answer(), {"400": 1}), "two of them": (answer() + answer(404), {"400": 1, "404": 1})}
HALF = [ASKED.sent[:-1], ASKED.sent[:-2] + b"Content-Length: 5\r\n\r\nhell", ASKED.sent[:-2] + b"Transfer-Encoding: chunked\r\n\r\n5\r\nh"]
BAD = {
    "a 500": answer(500),
    "a 503 that does not say when to come again": answer(503),
    "no request id": answer(request_id=""),
    "another request id": answer(request_id="req-8"),
    "another status": answer(404).replace(b'"status": 404', b'"status": 400'),
    "a page": answer(kind="text/html"),
    "a document that lacks a member": answer().replace(b'"code"', b'"cede"'),
    "a header that stands twice": answer(more="Content-Length: 5\r\n"),
    "half an answer": answer()[:-5],
    "half a head": answer()[:40],
    "nothing": b"",
    "no HTTP": b"Traceback (most recent call last)\r\n\r\n",
}


@pytest.mark.parametrize("kind", GOOD)
def test_what_a_client_may_meet_is_counted(kind: str) -> None:
    raw, statuses = GOOD[kind]

    assert judge(ASKED, Heard(raw, END)) == statuses


@pytest.mark.parametrize("half", HALF)
def test_half_a_request_may_be_closed_without_an_answer(half: bytes) -> None:
    assert judge(Exchange((half,), 1), Heard(b"", END)) == {CLOSED: 1}


@pytest.mark.parametrize("kind", BAD)
def test_what_no_client_may_meet_is_a_failure(kind: str) -> None:
    with pytest.raises(Unacceptable):
        judge(ASKED, Heard(BAD[kind], END))


@pytest.mark.parametrize("ended", [RESET, SILENT])
def test_a_connection_that_does_not_end_in_order_is_a_failure(ended: str) -> None:
    with pytest.raises(Unacceptable):
        judge(ASKED, Heard(answer(), ended))


def test_a_run_that_sends_nothing_ends_and_has_failed() -> None:
    figures = collect(iter([[Told(Counter())]] * 3), 10, print)

    assert shortcomings(figures, 10, logged=0, odd_lines=[]) == ["only 0 of 10 requests were sent"]


def test_a_run_whose_requests_the_server_has_not_seen_has_failed() -> None:
    """What has answered was not the server."""
    figures = Figures(Counter({"200": 10, CLOSED: 5}))

    assert shortcomings(figures, 10, logged=10, odd_lines=[]) == []
    assert shortcomings(figures, 10, logged=9, odd_lines=[]) == ["only 9 of 10 answers are in the server's log"]


def test_a_failure_and_a_traceback_are_told() -> None:
    figures = Figures(Counter({"200": 10}), ["a 500"])

    assert shortcomings(figures, 10, logged=10, odd_lines=["Traceback"]) == ["1 failures", "in a log: Traceback"]
