"""Promise: whoever comes is served, however many others have come before and ask for nothing whole."""

import contextlib
import time

from config.edge.server import worker_connections
from tests.edge.conftest import Edge
from tests.edge.talking import asked, head, line_to

CROWD = 2 * worker_connections + 40


def test_whoever_comes_is_served_while_a_crowd_sends_one_byte_each(edge: Edge) -> None:
    with contextlib.ExitStack() as crowd:
        for _ in range(CROWD):
            with contextlib.suppress(OSError):
                crowd.enter_context(line_to(edge.port)).sendall(b"G")
        begun = time.monotonic()
        for _ in range(5):
            with line_to(edge.port) as line:
                time.sleep(0.02)
                assert asked(line, head("GET /healthz")).status == 200

        assert time.monotonic() - begun < 4.0


def test_a_kept_connection_that_is_idle_makes_room_first(edge: Edge) -> None:
    with contextlib.ExitStack() as crowd, line_to(edge.port) as unfinished, line_to(edge.port) as kept:
        unfinished.sendall(head("GET /healthz")[:-1])
        assert asked(kept, head("GET /healthz")).status == 200
        for _ in range(worker_connections - 2):
            crowd.enter_context(line_to(edge.port)).sendall(b"G")

        assert kept.recv(1) == b""
        assert asked(unfinished, b"\n").status == 200
