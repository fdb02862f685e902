"""Promise: the figures of a bench say what clients have waited, also while a server stands still."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.bench.arrivals import Target, by_the_clock, send
from tests.bench.figures import Figures, percentile, ratio

STANDS_STILL_S = 0.6


class Server(ThreadingHTTPServer):
    """Answers 201 as long as nobody has the lock."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.stands_still = threading.Lock()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        with self.server.stands_still:
            self.send_response(201)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Nobody reads it."""


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def to(port: int) -> Target:
    return Target(port=port, request=lambda: ("/", {}, b"{}"))


def test_a_server_that_stands_still_is_seen_in_every_request_that_was_due_meanwhile(server: Server) -> None:
    """No coordinated omission: with one sender the later ones are sent late, and have waited all the same."""
    due = [n / 50 for n in range(20)]
    with ThreadPoolExecutor(1) as clients:
        with server.stands_still:
            sent = clients.submit(send, to(server.server_port), due, senders=1)
            time.sleep(STANDS_STILL_S)
        answered = sent.result()

    assert [one.status for one in answered] == [201] * len(due)
    for one, at in zip(answered, due, strict=True):
        assert one.took_s > STANDS_STILL_S - at - 0.05


def test_a_server_that_is_not_there_is_a_failed_request() -> None:
    with Server() as closed:
        port = closed.server_port

    figures = Figures.of(send(to(port), [0.0, 0.0]))

    assert (figures.requests, figures.failed) == (2, 2)


def test_arrivals_come_as_often_as_asked_and_the_same_for_the_same_seed() -> None:
    due = by_the_clock(20, 60, "a seed")

    assert due == by_the_clock(20, 60, "a seed")
    assert due == sorted(due)
    assert 0 < due[0] < due[-1] < 60
    assert 1000 < len(due) < 1400


def test_percentiles_and_ratios_are_of_the_good_answers() -> None:
    quick, slow = (figures(ms) for ms in (10.0, 25.0))

    assert percentile([float(n) for n in range(1, 102)], 95) == 96.0
    assert percentile([], 50) == 0.0
    assert ratio([slow, quick, slow], [quick, quick, quick], 95) == 2.5


def figures(ms: float) -> Figures:
    return Figures(requests=1, failed=0, ms={50: ms, 95: ms, 99: ms}, late_ms=0.0, cpu_ms=0.0)
