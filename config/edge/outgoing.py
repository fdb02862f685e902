"""Outgoing: an answer on its way to its client. What the client does not take at once is kept, and the poller sends it as the client reads. No thread waits."""

import os
import socket
from collections import deque
from contextlib import suppress
from typing import IO, Any, NamedTuple, Protocol


class Part(Protocol):
    def send(self, client: socket.socket) -> bool:
        """Some of it. Whether that was the last. Raises BlockingIOError: the client takes no more now."""

    def close(self) -> None: ...


class Outgoing:
    """gunicorn writes to it as to a socket, and never waits."""

    def __init__(self, client: socket.socket) -> None:
        self._client = client
        self._rest: deque[Part] = deque()

    @property
    def is_empty(self) -> bool:
        return not self._rest

    def send_on(self) -> None:
        """As much as the client takes now. Raises OSError: it is gone."""
        with suppress(BlockingIOError):
            while self._rest:
                if self._rest[0].send(self._client):
                    self._rest.popleft().close()

    def sendall(self, data: bytes) -> None:
        self._add(_Bytes(data))

    def sendfile(self, file: IO[bytes], offset: int, count: int) -> None:
        """The application closes ``file`` before all of it is sent."""
        self._add(_File(os.dup(file.fileno()), offset, count))

    def shutdown(self, how: int) -> None:
        """Raises OSError: then gunicorn does not wait in its thread for the client to close. The poller does that."""
        raise OSError

    def close(self) -> None:
        while self._rest:
            self._rest.popleft().close()

    def _add(self, part: Part) -> None:
        self._rest.append(part)
        self.send_on()


class Answering(NamedTuple):
    """What gunicorn needs of a connection while it answers."""

    sock: Outgoing
    client: Any
    server: Any


class _Bytes:
    def __init__(self, data: bytes) -> None:
        self._rest = memoryview(data)

    def send(self, client: socket.socket) -> bool:
        self._rest = self._rest[client.send(self._rest) :]
        return not self._rest

    def close(self) -> None:
        self._rest.release()


class _File:
    """``descriptor``: its own. ``at``: the byte that is sent next."""

    def __init__(self, descriptor: int, at: int, count: int) -> None:
        self._descriptor, self._at, self._end = descriptor, at, at + count

    def send(self, client: socket.socket) -> bool:
        sent = os.sendfile(client.fileno(), self._descriptor, self._at, self._end - self._at)
        if not sent:
            raise OSError("The file has become shorter than it was announced.")
        self._at += sent
        return self._at == self._end

    def close(self) -> None:
        os.close(self._descriptor)
