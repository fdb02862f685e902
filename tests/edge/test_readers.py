"""Promise: whoever does not read an answer keeps nobody else waiting; whoever reads it slowly gets all of it, and the next one."""

import contextlib
import socket
import time
from collections.abc import Iterator

import pytest

from tests.edge.conftest import Edge
from tests.edge.talking import asked, head, line_to
from tests.fuzz.connection import answers_in

STATIC = "/static/drf_spectacular_sidecar/redoc/bundles/redoc.standalone.js.map"  # larger than what a system takes for a client
SLOW = 20


@contextlib.contextmanager
def narrow_line_to(port: int) -> Iterator[socket.socket]:
    """Its client's system takes next to nothing before it reads."""
    with socket.socket() as line:
        line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        line.settimeout(30)
        line.connect(("127.0.0.1", port))
        yield line


@pytest.mark.parametrize("part", [(), ("Range: bytes=1-",)], ids=["a file", "a part of it"])
def test_twenty_clients_that_do_not_read_hold_no_thread(part: tuple[str, ...], edge: Edge) -> None:
    """The process has four threads."""
    with contextlib.ExitStack() as slow:
        for line in [slow.enter_context(narrow_line_to(edge.port)) for _ in range(SLOW)]:
            line.sendall(head(f"GET {STATIC}", *part))
        time.sleep(0.5)
        begun = time.monotonic()
        for _ in range(5):
            with line_to(edge.port) as line:
                assert asked(line, head("GET /healthz")).status == 200

        assert time.monotonic() - begun < 4.0


@pytest.mark.parametrize("path", [STATIC, "/openapi.json"])
def test_an_answer_that_is_read_slowly_comes_whole_and_the_next_one_behind_it(path: str, edge: Edge) -> None:
    with line_to(edge.port) as line:
        expected = asked(line, head(f"GET {path}")).body
    raw = b""

    with narrow_line_to(edge.port) as line:
        line.sendall(head(f"GET {path}") + head("GET /healthz", "Connection: close"))
        time.sleep(0.5)
        while data := line.recv(65536):
            raw += data

    first, second = answers_in(raw, may_lack_bodies=False)
    assert first.body == expected
    assert (len(expected) > 100_000, second.status) == (True, 200)
