"""The shop as the outside sees it: its API, the provider's ledger, and its database read with plain SQL. Everything behind it is real."""

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
import redis

from orders.management.placing_client import FINAL
from tests.event_schemas import faults
from tests.proofs.black_box.orders import body
from tests.proofs.black_box.shop import Shop as BlackBoxShop
from tests.proofs.black_box.stack import RunningStack
from tests.proofs.black_box.waiting import wait_for

PLACE_WITH = """
import json, os, uuid
import django
os.environ["DJANGO_SETTINGS_MODULE"] = "config.settings"
django.setup()
from django.contrib.auth.models import User
from orders.api import placing
from orders.api.serializers import RequestedOrder
wanted = RequestedOrder(data=json.loads(os.environ["PLACED"]))
wanted.is_valid(raise_exception=True)
print(placing.place(User.objects.get(username="web-shop"), uuid.uuid4().hex, wanted.validated_data, uuid.uuid4().hex).order.number)
"""


class Shop(BlackBoxShop):
    """The shop, and what only tests ask of it."""

    def place_with(self, gateway: str, **changes: Any) -> str:
        """Place an order whose plan pins another provider, as a web process with other settings would."""
        chosen = {"PAYMENTS_GATEWAY": gateway, "CARRIER_GATEWAY": gateway, "PLACED": json.dumps(body(**changes))}
        run = self.python("-c", PLACE_WITH, variables=chosen)
        assert run.returncode == 0, run.stderr
        return run.stdout.strip().splitlines()[-1]

    def ends(self, number: str, within_s: float = 30) -> str:
        """The order's final status, once it is there."""
        wait_for(lambda: self.order(number)["status"] in FINAL, within_s)
        return str(self.order(number)["status"])

    def until_paying(self, number: str) -> None:
        """Its payment is being asked for right now. A worker may be on its way back still."""
        state = wait_for(
            lambda: (found := str(self.step(number, "payment")["state"])) not in ("pending", "scheduled") and found, 60, every_s=0.01
        )
        assert state == "started", state

    def ledger(self, number: str) -> list[tuple[str, int | None]]:
        """(operation, amount in minor units) of everything that the provider did for this order."""
        return [(entry["operation"], entry["amount"]) for entry in self.effects(number)]

    def total(self, number: str) -> int:
        return int(self.order(number)["total_minor"])

    def kinds(self, number: str) -> list[str]:
        return [entry["kind"] for entry in self.order(number)["timeline"]]

    def refused(self) -> list[str]:
        """What its workers say of messages that they would not handle; earlier runs in this folder included."""
        logs = [self.stack.run_dir / "log" / f"{role}.log" for role in ("saga", "sideeffects")]
        return [line for log in logs for line in log.read_text(errors="replace").splitlines() if "Message refused" in line]

    def log_ends(self) -> dict[Path, int]:
        """Of what answers requests and works off tasks: how long each log is now."""
        logs = [self.stack.run_dir / "log" / f"{role}.log" for role in ("web", "saga", "sideeffects")]
        return {log: log.stat().st_size for log in logs}

    def logged(self, word: str, since: Mapping[Path, int]) -> list[str]:
        """Lines in which the whole word stands, behind those ``log_ends``."""
        texts = [log.read_bytes()[end:].decode(errors="replace") for log, end in since.items()]
        return [line for text in texts for line in text.splitlines() if re.search(rf"\b{re.escape(word)}\b", line)]

    @contextmanager
    def locked(self, table: str, mode: str = "ACCESS EXCLUSIVE") -> Iterator[None]:
        """Whoever wants to use ``table`` hangs meanwhile; with the mode EXCLUSIVE, whoever wants to write to it."""
        with psycopg.connect(self.stack.info["database"]) as connection:
            connection.execute(f"LOCK TABLE {table} IN {mode} MODE")
            yield

    def forget_messages(self, queue: str) -> None:
        """The broker loses what waits in ``queue``."""
        broker = redis.Redis(unix_socket_path=str(self.stack.info["broker"].removeprefix("redis+socket://")))
        assert broker.delete(queue) == 1


@pytest.fixture(scope="module")
def shop(stack: RunningStack) -> Iterator[Shop]:
    """After every file of promises that uses it: the journal, the stock and the provider's ledger agree, as ``manage.py reconcile`` sees them.

    No worker has refused a message that the shop itself has published. And each public event is as its schema says.
    """
    shop = Shop(stack)
    before = set(shop.refused())
    yield shop
    assert [line for line in shop.refused() if line not in before] == []
    run = shop.manage("reconcile")
    assert run.returncode == 0, run.stdout + run.stderr
    recorded = shop.sql("SELECT type, payload FROM orders_fact")
    assert [fault for type_, payload in recorded for fault in faults(type_, payload)] == []
