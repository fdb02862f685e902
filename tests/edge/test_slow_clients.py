"""Promise: whoever sends slowly, or not at all, keeps nobody else waiting, and is not waited for without an end."""

import contextlib
import time

import pytest

from config.edge.worker import BODY_WITHIN_S, HEAD_WITHIN_S
from tests.edge.conftest import Edge
from tests.edge.talking import asked, document, head, is_closed, line_to

SLOW = 20
BEGINNINGS = {
    "nothing": b"",
    "half a head": b"GET /healthz HTTP/1.1\r\nHost: loc",
    "half a body": head("POST /api/v1/orders", "Content-Length: 100") + b"{",
    "half a chunk": head("POST /api/v1/orders", "Transfer-Encoding: chunked") + b"a\r\n{",
    "no close": head("GET /healthz", "Connection: close"),
}


@pytest.mark.parametrize("beginning", BEGINNINGS)
def test_twenty_slow_connections_hold_no_thread(beginning: str, edge: Edge) -> None:
    """The process has four threads."""
    with contextlib.ExitStack() as slow:
        for line in [slow.enter_context(line_to(edge.port)) for _ in range(SLOW)]:
            line.sendall(BEGINNINGS[beginning])
        begun = time.monotonic()
        for _ in range(5):
            with line_to(edge.port) as line:
                assert asked(line, head("GET /healthz")).status == 200

        assert time.monotonic() - begun < 4.0


def test_what_has_begun_and_does_not_end_is_told_so(edge: Edge) -> None:
    with line_to(edge.port) as no_head, line_to(edge.port) as no_body, line_to(edge.port) as nothing:
        begun = time.monotonic()
        no_head.sendall(BEGINNINGS["half a head"])
        no_body.sendall(BEGINNINGS["half a body"])
        answer = asked(no_head)
        took_s = time.monotonic() - begun

        assert (answer.status, document(answer)["code"]) == (408, "request_timed_out")
        assert HEAD_WITHIN_S - 0.5 < took_s < HEAD_WITHIN_S + 3
        assert is_closed(nothing)
        assert document(asked(no_body))["code"] == "request_timed_out"
        assert time.monotonic() - begun < BODY_WITHIN_S + 3


def test_a_probe_comes_by_ip_address(edge: Edge) -> None:
    """An orchestrator knows no name of ours."""
    for host in ("10.0.0.7:8000", "[fd00::7]:8000", ""):
        with line_to(edge.port) as line:
            assert asked(line, f"GET /healthz HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()).status == 200
