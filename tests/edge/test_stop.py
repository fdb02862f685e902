"""Promise: a process that is told to stop ends soon, answers what it has begun, and lets nobody wait at a closed door."""

import contextlib
import time

import pytest

from tests.edge.conftest import Edge
from tests.edge.talking import asked, head, line_to
from tests.edge.test_readers import STATIC, narrow_line_to
from tests.engines import RUN_DIR
from tests.fuzz.server import Server


def test_a_stop_waits_for_no_client_and_nobody_is_let_in_meanwhile(edge: Edge) -> None:
    folder = RUN_DIR / "edge-stopped"
    folder.mkdir(parents=True, exist_ok=True)
    with Server(edge.database, folder) as server, contextlib.ExitStack() as slow:
        unfinished = slow.enter_context(line_to(server.port))
        unfinished.sendall(head("POST /api/v1/orders", "Content-Length: 100") + b"{")
        slow.enter_context(narrow_line_to(server.port)).sendall(head(f"GET {STATIC}"))
        kept = slow.enter_context(line_to(server.port))
        assert asked(kept, head("GET /healthz")).status == 200

        begun = time.monotonic()
        server.process.terminate()
        time.sleep(0.7)
        with pytest.raises(ConnectionRefusedError), line_to(server.port):
            pass
        last = asked(kept, head("GET /healthz"))
        server.process.wait(30)

        assert (last.status, last.headers["connection"]) == (200, "close")
        assert asked(unfinished).status == 408
        assert time.monotonic() - begun < 8.0
