"""A server that answers with any bytes, or with none."""

import json
import socket
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from fulfillment.errors import StepError
from fulfillment.gateways import http
from fulfillment.gateways.sandbox import DECLINES

if TYPE_CHECKING:
    pass


DEADLINE_S = 0.5  # a busy machine needs a quarter of a second to begin a TLS connection
LATE_S = DEADLINE_S + 1.0  # what a slow machine may add


class RawServer:
    """A provider that speaks bytes: ``play`` gets each connection; ``heard`` is what reached it, ``connections`` how often."""

    def __init__(self, play: Callable[["RawServer", socket.socket], None]) -> None:
        self._play = play
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.heard = b""
        self.connections = 0
        self.closing = threading.Event()
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def _accept(self) -> None:
        while True:
            try:
                wire, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            with wire:
                try:
                    self._play(self, wire)
                except OSError:
                    pass  # the client hung up, which is what most of these tests wait for

    def listen(self, wire: socket.socket) -> None:
        """Read one whole request: its head, then as much as that announces."""
        wire.settimeout(2.0)
        with wire.makefile("rb") as stream:
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                line = stream.readline()
                if not line:
                    return
                head += line
            _, _, announced = head.lower().partition(b"content-length: ")
            self.heard += head + stream.read(int(announced.partition(b"\r\n")[0] or 0))

    def drip(self, wire: socket.socket, endless: bytes) -> None:
        """A byte every 20 ms, for ever."""
        while not self.closing.wait(0.02):
            wire.send(endless)

    def close(self) -> None:
        self.closing.set()
        if self._listener.fileno() >= 0:
            self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
        self._thread.join(2.0)


@pytest.fixture
def raw_server() -> Iterator[Callable[..., RawServer]]:
    started: list[RawServer] = []

    def start(play: Callable[[RawServer, socket.socket], None]) -> RawServer:
        started.append(RawServer(play))
        return started[-1]

    yield start
    for server in started:
        server.close()


def answering(raw: bytes) -> Callable[[RawServer, socket.socket], None]:
    def play(server: RawServer, wire: socket.socket) -> None:
        server.listen(wire)
        wire.sendall(raw)

    return play


def http_answer(status: int, body: object) -> bytes:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n%s" % (status, len(raw), raw)


def post(url: str, deadline_s: float = DEADLINE_S, body: dict[str, Any] | None = None) -> dict[str, Any]:
    return http.request("POST", f"{url}/v1/charges", json=body or {"amount": 1}, key="K-1", deadline_s=deadline_s, declines=DECLINES)


def fault_of(call: Callable[[], object]) -> tuple[type[StepError], str]:
    with pytest.raises(StepError) as caught:
        call()
    assert str(caught.value).endswith(".")
    return type(caught.value), caught.value.code
