"""The shop that is measured: a whole stack of its own on an empty database, as ``make up`` starts it, at the speed of production and without Flower."""

import contextlib
import json
import shutil
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil

from config.stack.stopping import stop_running
from tests.bench.arrivals import Answered, Request, Target, send
from tests.bench.figures import Figures
from tests.proofs import prepared
from tests.proofs.black_box.orders import ADDRESS, GOOD_CARD
from tests.proofs.black_box.shop import Shop
from tests.proofs.black_box.stack import RunningStack
from tests.proofs.black_box.waiting import wait_for

LINES = [{"sku": "TENT-2P-GRN", "quantity": 1}, {"sku": "MUG-ENAMEL", "quantity": 2}]
# One client sends everything: its requests are counted, as anybody's, and never too many.
VARIABLES = {"TIME_SCALE": "1", "ORDERS_WRITE_PER_MIN": "10000000"}
PLAIN = "plain"  # the service beside it: its database, and its folder, in which whoever comes after a kill finds its process
SUBSCRIBERS = 4
MOVING = f"""
SELECT (SELECT count(*) FROM fulfillment_saga WHERE state IN ('running', 'compensating'))
    + {SUBSCRIBERS} * (SELECT count(*) FROM orders_fact WHERE type = 'order.fulfilled') - (SELECT count(*) FROM sideeffects_delivery WHERE state = 'delivered')
"""
STILL_WITHIN_S = 300.0


class MeasuredShop(Shop):
    def __init__(self, stack: RunningStack) -> None:
        super().__init__(stack)
        self.port = int(stack.info["web"].rpartition(":")[2])
        self.orders = Target(port=self.port, request=self._order)
        self.placed = 0

    def measure(self, due: Sequence[float]) -> Figures:
        """Orders that are placed at these instants."""
        figures = measured(self.orders, due, self.stack.pid("web"))
        self.placed += figures.requests - figures.failed
        return figures

    def fulfilled(self) -> int:
        return int(self.sql("SELECT count(*) FROM orders_order WHERE status = 'fulfilled'")[0][0])

    def rest(self) -> None:
        """Until no order moves, and every subscriber has heard of those that are fulfilled."""
        wait_for(lambda: self.sql(MOVING)[0][0] == 0, STILL_WITHIN_S, every_s=0.25)

    def _order(self) -> Request:
        headers = {"Authorization": f"Bearer {self.stack.info['token']}", "Idempotency-Key": uuid.uuid4().hex}
        order = {
            "reference": "web-77120",
            "currency": "EUR",
            "customer": {"email": "amara@example.com", "name": "Amara Okafor"},
            "lines": LINES,
            "payment": {"token": GOOD_CARD},
            "shipping_address": ADDRESS,
        }
        return "/api/v1/orders", headers | {"Content-Type": "application/json"}, json.dumps(order).encode()


@contextmanager
def open_shop(folder: Path) -> Iterator[MeasuredShop]:
    for left in (folder / PLAIN, folder):
        stop_running(left)
    shutil.rmtree(folder, ignore_errors=True)
    prepared.lay(folder)
    stack = RunningStack(folder, ("manage.py", "up", "--without-flower"), **VARIABLES)
    try:
        yield MeasuredShop(stack)
    finally:
        stack.stop()


def measured(target: Target, due: Sequence[float], web: int) -> Figures:
    """``web``: the pid of the gunicorn whose processes answer."""
    before = _cpu_s(web)
    answered: list[Answered] = send(target, due)
    return Figures.of(answered, _cpu_s(web) - before)


def _cpu_s(web: int) -> float:
    total = 0.0
    for process in psutil.Process(web).children():
        with contextlib.suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            total += times.user + times.system
    return total
