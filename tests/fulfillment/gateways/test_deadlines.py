"""The way out has one deadline over everything, and no byte leaves a worker whose lease is over."""

import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from fulfillment.errors import InDoubt, Unavailable
from fulfillment.gateways import http, lease
from fulfillment.gateways.lease import Lease, leased

if TYPE_CHECKING:
    pass
from tests.fulfillment.gateways.conftest import DEADLINE_S, LATE_S, RawServer, answering, fault_of, http_answer, post

# --- one deadline -------------------------------------------------------------------------------------------------------


def mute(server: RawServer, wire: socket.socket) -> None:
    server.listen(wire)
    server.closing.wait(5.0)


def drip(first: bytes, endless: bytes) -> Callable[[RawServer, socket.socket], None]:
    def play(server: RawServer, wire: socket.socket) -> None:
        server.listen(wire)
        wire.sendall(first)
        server.drip(wire, endless)

    return play


ENDLESS = {
    "no answer": mute,
    "status": drip(b"", b"H"),
    "headers": drip(b"HTTP/1.1 201 X\r\nX-Drip: ", b"x"),
    "body": drip(b'HTTP/1.1 201 X\r\nContent-Length: 5000\r\n\r\n{"id": "', b"x"),
    "chunks": drip(b"HTTP/1.1 201 X\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
    "promises": drip(b"", b"HTTP/1.1 103 Early Hints\r\n\r\n"),
}


def never_shake_hands(server: RawServer, wire: socket.socket) -> None:
    server.heard += wire.recv(65536)
    server.closing.wait(5.0)


def speak_plainly(server: RawServer, wire: socket.socket) -> None:
    server.heard += wire.recv(65536)
    wire.sendall(b"HTTP/1.1 400 X\r\n\r\n")


@pytest.mark.parametrize("play", ENDLESS.values(), ids=ENDLESS)
def test_no_answer_outlasts_the_deadline(raw_server: Callable[..., RawServer], play: Callable[[RawServer, socket.socket], None]) -> None:
    """Silent, or a byte at a time in headers or body: the call ends in doubt when its time is over."""
    server, begun = raw_server(play), time.monotonic()

    assert fault_of(lambda: post(server.url)) == (InDoubt, "timeout")

    assert DEADLINE_S <= time.monotonic() - begun < LATE_S


def test_no_request_outlasts_the_deadline(raw_server: Callable[..., RawServer]) -> None:
    """A provider that reads a little at a time cannot stretch the sending either."""

    def sip(server: RawServer, wire: socket.socket) -> None:
        while not server.closing.wait(0.02):
            wire.recv(1024)

    server, begun = raw_server(sip), time.monotonic()

    assert fault_of(lambda: post(server.url, body={"long": "x" * 20_000_000})) == (InDoubt, "timeout")

    assert DEADLINE_S <= time.monotonic() - begun < LATE_S


def test_a_deadline_that_is_over_before_it_begins_sends_nothing(raw_server: Callable[..., RawServer]) -> None:
    """No time left means not even a connection."""
    server = raw_server(mute)

    assert fault_of(lambda: post(server.url, deadline_s=0.0)) == (Unavailable, "connect_timeout")
    assert server.connections == 0


@pytest.mark.parametrize(
    ("play", "code"),
    [(never_shake_hands, "connect_timeout"), (speak_plainly, "connect_failed")],
)
def test_without_tls_nothing_of_the_request_is_sent(
    raw_server: Callable[..., RawServer], play: Callable[[RawServer, socket.socket], None], code: str
) -> None:
    """A provider that never shakes hands, or does not speak TLS, has not seen the request: unavailable, within the deadline."""
    server, begun = raw_server(play), time.monotonic()

    assert fault_of(lambda: post(server.url.replace("http:", "https:"))) == (Unavailable, code)

    assert time.monotonic() - begun < LATE_S
    assert b"charges" not in server.heard


# --- the lease ----------------------------------------------------------------------------------------------------------


def test_a_worker_past_its_lease_sends_nothing(raw_server: Callable[..., RawServer]) -> None:
    """Whoever took over asks instead; this worker's request does not leave the machine."""
    server = raw_server(answering(http_answer(201, {})))

    with leased(Lease.begin(0.0)):
        assert fault_of(lambda: post(server.url)) == (InDoubt, "past_lease")
    server.close()

    assert server.heard == b""


def test_a_lease_is_over_by_either_clock() -> None:
    """A machine that slept for an hour is an hour older, though its monotonic clock may have stood still."""
    monotonic, wall = time.monotonic(), time.time()

    assert not Lease(monotonic, wall, 30.0).expired()
    assert Lease(monotonic - 31.0, wall, 30.0).expired()
    assert Lease(monotonic, wall - 31.0, 30.0).expired()
    assert not Lease(monotonic, wall + 3600.0, 30.0).expired()


def test_the_lease_is_checked_after_connecting(raw_server: Callable[..., RawServer], monkeypatch: pytest.MonkeyPatch) -> None:
    """A lease that runs out while the connection is made counts: the check is the last thing before the first byte."""
    server = raw_server(answering(http_answer(201, {})))
    opened: list[bool] = []

    def note() -> None:
        until = time.monotonic() + 2.0
        while not server.connections and time.monotonic() < until:
            time.sleep(0.01)
        opened.append(server.connections == 1 and server.heard == b"")
        lease.check_lease()

    monkeypatch.setattr(http, "check_lease", note)

    with leased(Lease.begin(30.0)):
        assert post(server.url, 3.0) == {}

    assert opened == [True]


def test_a_lease_holds_for_its_block_and_its_thread_only(raw_server: Callable[..., RawServer]) -> None:
    """Outside of any lease, and in another thread, calls are sent."""
    server = raw_server(answering(http_answer(201, {})))

    with leased(Lease.begin(0.0)):
        with leased(Lease.begin(30.0)):
            assert post(server.url, 3.0) == {}
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(post, server.url, 3.0).result() == {}
        assert fault_of(lambda: post(server.url, 3.0))[1] == "past_lease"
    assert post(server.url, 3.0) == {}
