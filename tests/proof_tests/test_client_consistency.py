"""Promise: a judge that knows only what clients saw finds every way in which the shop may take back its word, and finds nothing where it has kept it."""

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from typing import Any

import httpx
import pytest

from orders.models import Status
from tests.proofs.storms.checks import client_consistency
from tests.proofs.storms.checks.client_consistency import check
from tests.proofs.storms.client_history import Exchange, Recording

KEY, BODY = "key-1", "body-1"


class History:
    """A history: one request after the other, one a second, each for half of it unless it lasts."""

    def __init__(self) -> None:
        self.seconds = count(1)
        self.all: list[Exchange] = []

    def __call__(self, method: str, path: str, status: int | None, lasts: float = 0.5, **seen: Any) -> "History":
        at = next(self.seconds)
        self.all.append(Exchange(method=method, path=f"/api/v1/orders{path}", status=status, begun=at, ended=at + lasts, **seen))
        return self

    def placed(self, number: str = "ORD-1", key: str = KEY, digest: str = BODY, status: int | None = 201, **seen: Any) -> "History":
        replayed = any(one.key == key and one.status == 201 for one in self.all)
        answered: dict[str, Any] = (
            {"number": number, "order_status": "placed", "answer": "order-1", "replayed": replayed} if status == 201 else {}
        )
        return self("POST", "", status, key=key, digest=digest, **answered | seen)

    def read(self, order_status: str, number: str = "ORD-1", **seen: Any) -> "History":
        return self("GET", f"/{number}", 200, number=number, order_status=order_status, **seen)

    def missing(self, number: str = "ORD-1") -> "History":
        return self("GET", f"/{number}", 404)

    def cancelled(self, cancel: str, number: str = "ORD-1") -> "History":
        return self("POST", f"/{number}/cancel", 409 if cancel == "too_late" else 202, cancel=cancel)


def clean() -> History:
    """Answers that were lost, retries, cancels of every kind, reads that overlap."""
    history = History()
    history.placed(status=None).placed(status=503).placed().placed().read("placed", entries=3).read("processing", entries=5)
    history.read("fulfilled", lasts=1.9, entries=9).read("processing", entries=5).read("fulfilled", entries=9)
    history.cancelled("too_late").cancelled("too_late").read("fulfilled", entries=9)
    history.placed("ORD-2", key="key-2").cancelled("accepted", "ORD-2").cancelled("accepted", "ORD-2")
    history.read("compensating", "ORD-2").read("cancelled", "ORD-2")
    history.placed("ORD-3", key="key-3").cancelled("pending", "ORD-3").cancelled("too_late", "ORD-3").read("fulfilled", "ORD-3")
    history.placed("ORD-4", key="key-4").cancelled("undoing", "ORD-4").read("shipping_failed", "ORD-4")
    history.placed("ORD-4", key="key-4", digest="another", status=422).missing("ORD-NEVER")
    return history


def test_whoever_keeps_their_word_is_not_blamed() -> None:
    assert check(clean().all) == []
    assert client_consistency.acknowledged(clean().all) == ["ORD-1", "ORD-2", "ORD-3", "ORD-4"]


ANOMALIES: list[tuple[str, Callable[[History], History], str]] = [
    ("an order is gone", lambda history: history.placed("ORD-9", "key-9").read("placed", "ORD-9").missing("ORD-9"), "answered 404 later"),
    ("an order was never found", lambda history: history.placed("ORD-9", "key-9"), "answered 201 and never found again"),
    ("nobody acknowledged it, and it is gone", lambda history: history.read("placed", "ORD-9").missing("ORD-9"), "answered 404 later"),
    ("back from fulfilled", lambda history: history.read("processing"), "ORD-1: it was fulfilled, and processing later"),
    (
        "one end after another",
        lambda history: history.read("payment_failed", "ORD-4"),
        "ORD-4: it was shipping_failed, and payment_failed later",
    ),
    ("two orders for one key", lambda history: history.placed("ORD-9").read("placed", "ORD-9"), "key key-1 made 2 orders: ORD-1, ORD-9"),
    (
        "the lost answer was an order too",
        lambda history: (
            history.placed("ORD-8", "key-9", status=None)
            .placed("ORD-9", "key-9")
            .placed("ORD-8", "key-9")
            .read("placed", "ORD-9")
            .read("placed", "ORD-8")
        ),
        "key key-9 made 2 orders: ORD-8, ORD-9",
    ),
    ("two keys for one order", lambda history: history.placed("ORD-1", "key-9"), "ORD-1 was answered to two keys: key-1, key-9"),
    ("another body under one key", lambda history: history.placed(digest="another"), "key key-1 was taken for 2 different bodies"),
    ("another answer under one key", lambda history: history.placed(answer="another"), "key key-1 was answered in 2 ways"),
    (
        "a retry is answered as if it were new",
        lambda history: history.placed(replayed=False),
        "key key-1 had placed its order, and was answered as if it were new",
    ),
    (
        "two at once are both answered as new",
        lambda history: history.placed("ORD-9", "key-9", lasts=1.5).placed("ORD-9", "key-9", replayed=False).read("placed", "ORD-9"),
        "key key-9 had placed its order, and was answered as if it were new",
    ),
    (
        "a retry is refused",
        lambda history: history.placed(status=422),
        "key key-1 placed ORD-1, and the same request was answered 422 later",
    ),
    (
        "cancelled and shipped",
        lambda history: history.placed("ORD-9", "key-9").cancelled("accepted", "ORD-9").read("fulfilled", "ORD-9"),
        "ORD-9: its cancel was answered accepted, and it ended fulfilled",
    ),
    (
        "too late and cancelled",
        lambda history: history.placed("ORD-9", "key-9").cancelled("too_late", "ORD-9").read("cancelled", "ORD-9"),
        "ORD-9: its cancel was answered too_late, and it ended cancelled",
    ),
    (
        "two winners",
        lambda history: (
            history.placed("ORD-9", "key-9").cancelled("accepted", "ORD-9").cancelled("too_late", "ORD-9").read("processing", "ORD-9")
        ),
        "ORD-9: one cancel was accepted, and another one was too late",
    ),
    (
        "too late and undone",
        lambda history: history.placed("ORD-9", "key-9").cancelled("too_late", "ORD-9").read("compensating", "ORD-9"),
        "ORD-9: its cancel was too late, and it was being undone later",
    ),
    ("history that shrinks", lambda history: history.read("fulfilled", entries=8), "ORD-1: its history had 9 entries, and 8 later"),
    (
        "another total",
        lambda history: history.read("fulfilled", total_minor=1).read("fulfilled", total_minor=2),
        "ORD-1: its total was 1 and 2",
    ),
]


@pytest.mark.parametrize(("plant", "found"), [(plant, found) for _, plant, found in ANOMALIES], ids=[name for name, _, _ in ANOMALIES])
def test_an_anomaly_in_a_history_is_found_and_nothing_else(plant: Callable[[History], History], found: str) -> None:
    """Whoever loses, doubles or takes back my order is told so by what I was answered alone."""
    breaches = check(plant(clean()).all)

    assert len(breaches) == 1, breaches
    assert found in breaches[0]


def test_it_goes_by_the_moves_that_the_shop_allows() -> None:
    allowed = {was.value: frozenset(to.value for to in moves) for was, moves in Status.legal_moves().items()}

    assert allowed == client_consistency.MOVES


class _Provider(BaseHTTPRequestHandler):
    """Answers as the shop does; what is LOST is cut, what is SLOW takes long."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"] or 0))
        if self.path.endswith("/cancel"):
            self._answer(409, {"code": "invalid_state"})
        else:
            self._answer(201, {"number": "ORD-1", "status": "placed"})

    def do_GET(self) -> None:
        if self.path.endswith("LOST"):
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        time.sleep(0.3 if self.path.endswith("SLOW") else 0)
        self._answer(200, {"number": "ORD-1", "status": "placed", "total_minor": 5, "timeline": [{}, {}]})

    def _answer(self, status: int, document: dict[str, Any]) -> None:
        self.send_response(status)
        self.send_header("Idempotent-Replayed", self.headers["Repeated"] or "false")
        self.end_headers()
        with suppress(OSError):
            self.wfile.write(json.dumps(document).encode())

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def provider() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Provider)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_every_answer_is_written_down_and_so_is_one_that_was_lost(provider: str) -> None:
    """Whatever a client sends and hears, in one place."""
    history: list[Exchange] = []
    client = httpx.Client(base_url=provider, transport=Recording(history), timeout=5)

    client.post("/orders", json={}, headers={"Idempotency-Key": "k"})
    client.post("/orders", json={}, headers={"Idempotency-Key": "k", "Repeated": "true"})
    client.get("/orders/ORD-1")
    client.post("/orders/ORD-1/cancel")
    with pytest.raises((httpx.ReadError, httpx.RemoteProtocolError)):
        client.get("/orders/LOST")
    with pytest.raises(httpx.ReadTimeout):
        client.get("/orders/SLOW", timeout=0.05)

    placed, again, read, late, lost, slow = history
    assert (placed.method, placed.path, placed.key, placed.status, placed.number) == ("POST", "/orders", "k", 201, "ORD-1")
    assert (placed.replayed, again.replayed) == (False, True)
    assert placed.answer == again.answer != ""
    assert (read.number, read.order_status, read.total_minor, read.entries) == ("ORD-1", "placed", 5, 2)
    assert (late.asked_number, late.status, late.cancel, late.number) == ("ORD-1", 409, "too_late", "")
    assert (lost.asked_number, lost.status) == ("LOST", None)
    assert (slow.asked_number, slow.status) == ("SLOW", None)
    assert all(one.begun < one.ended for one in history)
    assert placed.digest
    assert json.dumps({}) not in str(history)
