"""A client that is in no hurry: it sends what it wants, when it wants, and reads single answers."""

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.fuzz.connection import Answer, answers_in

HOST = "Host: localhost"


@contextmanager
def line_to(port: int) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", port), timeout=30) as line:
        yield line


def head(first: str, *headers: str) -> bytes:
    return "\r\n".join([f"{first} HTTP/1.1", HOST, *headers, "", ""]).encode()


def asked(line: socket.socket, *pieces: bytes) -> Answer:
    """The one answer to ``pieces``."""
    for piece in pieces:
        line.sendall(piece)
    raw = b""
    while True:
        raw += line.recv(65536)
        if b"\r\n\r\n" not in raw:
            continue
        (answer,) = answers_in(raw, may_lack_bodies=False)
        if answer.is_whole:
            return answer


def document(answer: Answer) -> dict[str, Any]:
    assert answer.headers["content-type"] == "application/problem+json"
    found: dict[str, Any] = json.loads(answer.body)
    assert found["request_id"] == answer.headers["x-request-id"]
    return found


def is_closed(line: socket.socket) -> bool:
    return line.recv(1) == b""
