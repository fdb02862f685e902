"""Promise: a body may come in chunks and packed; one that is too large, or cannot be read, is refused; and none spoils the connection for the next request."""

import gzip
import json
import uuid
from collections.abc import Callable

import pytest

from tests.edge.conftest import Edge
from tests.edge.talking import asked, document, head, is_closed, line_to
from tests.fuzz.inputs import order

ORDER = json.dumps(order()).encode()
CHUNKED = b"%x\r\n%s\r\n0\r\n\r\n" % (len(ORDER), ORDER)
LARGE = 256 * 1024 + 1


def post(edge: Edge, *headers: str) -> bytes:
    login = f"Authorization: Token {edge.token}"
    return head("POST /api/v1/orders", login, "Content-Type: application/json", f"Idempotency-Key: {uuid.uuid4()}", *headers)


def test_an_order_in_chunks_is_placed(edge: Edge) -> None:
    with line_to(edge.port) as line:
        assert asked(line, post(edge, "Transfer-Encoding: chunked"), CHUNKED[:50], CHUNKED[50:]).status == 201


def test_a_packed_order_is_placed(edge: Edge) -> None:
    body = gzip.compress(ORDER, mtime=0)
    with line_to(edge.port) as line:
        assert asked(line, post(edge, "Content-Encoding: gzip", f"Content-Length: {len(body)}"), body).status == 201


@pytest.mark.parametrize(
    ("packed", "status"),
    [
        (lambda: gzip.compress(b"\0" * 50_000_000, mtime=0), 413),
        (lambda: gzip.compress(ORDER, mtime=0)[:-1], 400),
        (lambda: gzip.compress(b"{}", mtime=0) * 2, 400),
        (lambda: ORDER, 400),
    ],
    ids=["to too much", "cut off", "two of them", "not packed"],
)
def test_what_unpacks_to_too_much_or_to_nothing_is_refused(packed: Callable[[], bytes], status: int, edge: Edge) -> None:
    """A bomb of 50 MB in 50 KB is not unpacked."""
    body = packed()
    with line_to(edge.port) as line:
        answer = asked(line, post(edge, "Content-Encoding: gzip", f"Content-Length: {len(body)}"), body)

    assert (answer.status, document(answer)["status"]) == (status, status)


def test_whoever_packs_in_another_way_is_told_which_are_known(edge: Edge) -> None:
    with line_to(edge.port) as line:
        answer = asked(line, post(edge, "Content-Encoding: br", "Content-Length: 1"), b"x")

    assert (answer.status, answer.headers["accept-encoding"]) == (415, "gzip")
    assert document(answer)["code"] == "unknown_encoding"


@pytest.mark.parametrize("framing", ["Content-Length: 99999999999", "Transfer-Encoding: chunked"])
def test_a_body_that_is_too_large_is_refused_before_it_was_sent(framing: str, edge: Edge) -> None:
    with line_to(edge.port) as line:
        answer = asked(line, post(edge, framing), b"%x\r\n" % LARGE)

        assert (answer.status, document(answer)["code"]) == (413, "body_too_large")
        assert answer.headers["connection"] == "close"
        assert is_closed(line)


def test_a_malformed_chunk_is_refused(edge: Edge) -> None:
    with line_to(edge.port) as line:
        answer = asked(line, post(edge, "Transfer-Encoding: chunked"), b"zz\r\n")

    assert (answer.status, document(answer)["code"]) == (400, "bad_request")


@pytest.mark.parametrize(
    "coding", ["gzip", "deflate", "identity", "compress", "gzip, chunked", "identity, chunked", "xyz", "GZIP", "x-gzip, chunked"]
)
def test_a_transfer_coding_other_than_chunked_is_not_known(coding: str, edge: Edge) -> None:
    """It is not taken for bytes that it is not."""
    with line_to(edge.port) as line:
        answer = asked(line, post(edge, f"Transfer-Encoding: {coding}"))

        assert (answer.status, document(answer)["code"]) == (501, "unknown_transfer_coding")
        assert is_closed(line)


@pytest.mark.parametrize("framing", ["chunked, chunked", "chunked, gzip", "chunked\r\nContent-Length: 5", ""])
def test_a_framing_that_can_be_read_in_two_ways_is_refused(framing: str, edge: Edge) -> None:
    with line_to(edge.port) as line:
        answer = asked(line, post(edge, f"Transfer-Encoding: {framing}"))

    assert answer.status in (400, 501)
    assert document(answer)["code"] in ("bad_request", "unknown_transfer_coding")


@pytest.mark.parametrize("framing", ["Content-Length: 5\r\n\r\nabcde", "Transfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n0\r\n\r\n"])
def test_a_body_that_nobody_has_read_does_not_spoil_the_connection(framing: str, edge: Edge) -> None:
    """The refusal comes before the body is looked at; my next request on the line is answered as if nothing had been."""
    with line_to(edge.port) as line:
        first = asked(line, b"PUT /healthz HTTP/1.1\r\nHost: localhost\r\n" + framing.encode())
        second = asked(line, head("GET /healthz"))

    assert (first.status, second.status) == (405, 200)


def test_requests_that_are_sent_ahead_are_answered_in_order(edge: Edge) -> None:
    with line_to(edge.port) as line:
        first = asked(line, head("GET /healthz") + head("GET /nothing", "Connection: close")[:20])
        second = asked(line, head("GET /nothing", "Connection: close")[20:])

    assert (first.status, second.status) == (200, 404)


def test_whoever_asks_before_sending_is_told_to_go_on(edge: Edge) -> None:
    with line_to(edge.port) as line:
        line.sendall(post(edge, "Expect: 100-continue", f"Content-Length: {len(ORDER)}"))
        assert line.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"

        assert asked(line, ORDER).status == 201


def test_whoever_has_sent_an_earlier_request_ahead_is_told_to_go_on_too(edge: Edge) -> None:
    with line_to(edge.port) as line:
        ahead = head("GET /healthz") + post(edge, "Expect: 100-continue", f"Content-Length: {len(ORDER)}")
        line.sendall(ahead)
        raw = b""
        while not raw.endswith(b"HTTP/1.1 100 Continue\r\n\r\n"):
            raw += line.recv(1000)

        assert raw.startswith(b"HTTP/1.1 200")
        assert asked(line, ORDER).status == 201


@pytest.mark.parametrize("coding", ["gzip", "br"])
def test_what_has_no_body_is_not_packed(coding: str, edge: Edge) -> None:
    with line_to(edge.port) as line:
        assert asked(line, head("GET /healthz", f"Content-Encoding: {coding}")).status == 200
        assert asked(line, head("GET /healthz", f"Content-Encoding: {coding}", "Content-Length: 0")).status == 200
