"""Promise: the request id that a client was told stands in the tasks of its orders, whoever publishes them, and in the calls to providers.

``tests/promises/test_happy_path.py`` follows one through a real stack.
"""

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from celery import signals

from config.celery import app
from config.consumer.request import Request
from fulfillment import engine, tasks
from fulfillment.engine import Launch
from fulfillment.gateways import http
from orders import tracing
from orders.models import Order
from sideeffects import tasks as side_effects
from tests.fulfillment.gateways.conftest import RawServer

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


@pytest.fixture
def published() -> Iterator[list[Any]]:
    """The headers of every message that was to go out. There is no broker."""
    found: list[Any] = []

    def note(headers: Any = None, **_: Any) -> None:
        found.append(headers.get("x_cid"))

    signals.before_task_publish.connect(note, weak=False)
    yield found
    signals.before_task_publish.disconnect(note)


def launch(correlation_id: str) -> Launch:
    return Launch(saga=1, epoch=1, order="ORD-1", compensating=False, steps=("payment",), correlation_id=correlation_id)


def test_what_the_sweep_publishes_carries_the_request_that_placed_the_order(published: list[Any]) -> None:
    tasks.launch(launch("req-7"))

    assert published == ["req-7"]


def test_what_a_request_publishes_carries_that_request(published: list[Any]) -> None:
    with tracing.traced("req-8"):
        tasks.launch(launch("req-7"))

    assert published == ["req-8"]


def test_what_the_relay_publishes_carries_it_too(published: list[Any]) -> None:
    name = next(iter(side_effects.TASKS))
    fact: Any = "8e03978e-40d5-43e8-bc93-6894a57f9324"
    side_effects.publish([side_effects.Message(fact=fact, subscriber=name, order="ORD-1", launch=1, correlation_id="req-7")])

    assert published == ["req-7"]


def test_a_launch_knows_the_request_of_its_order(order: Order) -> None:
    opened = engine.open_saga(order)

    assert opened is not None
    assert opened.correlation_id == order.correlation_id != ""


@pytest.mark.parametrize(("identity", "is_sent"), [("req-7", True), ("req\u00e97", False), ("", False)])
def test_a_provider_is_told_which_request_it_serves(identity: str, is_sent: bool, caplog: pytest.LogCaptureFixture) -> None:
    """So that its log and ours can be laid side by side. What no header can hold is not sent."""

    def play(server: RawServer, wire: Any) -> None:
        server.listen(wire)
        wire.sendall(ANSWER)

    server = RawServer(play)
    caplog.set_level("INFO", "fulfillment.gateways.http")
    with tracing.traced(identity):
        http.request("GET", f"{server.url}/charges?key=secret", deadline_s=5)

    assert (f"X-Request-ID: {identity}".encode() in server.heard) == is_sent
    (line,) = [found for found in caplog.records if found.name == "fulfillment.gateways.http"]
    fields: dict[str, Any] = line.__dict__["fields"]
    assert (line.getMessage(), fields["method"], fields["ended"]) == ("provider called", "GET", "200")
    assert "secret" not in str(fields)


@pytest.mark.parametrize(
    ("headers", "found"), [({"x_cid": "req-7", "root_id": "ORD-1.payment.e1"}, "req-7"), ({"root_id": "a"}, "a"), ({}, "")]
)
def test_what_a_worker_says_of_a_task_that_it_has_killed_carries_it_too(headers: dict[str, str], found: str) -> None:
    """Its main process says it, which does not run the task. The errback that it publishes carries the id on."""
    heard: list[tracing.Trace | None] = []
    task = SimpleNamespace(**dict.fromkeys(("ignore_result", "time_limit"), None))
    names = {"id": "ORD-1.payment.e1", "task": "fulfillment.payment"}
    message = SimpleNamespace(
        headers=names | headers, body="", payload=([], {}, {}), content_type="", content_encoding="", delivery_info={}, properties={}
    )
    killed = Request(message, app=app, task=task)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("celery.worker.request.warn", lambda *_: heard.append(tracing.current()))
        killed.on_timeout(soft=True, timeout=2.0)

    assert heard == [tracing.Trace(found)]
    assert app.tasks["fulfillment.payment"].Request == "config.consumer.request:Request"
