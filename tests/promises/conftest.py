"""The shop as the outside sees it: its API, the provider's ledger, and its database read with plain SQL. Everything behind it is real."""

import json
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import httpx
import psutil
import psycopg
import pytest

from tests.engines import RunningStack, wait_for

PLACE_WITH = """
import json, os, uuid
import django
os.environ["DJANGO_SETTINGS_MODULE"] = "config.settings"
django.setup()
from django.contrib.auth.models import User
from orders.api import placing
from orders.api.fields import RequestedOrder
wanted = RequestedOrder(data=json.loads(os.environ["PLACED"]))
wanted.is_valid(raise_exception=True)
print(placing.place(User.objects.get(username="web-shop"), uuid.uuid4().hex, wanted.validated_data, uuid.uuid4().hex).order.number)
"""
FINAL = {"fulfilled", "payment_failed", "inventory_failed", "shipping_failed", "cancelled"}
ADDRESS = {"name": "Amara Okafor", "line1": "12 Harbour Rd", "city": "Cork", "postal_code": "T12 X7YZ", "country": "IE"}


class Shop:
    """A client of the running stack; ``order`` reads through the API, ``sql`` through the database."""

    def __init__(self, stack: RunningStack) -> None:
        self.stack = stack
        info = stack.info
        self.http = httpx.Client(base_url=info["api"], headers={"Authorization": f"Token {info['token']}"}, timeout=20)
        self.provider = httpx.Client(base_url=info["sandbox"], timeout=20)

    def post(self, body: dict[str, Any], key: str | None = None) -> httpx.Response:
        return self.http.post("/orders", json=body, headers={"Idempotency-Key": key or uuid.uuid4().hex})

    def place(self, **changes: Any) -> str:
        """Place one order and return its number."""
        answer = self.post(body(**changes))
        assert answer.status_code == 201, answer.text
        return str(answer.json()["number"])

    def place_stubbornly(self, **changes: Any) -> str:
        """As a client that repeats its request under the same key until it is answered, whatever dies meanwhile."""
        key, order = uuid.uuid4().hex, body(**changes)

        def answered() -> str:
            try:
                answer = self.post(order, key)
            except httpx.TransportError:
                return ""
            return str(answer.json()["number"]) if answer.status_code == 201 else ""

        return wait_for(answered, 30)

    def place_with(self, gateway: str, **changes: Any) -> str:
        """Place an order whose plan pins another provider, as a web process with other settings would."""
        chosen = {"PAYMENTS_GATEWAY": gateway, "CARRIER_GATEWAY": gateway}
        run = self.python("-c", PLACE_WITH, PLACED=json.dumps(body(**changes)), **chosen)
        assert run.returncode == 0, run.stderr
        return run.stdout.strip().splitlines()[-1]

    def manage(self, *words: str) -> subprocess.CompletedProcess[str]:
        """A command of the shop, in another terminal."""
        return self.python("manage.py", *words)

    def python(self, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
        outer = {name: value for name, value in os.environ.items() if name not in ("DATABASE_URL", "CELERY_BROKER_URL")}
        own = {"RUN_DIR": str(self.stack.run_dir)}
        return subprocess.run([sys.executable, *words], env=outer | own | variables, capture_output=True, text=True, timeout=120)

    # --- crash points and the provider's faults ---

    def arm(self, point: str, action: str) -> None:
        (self.stack.run_dir / "crash" / point).write_text(action)

    def hit(self, point: str) -> tuple[int, str] | None:
        """(pid, order) of whoever reached the point; None: nobody yet."""
        file = self.stack.run_dir / "crash" / f"{point}.hit"
        if not file.exists() or not (words := file.read_text().split()):
            return None
        return int(words[0]), words[1]

    def disarm(self) -> None:
        for file in (self.stack.run_dir / "crash").iterdir():
            file.unlink()

    @contextmanager
    def provider_down(self, *what: str) -> Iterator[None]:
        self.provider.put("/control", json={"down": list(what)}).raise_for_status()
        try:
            yield
        finally:
            self.provider.put("/control", json={"down": []}).raise_for_status()

    def place_many(self, count: int, **changes: Any) -> list[str]:
        with ThreadPoolExecutor(8) as pool:
            return list(pool.map(lambda _: self.place(**changes), range(count)))

    def order(self, number: str) -> dict[str, Any]:
        answer = self.http.get(f"/orders/{number}")
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def step(self, number: str, name: str) -> dict[str, Any]:
        return next(step for step in self.order(number)["steps"] if step["name"] == name)

    def cancel(self, number: str) -> httpx.Response:
        return self.http.post(f"/orders/{number}/cancel")

    def ends(self, number: str, within_s: float = 30) -> str:
        """The order's final status, once it is there."""
        wait_for(lambda: self.order(number)["status"] in FINAL, within_s)
        return str(self.order(number)["status"])

    def until_paying(self, number: str) -> None:
        wait_for(lambda: self.step(number, "payment")["state"] == "started", every_s=0.01)

    def ledger(self, number: str) -> list[tuple[str, int | None]]:
        """(operation, amount in minor units) of everything that the provider did for this order."""
        return [(entry["operation"], entry["amount"]) for entry in self.provider.get("/ledger", params={"order": number}).json()]

    def total(self, number: str) -> int:
        return int(self.order(number)["total_minor"])

    def kinds(self, number: str) -> list[str]:
        return [entry["kind"] for entry in self.order(number)["timeline"]]

    def sql(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.stack.info["database"], autocommit=True) as connection:
            return connection.execute(query, values).fetchall()

    def run(self, command: str, *values: Any) -> None:
        with psycopg.connect(self.stack.info["database"], autocommit=True) as connection:
            connection.execute(command, values)

    @contextmanager
    def locked(self, table: str) -> Iterator[None]:
        """Whoever wants to use ``table`` hangs meanwhile."""
        with psycopg.connect(self.stack.info["database"]) as connection:
            connection.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
            yield

    def children_of(self, role: str) -> list[int]:
        """The pool of a worker."""
        return [child.pid for child in psutil.Process(self.stack.pid(role)).children()]

    def kill_whole(self, role: str) -> int:
        """SIGKILL to the process group of ``role``; returns the pid that died. PostgreSQL's own children end when its postmaster is gone."""
        pid = self.stack.pid(role)
        (os.kill if role == "postgres" else os.killpg)(pid, signal.SIGKILL)
        return pid

    @contextmanager
    def stopped(self, role: str) -> Iterator[None]:
        """A process and its pool stand still meanwhile (SIGSTOP)."""
        frozen = [self.stack.pid(role), *self.children_of(role)]
        for pid in frozen:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in frozen:
                os.kill(pid, signal.SIGCONT)

    def wait_for_respawn(self, role: str, dead: int, within_s: float = 20) -> None:
        wait_for(lambda: self.stack.pid(role) != dead, within_s)


def body(
    sku: str = "TENT-2P-GRN", quantity: int = 1, token: str = "tok_ok", postal_code: str = "T12 X7YZ", email: str = "amara@example.com"
) -> dict[str, Any]:
    return {
        "reference": "test",
        "currency": "EUR",
        "customer": {"email": email, "name": "Amara Okafor"},
        "lines": [{"sku": sku, "quantity": quantity}],
        "payment": {"token": token},
        "shipping_address": ADDRESS | {"postal_code": postal_code},
    }


@pytest.fixture(scope="session")
def shop(stack: RunningStack) -> Shop:
    return Shop(stack)


@pytest.fixture(autouse=True, scope="module")
def consistent(shop: Shop) -> Iterator[None]:
    """After every file of promises: the journal, the stock and the provider's ledger agree, as ``manage.py reconcile`` sees them."""
    yield
    run = shop.manage("reconcile")
    assert run.returncode == 0, run.stdout + run.stderr
