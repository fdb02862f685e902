"""The sandbox's HTTP process: routes, headers and silence. It listens on 127.0.0.1 only."""

import asyncio
import json
import signal
import sqlite3
from collections.abc import Callable
from http.client import responses
from pathlib import Path
from socket import socket
from types import TracebackType
from typing import Any

from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application, HTTPError, RequestHandler

from fulfillment.sandbox import fields
from fulfillment.sandbox.answers import Answer, Problem
from fulfillment.sandbox.carrier import Carrier
from fulfillment.sandbox.desk import Desk, Request
from fulfillment.sandbox.ledger import Ledger
from fulfillment.sandbox.payments import Payments

HOST = "127.0.0.1"
MAX_BODY = 64 * 1024  # bytes
SILENCE_S = 60.0  # how long a silent provider keeps the line open, at time scale 1

Read = Callable[..., Request]
Show = Callable[["Endpoint"], Any]


class CannotStart(Exception):
    """The port or the ledger file is not to be had; the message is one line that says which and why."""


class Endpoint(RequestHandler):
    """One path: ``read`` makes a Request of a POST, ``show`` answers a GET. JSON in and out, problems included."""

    def initialize(self, desk: Desk, silence_s: float, read: Read | None = None, show: Show | None = None) -> None:
        self._desk, self._silence_s, self._read, self._show = desk, silence_s, read, show
        self._gone = asyncio.Event()

    def get(self, *_path: str) -> None:
        if self._show is None:
            raise HTTPError(405 if self._read else 404)
        self.finish(json.dumps(self._show(self)))

    async def post(self, *path: str) -> None:
        """A client that goes away does not stop what has begun: it lands all the same."""
        if self._read is None:
            raise HTTPError(405 if self._show else 404)
        request = self._read(self.request.path, self._key(), fields.read_object(self.request.body), *path)
        answer = await self._desk.serve(request)
        await self._say(answer)

    def required(self, name: str) -> str:
        """The query parameter ``name``. Raises Problem 400."""
        value = self.get_query_argument(name, "")
        if not value:
            raise Problem(400, "missing_field", f"The query parameter {name} is missing.", name)
        return value

    def _key(self) -> str:
        key: str = self.request.headers.get("Idempotency-Key", "").strip()
        if not 1 <= len(key) <= fields.MAX_LENGTH:
            raise Problem(
                400, "idempotency_key", f"The header Idempotency-Key must have 1 to {fields.MAX_LENGTH} characters.", "Idempotency-Key"
            )
        return key

    async def _say(self, answer: Answer) -> None:
        if answer.silent:
            await self._say_nothing()
            return
        if answer.replayed:
            self.set_header("Idempotent-Replayed", "true")
        self.set_status(answer.status)
        self.finish(json.dumps(answer.body))

    async def _say_nothing(self) -> None:
        """Keep the line open until the client goes away, or for a minute; then cut it."""
        try:
            await asyncio.wait_for(self._gone.wait(), self._silence_s)
        except TimeoutError:
            self.detach().close()

    def on_connection_close(self) -> None:
        self._gone.set()

    def set_default_headers(self) -> None:
        self.set_header("Content-Type", "application/json")
        self.set_header("Server", "provider-sandbox")

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        fault = kwargs.get("exc_info", (None, None, None))[1]
        if not isinstance(fault, Problem):
            reason = responses.get(status_code, "Error")
            fault = Problem(status_code, reason.lower().replace(" ", "_"), f"{reason}.")
        self.set_status(fault.status)
        self.finish(json.dumps(fault.answer().body))

    def log_exception(self, typ: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        if not isinstance(value, Problem):
            super().log_exception(typ, value, tb)


def application(ledger: Ledger, time_scale: float, demo_values: bool) -> Application:
    """Every path of the sandbox, as one table."""
    payments, carrier = Payments(ledger, demo_values), Carrier(ledger, demo_values)
    paths: list[tuple[str, dict[str, Any]]] = [
        ("/v1/charges", {"read": payments.charge, "show": lambda get: {"data": payments.find(get.required("key"))}}),
        ("/v1/charges/cancel_by_key", {"read": payments.cancel_by_key}),
        ("/v1/refunds", {"read": payments.refund}),
        ("/v1/labels", {"read": carrier.book, "show": lambda get: {"data": carrier.find(get.required("key"))}}),
        ("/v1/labels/cancel_by_key", {"read": carrier.cancel_by_key}),
        ("/v1/labels/([^/]+)/cancel", {"read": carrier.cancel}),
        ("/ledger", {"show": lambda get: ledger.effects(get.get_query_argument("order", None))}),
        ("/healthz", {"show": lambda _: {"status": "ok"}}),
        (".*", {}),
    ]
    shared = {"desk": Desk(ledger, time_scale), "silence_s": SILENCE_S * time_scale}
    return Application([(path, Endpoint, shared | does) for path, does in paths], log_function=lambda _handler: None)


def run(port: int, ledger_path: Path, time_scale: float, demo_values: bool, announce: Callable[[str], None] = print) -> None:
    """Serve until SIGTERM or Ctrl-C. ``port`` 0 takes a free one; ``announce`` is told the address. Raises CannotStart."""
    try:
        sockets = bind_sockets(port, HOST)
    except (OSError, OverflowError) as fault:
        raise CannotStart(f"Port {port} cannot be used ({fault}): give another with --port.") from None
    try:
        ledger = Ledger(ledger_path)
    except (OSError, sqlite3.Error) as fault:
        raise CannotStart(f"The ledger {ledger_path} cannot be used ({fault}): another sandbox has it, or it is no ledger.") from None
    values = "accepted" if demo_values else "refused"
    announce(f"Provider sandbox on http://{HOST}:{sockets[0].getsockname()[1]}, ledger {ledger_path}, test values {values}")
    try:
        asyncio.run(_serve(HTTPServer(application(ledger, time_scale, demo_values), max_body_size=MAX_BODY), sockets))
    finally:
        ledger.close()


async def _serve(server: HTTPServer, sockets: list[socket]) -> None:
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    server.add_sockets(sockets)
    await stop.wait()
    server.stop()
    await server.close_all_connections()
