"""An order whose saga a test drives by hand; and a provider sandbox of one's own: a real process with a ledger of its own on a free port of 127.0.0.1."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from django.contrib.auth.models import User

from fulfillment import engine
from fulfillment.models import Saga, StockLevel
from orders import facts
from orders.events import Event
from orders.models import Order, OrderLine
from tests.event_schemas import faults

TIME_SCALE = 0.05
PROGRAM = (
    "import sys, pathlib; from fulfillment.sandbox.server import run; run(int(sys.argv[1]), pathlib.Path(sys.argv[2]), {scale}, {demo})"
)
ROOT = Path(__file__).resolve().parents[2]
BUFFERED = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}  # as an operator's shell would be
ADDRESS = {"name": "Amara Okafor", "line1": "12 Harbour Rd", "city": "Cork", "postal_code": "T12 X7YZ", "country": "IE"}


class SandboxProcess:
    """The process and a client for it. It can be killed and started again on the same ledger and port."""

    def __init__(self, ledger: Path, demo_values: bool = True, time_scale: float = TIME_SCALE) -> None:
        self.ledger_file = ledger
        self._time_scale, self._demo_values = time_scale, demo_values
        self._port = 0
        self.start()

    def start(self, sabotage: str = "") -> None:
        """``sabotage``: a line of Python that runs in the process before it serves."""
        program = PROGRAM.format(scale=self._time_scale, demo=self._demo_values)
        command = [sys.executable, "-c", f"{sabotage}\n{program}", str(self._port), str(self.ledger_file)]
        self._process = subprocess.Popen(command, cwd=ROOT, env=BUFFERED, stdout=subprocess.PIPE, text=True)
        try:
            line = self._announced()
        except BaseException:  # whoever interrupts the wait leaves no process behind
            self._process.kill()
            self._process.wait()
            raise
        self._reached_at(line)

    def _reached_at(self, line: str) -> None:
        """``line``: with what it has announced itself."""
        self.url = line.split()[3].rstrip(",")
        self._port = int(self.url.rpartition(":")[2])
        self.client = httpx.Client(base_url=self.url, timeout=5.0, verify=False)  # plain HTTP: no certificates to load

    def _announced(self) -> str:
        """What it says as soon as it is there."""
        assert self._process.stdout is not None
        line: str = self._process.stdout.readline()
        assert line, f"the sandbox ended with {self._process.wait(5)} before it told its address"
        return line

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send the signal and wait: the exit status."""
        self._process.send_signal(number)
        self.client.close()
        status = self._process.wait(timeout=5)
        assert self._process.stdout is not None
        self._process.stdout.close()
        return status

    def post(self, path: str, idempotency_key: str, timeout: float = 5.0, /, **body: Any) -> httpx.Response:
        return self.client.post(path, json=body, headers={"Idempotency-Key": idempotency_key}, timeout=timeout)

    def charge(self, order: str, token: str = "tok_ok", key: str = "", amount: int = 8420, timeout: float = 5.0) -> httpx.Response:
        key = key or f"{order}:payment:do:1"
        return self.post("/v1/charges", key, timeout, order=order, amount=amount, currency="EUR", token=token)

    def book(self, order: str, postal_code: str = "T12 X7YZ", timeout: float = 5.0) -> httpx.Response:
        address, parcels = ADDRESS | {"postal_code": postal_code}, [{"sku": "TENT-2P-GRN", "quantity": 1}]
        return self.post("/v1/labels", f"{order}:shipping:do:1", timeout, order=order, address=address, parcels=parcels)

    def effects(self, order: str) -> list[tuple[str, str, int | None]]:
        """(operation, key, amount) of what took place for an order."""
        return [(effect["operation"], effect["key"], effect["amount"]) for effect in self.ledger(order)]

    def ledger(self, order: str) -> list[dict[str, Any]]:
        listed: list[dict[str, Any]] = self.client.get("/ledger", params={"order": order}).json()
        return listed


@pytest.fixture(autouse=True)
def every_event_is_as_its_schema_says(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Whatever a test makes true."""
    wrong: list[str] = []
    announce = facts.announce

    def checked(event: Event) -> None:
        wrong.extend(faults(event.type, event.to_json()))
        announce(event)

    monkeypatch.setattr(facts, "announce", checked)
    yield
    assert wrong == []


@pytest.fixture
def order(db: None) -> Order:
    client = User.objects.create(username="web-shop")
    columns: dict[str, Any] = {"currency": "EUR", "total_minor": 100, "customer_email": "a@example.com", "customer_name": "A"}
    order = Order.objects.create(
        number="ORD-1", client=client, idempotency_key="k", shipping_address={}, payment_token="tok_ok", correlation_id="c", **columns
    )
    OrderLine.objects.create(order=order, sku="MUG", name="Mug", quantity=2, unit_price_minor=50)
    StockLevel.objects.create(sku="MUG", on_hand=3)
    return order


@pytest.fixture
def saga(order: Order) -> int:
    return engine.open_saga(order).saga


def now_due(saga: int) -> None:
    """Due, and its message known to be lost."""
    Saga.objects.filter(pk=saga).update(wake_at="2020-01-01T00:00Z", launched_at=None)


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxProcess]:
    """One sandbox for the tests of a module, each with orders of its own."""
    process = SandboxProcess(tmp_path_factory.mktemp("sandbox") / "ledger.sqlite3")
    yield process
    process.end()


@pytest.fixture
def new_sandbox(tmp_path: Path) -> Iterator[Callable[..., SandboxProcess]]:
    """A sandbox for one test, to be killed or started differently."""
    started: list[SandboxProcess] = []

    def start(**options: Any) -> SandboxProcess:
        started.append(SandboxProcess(tmp_path / "ledger.sqlite3", **options))
        return started[-1]

    yield start
    for process in started:
        process.end(signal.SIGKILL)
