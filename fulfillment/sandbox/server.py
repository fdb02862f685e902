"""The sandbox's HTTP process: routes, headers and silence. It listens on 127.0.0.1 only."""

import asyncio
import signal
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path
from socket import socket
from typing import Any

from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application, RequestHandler

from fulfillment.sandbox import fields
from fulfillment.sandbox.carrier import Carrier
from fulfillment.sandbox.control import Control
from fulfillment.sandbox.endpoint import Endpoint, Lever, Nowhere
from fulfillment.sandbox.idempotency import Area, IdempotencyStore
from fulfillment.sandbox.ledger import Ledger
from fulfillment.sandbox.payments import Payments
from fulfillment.sandbox.profile import PROFILES, Profile

HOST = "127.0.0.1"
MAX_BODY = 64 * 1024  # bytes
SILENCE_S = 60.0  # how long a silent provider keeps the line open, at time scale 1

Route = tuple[str, type[RequestHandler], dict[str, Any]]


class CannotStart(Exception):
    """The port or the ledger file is not to be had; the message is one line that says which and why."""


def application(ledger: Ledger, time_scale: float, demo_values: bool) -> Application:
    """Every path of the sandbox."""
    down: set[Area] = set()
    providers = {profile.name: (Payments(ledger, profile, demo_values), Carrier(ledger, profile, demo_values)) for profile in PROFILES}
    routes = [
        route
        for profile in PROFILES
        for route in _provider(
            profile, *providers[profile.name], IdempotencyStore(ledger, profile, down, time_scale), SILENCE_S * time_scale
        )
    ]
    if demo_values:
        routes += _control(Control(ledger, down, providers))
    routes += [
        ("/ledger", Endpoint, {"show": lambda get: ledger.effects(get.get_query_argument("order", None))}),
        ("/healthz", Endpoint, {"show": lambda _: {"status": "ok"}}),
        (".*", Nowhere, {}),
    ]
    return Application(routes, log_function=lambda _handler: None)


def _provider(profile: Profile, payments: Payments, carrier: Carrier, store: IdempotencyStore, silence_s: float) -> list[Route]:
    """The resources of one profile, below its prefix."""
    resources: dict[str, dict[str, Any]] = {
        "charges": {"read": payments.charge, "show": lambda get: _listed(payments, get)},
        "refunds": {"read": payments.refund},
        "labels": {"read": carrier.book, "show": lambda get: _listed(carrier, get)},
        "labels/([^/]+)/cancel": {"read": carrier.cancel},
    }
    if profile.tombstones:
        resources["charges/cancel_by_key"] = {"read": payments.cancel_by_key}
        resources["labels/cancel_by_key"] = {"read": carrier.cancel_by_key}
    shared = {"store": store, "silence_s": silence_s}
    return [(f"{profile.prefix}/v1/{path}", Endpoint, shared | does) for path, does in resources.items()]


def _listed(role: Payments | Carrier, get: Endpoint) -> dict[str, Any]:
    """What is under a key if one is given, else a page of all."""
    return role.find(get.required("key")) if get.has_parameter("key") else role.page(fields.page(get.parameter))


def _control(control: Control) -> list[Route]:
    return [
        ("/control", Lever, {"show": control.show, "put": control.take_down}),
        ("/control/forget", Lever, {"post": control.forget}),
        ("/control/plant", Lever, {"post": control.plant}),
    ]


def say(line: str) -> None:
    """To stdout at once: whoever waits for the address may read it through a pipe."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def run(port: int, ledger_path: Path, time_scale: float, demo_values: bool, announce: Callable[[str], None] = say) -> None:
    """Serve until SIGTERM or Ctrl-C. ``port`` 0 takes a free one; ``announce`` gets the address. Raises CannotStart."""
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
