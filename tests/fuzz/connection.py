"""One connection, byte by byte: everything is sent while answers are read, until the server closes."""

import select
import socket
import time
from dataclasses import dataclass, field

WITHIN_S = 60.0  # beyond every limit of the server, also on a busy machine
END = "end"  # the server has closed in order
RESET = "reset"
SILENT = "silent"  # neither an answer nor a close


@dataclass
class Heard:
    """``ended``: how the connection did."""

    raw: bytes
    ended: str


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes
    is_whole: bool = True
    doubled: list[str] = field(default_factory=list)


def talk(port: int, pieces: tuple[bytes, ...]) -> Heard:
    """Send ``pieces`` one after the other, then say that nothing more comes, and read until the end."""
    with socket.create_connection(("127.0.0.1", port), timeout=WITHIN_S) as line:
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        line.setblocking(False)
        return _talk(line, [piece for piece in pieces if piece])


def _talk(line: socket.socket, waiting: list[bytes]) -> Heard:
    heard, deadline, is_open = bytearray(), time.monotonic() + WITHIN_S, True
    while (left := deadline - time.monotonic()) > 0:
        readable, writable, _ = select.select([line], [line] if is_open else [], [], left)
        try:
            if readable:
                data = line.recv(65536)
                if not data:
                    return Heard(bytes(heard), END)
                heard += data
            elif writable:
                is_open = _send(line, waiting)
        except BlockingIOError:
            continue
        except BrokenPipeError:
            is_open = False
        except ConnectionResetError:
            return Heard(bytes(heard), RESET)
    return Heard(bytes(heard), SILENT)


def _send(line: socket.socket, waiting: list[bytes]) -> bool:
    """The next part. False: that was all, and the server has been told so."""
    if not waiting:
        line.shutdown(socket.SHUT_WR)
        return False
    waiting[0] = waiting[0][line.send(waiting[0]) :]
    if not waiting[0]:
        del waiting[0]
    return True


def answers_in(raw: bytes, may_lack_bodies: bool) -> list[Answer]:
    """``may_lack_bodies``: a HEAD was asked for, whose answer ends with its headers. Raises ValueError: this is no HTTP."""
    found: list[Answer] = []
    while raw:
        head, end, rest = raw.partition(b"\r\n\r\n")
        if not end:
            raise ValueError(f"an answer's head does not end: {raw[:200]!r}")
        answer = _head(head)
        if answer.status == 100:
            raw = rest
            continue
        answer.body, raw, answer.is_whole = _body(answer, rest, may_lack_bodies)
        found.append(answer)
    return found


def _head(head: bytes) -> Answer:
    first, *lines = head.decode("latin-1").split("\r\n")
    version, status, *_ = first.split(" ", 2)
    if version not in ("HTTP/1.0", "HTTP/1.1", "HTTP/1.2") or not status.isdigit():
        raise ValueError(f"no status line: {first!r}")
    headers: dict[str, str] = {}
    doubled = []
    for line in lines:
        name, colon, value = line.partition(": ")
        if not colon:
            raise ValueError(f"no header: {line!r}")
        if name.lower() in headers and name.lower() != "set-cookie":
            doubled.append(name)
        headers[name.lower()] = value
    return Answer(int(status), headers, b"", doubled=doubled)


def _body(answer: Answer, rest: bytes, may_lack_bodies: bool) -> tuple[bytes, bytes, bool]:
    """The body, what follows it, and whether it is whole."""
    if answer.status in (204, 304) or (may_lack_bodies and (not rest or rest.startswith(b"HTTP/1."))):
        return b"", rest, True
    if answer.headers.get("transfer-encoding") == "chunked":
        return _dechunked(rest)
    if (announced := answer.headers.get("content-length")) is not None:
        length = int(announced)
        return rest[:length], rest[length:], len(rest) >= length
    return rest, b"", True


def _dechunked(rest: bytes) -> tuple[bytes, bytes, bool]:
    body = b""
    while True:
        size, end, rest = rest.partition(b"\r\n")
        if not end:
            return body, b"", False
        length = int(size, 16)
        body, rest = body + rest[:length], rest[length + 2 :]
        if length == 0:
            return body, rest, True
