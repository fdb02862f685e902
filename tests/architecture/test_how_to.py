"""Promise: the step, the provider and the subscriber that the docs show work: each is copied as it stands, and runs."""

import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import psycopg
import pytest

from tests.architecture.test_snippets import project_with, run
from tests.engines import ROOT

DOCS = ROOT / "docs"
Answer = tuple[int, dict[str, Any]]


class Service:
    """Somebody else's service, as the pages describe it: one effect per key, and a cancel by key that refuses what comes later."""

    def __init__(self) -> None:
        self.effects: dict[str, dict[str, Any]] = {}
        self.cancelled: set[str] = set()

    def get(self, query: dict[str, str]) -> Answer:
        found = [effect for effect in self.effects.values() if query.get("key") in (None, effect["key"])]
        return 200, {"data": found, "more": False}

    def post(self, path: str, body: dict[str, Any], key: str) -> Answer:
        if path == "/cancellations":
            return self._cancel(body["key"])
        if path == "/refunds":
            return self._refund(body, key)
        if key in self.cancelled:
            return 402, {"error": {"code": "cancelled_by_key"}}
        effect = body | {"id": f"id-{len(self.effects) + 1}", "key": key, "refunded": 0}
        return 201, self.effects.setdefault(key, effect)

    def _cancel(self, key: str) -> Answer:
        self.cancelled.add(key)
        effect = self.effects.pop(key, {})
        return 200, {"refunded": effect.get("amount", 0)}

    def _refund(self, body: dict[str, Any], key: str) -> Answer:
        charge = next(effect for effect in self.effects.values() if effect["id"] == body["charge"])
        charge["refunded"] += body["amount"]
        return 201, {"id": f"refund of {key}", "amount": body["amount"], "currency": charge["currency"]}


@contextmanager
def served(service: Service) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.answer(service.get({name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}))

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            self.answer(service.post(self.path, body, self.headers["Idempotency-Key"]))

        def answer(self, given: Answer) -> None:
            status, body = given
            raw = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def last_line(project: Path, code: str) -> Any:
    """What ``code`` prints last, as JSON, in a process of this project."""
    done = run(project, "-c", code)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


STEP = """
import json
from types import SimpleNamespace
import django
django.setup()
from fulfillment.errors import Rejected, StepError
from fulfillment.steps import known
step, order = known("gift_wrap"), SimpleNamespace(number="ORD-1")
def outcome(call):
    try:
        return call()
    except StepError as error:
        return type(error).__name__
compensation = SimpleNamespace(do_key="k", key="c", receipt=None)
print(json.dumps([
    step.execute(order, "k"), step.execute(order, "k"), step.resolve(order, "k"), step.left(order, "k"),
    step.compensate(order, compensation), step.compensate(order, compensation),
    step.resolve(order, "k"), step.left(order, "k"), outcome(lambda: step.execute(order, "k")),
]))
"""


def test_the_step_of_the_page_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Twice is once, forward and backward; what was cancelled by its key comes no more."""
    with served(Service()) as url:
        monkeypatch.setenv("WRAPPING_URL", url)
        result = last_line(project_with(DOCS / "add-a-step.md", tmp_path), STEP)

    wrapped = {"wrapping_id": "id-1"}
    assert result == [wrapped, wrapped, wrapped, 1, None, None, None, 0, "Rejected"]


PROVIDER = """
import json
import django
django.setup()
from fulfillment.gateways import payments
from fulfillment.errors import Rejected
acme = payments()
charges = [acme.charge("ORD-1", 8420, "eur", "tok", key="k") for _ in range(2)]
refund = acme.refund(charges[0].id, 420, key="r")
found = acme.find("k")
listed = [charge.id for charge in acme.listing()]
try:
    cancelled = acme.cancel_by_key("other", "ORD-1", key="c")
    acme.charge("ORD-1", 8420, "EUR", "tok", key="other")
except Rejected as error:
    late = error.code
print(json.dumps([charges[0] == charges[1], charges[0].currency, refund.amount_minor, found.refunded_minor, listed, cancelled, late]))
"""


def test_the_provider_of_the_page_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is chosen by its name, and charges, refunds, finds, lists and cancels."""
    with served(Service()) as url:
        monkeypatch.setenv("ACME_URL", url)
        monkeypatch.setenv("PAYMENTS_GATEWAY", "acme")
        result = last_line(project_with(DOCS / "add-a-provider.md", tmp_path), PROVIDER)

    assert result == [True, "EUR", 420, 420, ["id-1"], 0, "cancelled_by_key"]


SUBSCRIBER = """
import json
import django
django.setup()
from django.contrib.auth.models import User
from config.celery import app
from orders import facts
from orders.events import Line, OrderFulfilled
from orders.models import Order
from sideeffects.models import Delivery
app.loader.import_default_modules()
from sideeffects.subscribers.survey.models import Invitation
from sideeffects.subscribers.survey.subscriber import audit
client = User.objects.create(username="web-shop")
order = Order.objects.create(
    number="ORD-1", client=client, idempotency_key="k", shipping_address={}, payment_token="t", correlation_id="c", currency="EUR",
    total_minor=8420, customer_email="amara@example.com", customer_name="Amara Okafor",
)
lines = (Line(sku="A", quantity=1, unit_price_minor=8420),)
fact = OrderFulfilled(number="ORD-1", currency="EUR", total_minor=8420, tracking="", fulfilled_on="2026-11-24", lines=lines)
facts.record(fact, order.pk, "c")
for _ in range(2):
    app.tasks["sideeffects.survey"](fact=str(fact.fact_id), order="ORD-1")
delivery = Delivery.objects.get()
result = [delivery.subscriber, delivery.state, Invitation.objects.count(), list(audit(None))]
Invitation.objects.all().delete()
print(json.dumps([*result, list(audit(None))]))
"""


@pytest.fixture
def database(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A database of its own, for processes of a project that has more tables than ours."""
    server = os.environ["DATABASE_URL"]
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute("DROP DATABASE IF EXISTS how_to")
        connection.execute("CREATE DATABASE how_to")
    monkeypatch.setenv("DATABASE_URL", urlsplit(server)._replace(path="/how_to").geturl())
    yield
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute("DROP DATABASE how_to WITH (FORCE)")


def test_the_subscriber_of_the_page_works(tmp_path: Path, database: None) -> None:
    """Its row is written once, though its message comes twice; and its audit tells of a row that is missing."""
    project = project_with(DOCS / "add-a-subscriber.md", tmp_path)
    migrated = run(project, "manage.py", "migrate", "--noinput", "--verbosity=0")
    assert migrated.returncode == 0, migrated.stderr

    result = last_line(project, SUBSCRIBER)

    assert result == ["survey", "delivered", 1, [], ["1 orders were delivered and have no invitation"]]
