"""The way out: one deadline over everything, four outcomes, and no byte from a worker whose lease is over."""

import json
import pickle
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from django.core.exceptions import ImproperlyConfigured

from fulfillment.card import Card
from fulfillment.errors import Busy, InDoubt, Rejected, StepError, Throttled, Unavailable, UnknownStep
from fulfillment.gateways import Charge, Label, Refund, carrier, gateway, http, lease, payments
from fulfillment.gateways.lease import Lease, leased
from fulfillment.gateways.sandbox import DECLINES, SandboxCarrier, SandboxPayments

if TYPE_CHECKING:
    from pytest_django import Settings

    from tests.fulfillment.conftest import SandboxProcess

DEADLINE_S = 0.5  # a busy machine needs a quarter of a second to begin a TLS connection
LATE_S = DEADLINE_S + 1.0  # what a slow machine may add
ADDRESS = {"name": "Amara Okafor", "line1": "12 Harbour Rd", "city": "Cork", "postal_code": "T12 X7YZ", "country": "IE"}
PARCELS = [{"sku": "TENT-2P-GRN", "quantity": 1}]
CARD = Card(key_window_s=86_400, keeps_rejections=True, tombstone=True, lookup_lag_s=1.5)


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


def problem(status: int, code: str) -> bytes:
    return http_answer(status, {"error": {"code": code, "message": "…"}})


def post(url: str, deadline_s: float = DEADLINE_S, body: dict[str, Any] | None = None) -> dict[str, Any]:
    return http.request("POST", f"{url}/v1/charges", json=body or {"amount": 1}, key="K-1", deadline_s=deadline_s, declines=DECLINES)


def fault_of(call: Callable[[], object]) -> tuple[type[StepError], str]:
    with pytest.raises(StepError) as caught:
        call()
    assert str(caught.value).endswith(".")
    return type(caught.value), caught.value.code


# --- the four outcomes --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "kind", "code"),
    [
        *[(problem(402, code), Rejected, code) for code in sorted(DECLINES)],
        (problem(400, "address_refused"), Rejected, "address_refused"),
        (problem(402, "some_new_code"), InDoubt, "some_new_code"),
        (problem(400, "invalid_field"), InDoubt, "invalid_field"),
        (problem(400, "amount_exceeds_captured"), InDoubt, "amount_exceeds_captured"),
        (problem(404, "unknown_charge"), InDoubt, "unknown_charge"),
        (problem(409, "in_progress"), Busy, "in_progress"),
        (problem(409, "other"), InDoubt, "other"),
        (problem(422, "key_reused"), InDoubt, "key_reused"),
        (problem(422, "card_declined"), InDoubt, "card_declined"),
        (problem(429, "slow_down"), Throttled, "slow_down"),
        (http_answer(429, b""), Throttled, "too_many_requests"),
        (problem(500, "card_declined"), InDoubt, "card_declined"),
        (problem(503, "unavailable"), InDoubt, "unavailable"),
        (http_answer(502, b"<html>bad gateway</html>"), InDoubt, "http_502"),
        (http_answer(402, b"<html>"), InDoubt, "http_402"),
        (http_answer(402, {"error": "card_declined"}), InDoubt, "http_402"),
        (http_answer(402, {"error": {"code": ["card_declined"]}}), InDoubt, "['card_declined']"),
        (b"HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n", InDoubt, "http_302"),
        (http_answer(201, b"<html>fine</html>"), InDoubt, "undecodable_answer"),
        (http_answer(201, b"\xff\xfe"), InDoubt, "undecodable_answer"),
        (http_answer(201, b"[" * 100_000), InDoubt, "undecodable_answer"),
        (http_answer(201, []), InDoubt, "undecodable_answer"),
        (http_answer(204, b""), InDoubt, "undecodable_answer"),
        (b"SSH-2.0-OpenSSH\r\n", InDoubt, "undecodable_answer"),
        (b"", InDoubt, "undecodable_answer"),
        (b"HTTP/1.1 201 X\r\nContent-Length: 100\r\n\r\n{", InDoubt, "undecodable_answer"),
        (b"HTTP/1.1 201 X\r\nX-Long: " + b"x" * 200_000, InDoubt, "undecodable_answer"),
        (http_answer(201, b'{"long": "' + b"x" * http.MAX_ANSWER + b'"}'), InDoubt, "answer_too_long"),
    ],
)
def test_an_answer_is_what_the_table_says(raw_server: Callable[..., RawServer], answer: bytes, kind: type[StepError], code: str) -> None:
    """Only a declared decline is a rejection, only a request that was turned away is unavailable; all else may have been done."""
    assert fault_of(lambda: post(raw_server(answering(answer)).url, deadline_s=3.0)) == (kind, code)


def test_a_success_is_the_answer_and_the_request_carries_its_key(raw_server: Callable[..., RawServer]) -> None:
    """One request on a connection of its own, with its key and its body."""
    server = raw_server(answering(http_answer(201, {"id": "ch_1"})))

    assert [post(server.url, 3.0) for _ in range(2)] == [{"id": "ch_1"}] * 2

    head, _, body = server.heard.partition(b"\r\n\r\n")
    assert head.startswith(b"POST /v1/charges HTTP/1.1\r\n")
    assert b"Idempotency-Key: K-1" in head and b"Content-Type: application/json" in head
    assert body.startswith(b'{"amount": 1}')
    assert server.connections == 2


def test_a_provider_that_refuses_connections_is_unavailable() -> None:
    """Nobody is there, so nothing can have been done by this try."""
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        url = f"http://127.0.0.1:{nobody.getsockname()[1]}"

    assert fault_of(lambda: post(url)) == (Unavailable, "connect_failed")


def test_an_unknown_host_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that cannot be resolved was never spoken to."""

    def no_such_name(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", no_such_name)

    assert fault_of(lambda: post("http://provider.invalid")) == (Unavailable, "connect_failed")


def test_a_provider_that_does_not_accept_in_time_is_unavailable() -> None:
    """A full queue of connections: the deadline holds while connecting, too."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        waiting = [socket.socket() for _ in range(4)]
        for wire in waiting:
            wire.setblocking(False)
            wire.connect_ex(full.getsockname())
        begun = time.monotonic()

        assert fault_of(lambda: post(f"http://127.0.0.1:{full.getsockname()[1]}")) == (Unavailable, "connect_timeout")

        assert DEADLINE_S <= time.monotonic() - begun < LATE_S
        for wire in waiting:
            wire.close()


def test_a_connection_that_is_reset_after_sending_is_in_doubt(raw_server: Callable[..., RawServer]) -> None:
    """The request had arrived; nobody knows what was made of it."""

    def reset(server: RawServer, wire: socket.socket) -> None:
        server.listen(wire)
        wire.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")

    assert fault_of(lambda: post(raw_server(reset).url)) == (InDoubt, "connection_lost")


# --- one deadline -------------------------------------------------------------------------------------------------------


def mute(server: RawServer, wire: socket.socket) -> None:
    server.listen(wire)
    server.closing.wait(5.0)


def drip_status(server: RawServer, wire: socket.socket) -> None:
    server.listen(wire)
    server.drip(wire, b"H")


def drip_headers(server: RawServer, wire: socket.socket) -> None:
    server.listen(wire)
    wire.sendall(b"HTTP/1.1 201 X\r\nX-Drip: ")
    server.drip(wire, b"x")


def drip_body(server: RawServer, wire: socket.socket) -> None:
    server.listen(wire)
    wire.sendall(b'HTTP/1.1 201 X\r\nContent-Length: 5000\r\n\r\n{"id": "')
    server.drip(wire, b"x")


def drip_chunks(server: RawServer, wire: socket.socket) -> None:
    server.listen(wire)
    wire.sendall(b"HTTP/1.1 201 X\r\nTransfer-Encoding: chunked\r\n\r\n")
    server.drip(wire, b"1\r\nx\r\n")


def promise_for_ever(server: RawServer, wire: socket.socket) -> None:
    server.listen(wire)
    server.drip(wire, b"HTTP/1.1 103 Early Hints\r\n\r\n")


def never_shake_hands(server: RawServer, wire: socket.socket) -> None:
    server.heard += wire.recv(65536)
    server.closing.wait(5.0)


def speak_plainly(server: RawServer, wire: socket.socket) -> None:
    server.heard += wire.recv(65536)
    wire.sendall(b"HTTP/1.1 400 X\r\n\r\n")


@pytest.mark.parametrize("play", [mute, drip_status, drip_headers, drip_body, drip_chunks, promise_for_ever])
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

    def look() -> None:
        until = time.monotonic() + 2.0
        while not server.connections and time.monotonic() < until:
            time.sleep(0.01)
        opened.append(server.connections == 1 and server.heard == b"")
        lease.check_lease()

    monkeypatch.setattr(http, "check_lease", look)

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


# --- the sandbox as a gateway -------------------------------------------------------------------------------------------


@pytest.fixture
def paying(sandbox: "SandboxProcess") -> SandboxPayments:
    return SandboxPayments(sandbox.url, 3.0, CARD)


@pytest.fixture
def shipping(sandbox: "SandboxProcess") -> SandboxCarrier:
    return SandboxCarrier(sandbox.url, 3.0, CARD)


def charge(paying: SandboxPayments, order: str, token: str = "tok_ok", deadline_s: float = 3.0) -> Charge:
    return replace(paying, deadline_s=deadline_s).charge(order, 8420, "EUR", token, key=f"{order}:do")


def test_charge_and_refund(paying: SandboxPayments, sandbox: "SandboxProcess") -> None:
    """Asked twice under one key, both are one effect; the look-up shows both."""
    charges = [charge(paying, "ORD-1") for _ in range(2)]
    refunds = [paying.refund(charges[0].id, 420, key="ORD-1:undo") for _ in range(2)]

    assert charges[0] == charges[1] == Charge(id=charges[0].id, amount_minor=8420, currency="EUR", key="ORD-1:do", order_number="ORD-1")
    assert refunds[0] == refunds[1] == Refund(id=refunds[0].id, charge_id=charges[0].id, amount_minor=420)
    assert paying.find("ORD-1:do") == replace(charges[0], refunded_minor=420)
    assert paying.find("ORD-1:nothing/to&see here") is None
    assert sandbox.effects("ORD-1") == [("charge", "ORD-1:do", 8420), ("refund", "ORD-1:do", 420)]


def test_a_declined_card_is_rejected_and_stays_so(paying: SandboxPayments) -> None:
    """Final, under the same key as well."""
    assert [fault_of(lambda: charge(paying, "ORD-2", "tok_declined")) for _ in range(2)] == [(Rejected, "card_declined")] * 2
    assert fault_of(lambda: charge(paying, "ORD-3", "tok_nonsense")) == (Rejected, "unknown_token")


def test_a_charge_that_landed_without_an_answer_is_found(paying: SandboxPayments, sandbox: "SandboxProcess") -> None:
    """In doubt at the deadline; the same key, or the look-up, tells that the customer has paid, once."""
    assert fault_of(lambda: charge(paying, "ORD-4", "tok_timeout_charged", DEADLINE_S)) == (InDoubt, "timeout")

    assert paying.find("ORD-4:do") == charge(paying, "ORD-4", "tok_timeout_charged")
    assert len(sandbox.effects("ORD-4")) == 1


def test_a_charge_that_was_lost_happens_under_the_same_key(paying: SandboxPayments, sandbox: "SandboxProcess") -> None:
    """In doubt at the deadline, and nothing had happened."""
    assert fault_of(lambda: charge(paying, "ORD-5", "tok_timeout_not_charged", DEADLINE_S)) == (InDoubt, "timeout")

    assert paying.find("ORD-5:do") is None
    assert charge(paying, "ORD-5", "tok_timeout_not_charged").amount_minor == 8420
    assert len(sandbox.effects("ORD-5")) == 1


def test_errors_of_the_provider_are_in_doubt(paying: SandboxPayments) -> None:
    """A 503 after sending proves nothing, so the same key asks until there is an answer."""
    assert [fault_of(lambda: charge(paying, "ORD-6", "tok_flaky_2")) for _ in range(2)] == [(InDoubt, "unavailable")] * 2
    assert charge(paying, "ORD-6", "tok_flaky_2").amount_minor == 8420


def test_a_slow_charge_succeeds_and_meanwhile_is_busy(paying: SandboxPayments) -> None:
    """A second worker with the same key is told to wait, which is a doubt that spends no try."""
    with pytest.raises(InDoubt):
        charge(paying, "ORD-7", "tok_slow_8s", deadline_s=0.1)

    assert fault_of(lambda: charge(paying, "ORD-7", "tok_slow_8s")) == (Busy, "in_progress")

    time.sleep(0.5)
    assert charge(paying, "ORD-7", "tok_slow_8s").amount_minor == 8420


def test_a_key_used_for_something_else_is_in_doubt(paying: SandboxPayments) -> None:
    """Under this key something was done, only not this."""
    charge(paying, "ORD-8")

    assert fault_of(lambda: paying.charge("ORD-8", 1, "EUR", "tok_ok", key="ORD-8:do")) == (InDoubt, "key_reused")


def test_a_refusal_is_never_a_success_of_an_undo(paying: SandboxPayments, shipping: SandboxCarrier) -> None:
    """A charge or label that nobody knows, or too large an amount: still to be settled, not done."""
    charged = charge(paying, "ORD-9")

    assert fault_of(lambda: paying.refund("ch_unknown", 1, key="ORD-9:u1")) == (InDoubt, "unknown_charge")
    assert fault_of(lambda: paying.refund(charged.id, 8421, key="ORD-9:u2")) == (InDoubt, "amount_exceeds_captured")
    assert fault_of(lambda: shipping.cancel("lb_unknown/..", key="ORD-9:u3")) == (InDoubt, "unknown_label")


def test_cancel_by_key(paying: SandboxPayments, sandbox: "SandboxProcess") -> None:
    """What was charged is given back, what was not can never be; both refuse the charge from then on."""
    charge(paying, "ORD-10")

    assert paying.cancel_by_key("ORD-10:do", "ORD-10", key="ORD-10:undo") == 8420
    assert paying.cancel_by_key("ORD-11:do", "ORD-11", key="ORD-11:undo") == 0
    assert fault_of(lambda: charge(paying, "ORD-10")) == (Rejected, "cancelled_by_key")
    assert fault_of(lambda: charge(paying, "ORD-11")) == (Rejected, "cancelled_by_key")
    assert sandbox.effects("ORD-11") == []


def test_a_flaky_refund_is_in_doubt_until_it_works(paying: SandboxPayments, sandbox: "SandboxProcess") -> None:
    """The customer gets the money once, at the third try."""
    charged = charge(paying, "ORD-12", "tok_refund_flaky_2")

    assert [fault_of(lambda: paying.refund(charged.id, 8420, key="ORD-12:undo")) for _ in range(2)] == [(InDoubt, "unavailable")] * 2
    assert paying.refund(charged.id, 8420, key="ORD-12:undo").amount_minor == 8420
    assert sandbox.effects("ORD-12") == [("charge", "ORD-12:do", 8420), ("refund", "ORD-12:do", 8420)]


def test_book_and_cancel(shipping: SandboxCarrier, sandbox: "SandboxProcess") -> None:
    """One label for an order, and none after it was cancelled."""
    label = shipping.book("ORD-20", ADDRESS, PARCELS, key="ORD-20:do")
    assert shipping.find("ORD-20:do") == label == Label(id=label.id, tracking=label.tracking, key="ORD-20:do", order_number="ORD-20")

    shipping.cancel(label.id, key="ORD-20:undo")

    assert shipping.find("ORD-20:do") == replace(label, cancelled=True)
    assert [operation for operation, _, _ in sandbox.effects("ORD-20")] == ["label", "cancel_label"]


def test_a_refused_address_is_rejected(shipping: SandboxCarrier) -> None:
    """The carrier does not go there."""
    address = ADDRESS | {"postal_code": "00422"}

    assert fault_of(lambda: shipping.book("ORD-21", address, PARCELS, key="ORD-21:do")) == (Rejected, "address_refused")


def test_a_booking_in_doubt_is_found_or_cancelled_by_key(sandbox: "SandboxProcess", shipping: SandboxCarrier) -> None:
    """The label was booked and the answer never came: look-up finds it, cancel by key ends it, and a later booking is refused."""
    address, hasty = ADDRESS | {"postal_code": "00408"}, SandboxCarrier(sandbox.url, DEADLINE_S, CARD)
    assert fault_of(lambda: hasty.book("ORD-22", address, PARCELS, key="ORD-22:do")) == (InDoubt, "timeout")
    label = shipping.find("ORD-22:do")
    assert label is not None

    assert shipping.cancel_by_key("ORD-22:do", "ORD-22", key="ORD-22:undo") == label.id
    assert shipping.cancel_by_key("ORD-23:do", "ORD-23", key="ORD-23:undo") is None

    assert fault_of(lambda: shipping.book("ORD-22", address, PARCELS, key="ORD-22:do")) == (Rejected, "cancelled_by_key")


@pytest.mark.parametrize(
    "body", [{}, {"id": 7}, {"id": "ch_1", "amount": "8420", "currency": "EUR"}, {"id": "ch_1", "amount": True, "currency": "EUR"}]
)
def test_a_success_without_its_receipt_is_in_doubt(raw_server: Callable[..., RawServer], body: dict[str, Any]) -> None:
    """A charge that could never be refunded for lack of its reference does not count as known."""
    server = raw_server(answering(http_answer(201, body)))

    assert fault_of(lambda: charge(SandboxPayments(server.url, 3.0, CARD), "ORD-30")) == (InDoubt, "undecodable_answer")


@pytest.mark.parametrize("body", [{}, {"data": {}}, {"data": ["ch_1"]}, {"data": [{}]}])
def test_a_look_up_that_says_nothing_is_in_doubt(raw_server: Callable[..., RawServer], body: dict[str, Any]) -> None:
    """Only an empty list means that nothing is there."""
    server = raw_server(answering(http_answer(200, body)))

    assert fault_of(lambda: SandboxPayments(server.url, 3.0, CARD).find("ORD-31:do")) == (InDoubt, "undecodable_answer")


@pytest.mark.parametrize(
    "body",
    [
        {"data": []},
        {"data": [], "has_more": True},
        {"data": [{"id": "ch_1", "amount": 1, "currency": "EUR"}], "has_more": True},  # and the next page is the same one
        {"data": [{"id": "ch_1"}], "has_more": False},
    ],
)
def test_a_listing_that_never_ends_or_says_nothing_is_in_doubt(raw_server: Callable[..., RawServer], body: dict[str, Any]) -> None:
    """Half a list is never taken for a whole one."""
    server = raw_server(answering(http_answer(200, body)))

    assert fault_of(lambda: list(SandboxPayments(server.url, 3.0, CARD).listing())) == (InDoubt, "undecodable_answer")


# --- which provider -----------------------------------------------------------------------------------------------------


def test_the_settings_choose_the_providers(settings: "Settings", sandbox: "SandboxProcess") -> None:
    """Address and deadline come from the settings alone."""
    settings.PAYMENTS_GATEWAY = settings.CARRIER_GATEWAY = "sandbox"
    settings.SANDBOX_URL, settings.CALL_DEADLINE_S = f"{sandbox.url}/", DEADLINE_S

    assert payments().charge("ORD-40", 1, "EUR", "tok_ok", key="ORD-40:do").amount_minor == 1
    assert carrier().find("ORD-40:do") is None
    assert (gateway("payments"), gateway("carrier")) == (payments(), carrier())
    assert fault_of(lambda: payments().charge("ORD-41", 1, "EUR", "tok_timeout_charged", key="ORD-41:do")) == (InDoubt, "timeout")


def test_a_provider_that_nobody_wrote_is_refused_with_a_sentence(settings: "Settings") -> None:
    """It names the variable, the value and what there is to choose from."""
    settings.CARRIER_GATEWAY = "pigeon"

    with pytest.raises(
        ImproperlyConfigured, match=r'CARRIER_GATEWAY is "pigeon", which is no carrier gateway: choose one of "sandbox", "sandbox_b'
    ):
        carrier()
    with pytest.raises(ImproperlyConfigured, match='no gateway "psychic"'):
        gateway("psychic")  # type: ignore[call-overload]


# --- the catalogue ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [Rejected, Unavailable, InDoubt, Busy, UnknownStep])
def test_every_error_says_what_it_means_and_travels_between_processes(kind: type[StepError]) -> None:
    """Three lines for the operator: what it means, whether money or stock has moved, what to do; and the code survives pickling."""
    meaning, _, moved, todo = [line.strip() for line in (kind.__doc__ or "").strip().splitlines()]
    assert meaning and moved.startswith("Has money or stock moved?") and todo.startswith("What the operator does:")

    travelled = pickle.loads(pickle.dumps(kind("It was so.", code="so")))

    assert (type(travelled), str(travelled), travelled.code) == (kind, "It was so.", "so")
    assert kind("No code.").code == ""
