"""The way out has four outcomes, whatever the other side answers."""

import socket
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from fulfillment.errors import Busy, InDoubt, Rejected, StepError, Throttled, Unavailable
from fulfillment.gateways import http
from fulfillment.gateways.sandbox import DECLINES

if TYPE_CHECKING:
    pass
from tests.fulfillment.gateways.conftest import DEADLINE_S, LATE_S, RawServer, answering, fault_of, http_answer, post


def problem(status: int, code: str) -> bytes:
    return http_answer(status, {"error": {"code": code, "message": "…"}})


@pytest.mark.parametrize(
    ("answer", "kind", "code"),
    [
        *[(problem(402, code), Rejected, code) for code in sorted(DECLINES)],
        (problem(400, "address_refused"), Rejected, "address_refused"),
        (problem(402, "some_new_code"), InDoubt, "some_new_code"),
        (problem(400, "invalid_field"), InDoubt, "invalid_field"),
        (problem(400, "amount_exceeds_captured"), InDoubt, "amount_exceeds_captured"),
        (problem(404, "unknown_charge"), InDoubt, "unknown_charge"),
        (problem(409, "in_progress"), Busy, "in_progress"),
        (problem(409, "other"), InDoubt, "other"),
        (problem(422, "key_reused"), InDoubt, "key_reused"),
        (problem(422, "card_declined"), InDoubt, "card_declined"),
        (problem(429, "slow_down"), Throttled, "slow_down"),
        (http_answer(429, b""), Throttled, "too_many_requests"),
        (problem(500, "card_declined"), InDoubt, "card_declined"),
        (problem(503, "unavailable"), InDoubt, "unavailable"),
        (http_answer(502, b"<html>bad gateway</html>"), InDoubt, "http_502"),
        (http_answer(402, b"<html>"), InDoubt, "http_402"),
        (http_answer(402, {"error": "card_declined"}), InDoubt, "http_402"),
        (http_answer(402, {"error": {"code": ["card_declined"]}}), InDoubt, "['card_declined']"),
        (b"HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n", InDoubt, "http_302"),
        (http_answer(201, b"<html>fine</html>"), InDoubt, "undecodable_answer"),
        (http_answer(201, b"\xff\xfe"), InDoubt, "undecodable_answer"),
        (http_answer(201, b"[" * 100_000), InDoubt, "undecodable_answer"),
        (http_answer(201, []), InDoubt, "undecodable_answer"),
        (http_answer(204, b""), InDoubt, "undecodable_answer"),
        (b"SSH-2.0-OpenSSH\r\n", InDoubt, "undecodable_answer"),
        (b"", InDoubt, "undecodable_answer"),
        (b"HTTP/1.1 201 X\r\nContent-Length: 100\r\n\r\n{", InDoubt, "undecodable_answer"),
        (b"HTTP/1.1 201 X\r\nX-Long: " + b"x" * 200_000, InDoubt, "undecodable_answer"),
        (http_answer(201, b'{"long": "' + b"x" * http.MAX_ANSWER + b'"}'), InDoubt, "answer_too_long"),
    ],
)
def test_an_answer_is_what_the_table_says(raw_server: Callable[..., RawServer], answer: bytes, kind: type[StepError], code: str) -> None:
    """Only a declared decline is a rejection, only a request that was turned away is unavailable; all else may have been done."""
    assert fault_of(lambda: post(raw_server(answering(answer)).url, deadline_s=3.0)) == (kind, code)


def test_a_success_is_the_answer_and_the_request_carries_its_key(raw_server: Callable[..., RawServer]) -> None:
    """One request on a connection of its own, with its key and its body."""
    server = raw_server(answering(http_answer(201, {"id": "ch_1"})))

    assert [post(server.url, 3.0) for _ in range(2)] == [{"id": "ch_1"}] * 2

    head, _, body = server.heard.partition(b"\r\n\r\n")
    assert head.startswith(b"POST /v1/charges HTTP/1.1\r\n")
    assert b"Idempotency-Key: K-1" in head and b"Content-Type: application/json" in head
    assert body.startswith(b'{"amount": 1}')
    assert server.connections == 2


def test_a_provider_that_refuses_connections_is_unavailable() -> None:
    """Nobody is there, so nothing can have been done by this try."""
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        url = f"http://127.0.0.1:{nobody.getsockname()[1]}"

    assert fault_of(lambda: post(url)) == (Unavailable, "connect_failed")


def test_an_unknown_host_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that cannot be resolved was never spoken to."""

    def no_such_name(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", no_such_name)

    assert fault_of(lambda: post("http://provider.invalid")) == (Unavailable, "connect_failed")


def test_a_provider_that_does_not_accept_in_time_is_unavailable() -> None:
    """A full queue of connections: the deadline holds while connecting, too."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        waiting = [socket.socket() for _ in range(4)]
        for wire in waiting:
            wire.setblocking(False)
            wire.connect_ex(full.getsockname())
        begun = time.monotonic()

        assert fault_of(lambda: post(f"http://127.0.0.1:{full.getsockname()[1]}")) == (Unavailable, "connect_timeout")

        assert DEADLINE_S <= time.monotonic() - begun < LATE_S
        for wire in waiting:
            wire.close()


def test_a_connection_that_is_reset_after_sending_is_in_doubt(raw_server: Callable[..., RawServer]) -> None:
    """The request had arrived; nobody knows what was made of it."""

    def reset(server: RawServer, wire: socket.socket) -> None:
        server.listen(wire)
        wire.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")

    assert fault_of(lambda: post(raw_server(reset).url)) == (InDoubt, "connection_lost")
