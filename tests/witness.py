"""A witness: another session that looks at the shop before every statement of ours, and whenever something leaves (a call, a message).

What it saw, each change once, is the order in which things became true for everybody else. A boundary that moves is seen, whether or not a crash point stands there.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import httpx
from celery.signals import before_task_publish
from django.db import connection

from tests.holding import outside

OBSERVE = """
SELECT concat_ws(' ', o.status, s.state || '/' || s.epoch,
    (SELECT string_agg(r.name || '=' || r.state, ' ' ORDER BY r.position) FROM fulfillment_steprecord r WHERE r.saga_id = s.id AND r.state <> 'pending'),
    CASE WHEN s.cancel_requested_at IS NOT NULL THEN 'cancel' END,
    CASE WHEN s.held_by <> '' THEN 'held' END,
    (SELECT string_agg(l.operation || ':' || l.amount_minor, ' ' ORDER BY l.id) FROM fulfillment_ledgerentry l WHERE l.order_id = o.id),
    (SELECT string_agg('stock:' || v.state, ' ' ORDER BY v.id) FROM fulfillment_reservation v WHERE v.order_number = o.number),
    (SELECT 'fact' FROM orders_fact f WHERE f.order_id = o.id AND f.type = 'order.fulfilled'),
    (SELECT string_agg('incident:' || i.kind, ' ' ORDER BY i.id) FROM orders_incident i WHERE i.order_id = o.id AND i.state <> 'resolved'),
    (SELECT string_agg(d.subscriber || ':' || d.state, ' ' ORDER BY d.subscriber) FROM sideeffects_delivery d JOIN orders_fact f ON f.id = d.event_id
        WHERE f.order_id = o.id)
) FROM orders_order o LEFT JOIN fulfillment_saga s ON s.order_id = o.id WHERE o.number = %s
"""
NOTHING = "nothing"


class Witness:
    """``saw``: what others could see of one order, and what left in between ("→ …")."""

    def __init__(self, order: str) -> None:
        self._order = order
        self._session = outside(autocommit=True)
        self._lock = threading.Lock()
        self.saw: list[str] = []

    def observe(self) -> None:
        with self._lock:
            row = self._session.execute(OBSERVE, [self._order]).fetchone()
            seen = row[0] if row else NOTHING
            last = next((line for line in reversed(self.saw) if not line.startswith("→")), None)
            if seen != last:
                self.saw.append(seen)

    def leaves(self, what: str) -> None:
        self.observe()
        self.saw.append(f"→ {what}")

    def before_a_statement(self, execute: Callable[..., Any], *statement: Any) -> Any:
        self.observe()
        return execute(*statement)

    @contextmanager
    def watching(self) -> Iterator[list[str]]:
        """Of what happens in the block. The last line is what is true when it is over."""
        self.saw = []
        self.observe()

        def published(sender: str = "", **_: Any) -> None:
            self.leaves(sender)

        before_task_publish.connect(published)
        try:
            with connection.execute_wrapper(self.before_a_statement):
                yield self.saw
        finally:
            before_task_publish.disconnect(published)
            self.observe()

    def close(self) -> None:
        self._session.close()


class ObservingProxy(HTTPServer):
    """Stands before a provider: the witness looks when a request arrives, before the provider has it, and when its answer leaves."""

    def __init__(self, provider: str, witness: Witness) -> None:
        super().__init__(("127.0.0.1", 0), _Request)
        self.provider, self.witness = provider, witness
        self.url = f"http://127.0.0.1:{self.server_port}"
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.shutdown()
        self.server_close()


class _Request(BaseHTTPRequestHandler):
    server: ObservingProxy

    def do_POST(self) -> None:
        self._pass_on()

    def do_GET(self) -> None:
        self._pass_on()

    def _pass_on(self) -> None:
        self.server.witness.leaves(f"{self.command} {'/'.join(self.path.split('?')[0].split('/')[:3])}")
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        kept = {name: value for name, value in self.headers.items() if name.lower() in ("content-type", "idempotency-key", "accept")}
        answer = httpx.request(self.command, self.server.provider + self.path, content=body, headers=kept, timeout=5, verify=False)
        self.server.witness.observe()
        self.send_response(answer.status_code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer.content)))
        self.end_headers()
        self.wfile.write(answer.content)

    def log_message(self, *_: Any) -> None:
        """Nobody reads it."""
