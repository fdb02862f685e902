"""Promise: an order whose messages are discarded for ever, or kill whoever handles them, ends at a person or is compensated; it never goes round for ever."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fulfillment import engine
from fulfillment.models import Saga, SagaState
from orders.models import Incident, Order
from orders.timeline import EntryKind, TimelineEntry
from tests.config.bare import Broker, Worker, variables
from tests.engines import ROOT
from tests.proofs.black_box.waiting import wait_for
from tests.reconciliation.conftest import shop as shop
from tests.reconciliation.shop import Shop

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(170)]

BUDGETS = {"POISON_AFTER": "4", "PATIENCE_S": "2", "STEP_TRIES": "3", "COMPENSATION_TRIES": "3"}


class Crashing:
    """Whoever reaches the point dies, again and again."""

    def __init__(self, folder: Path, point: str) -> None:
        self.armed, self.times = folder / point, 0
        self._hit, self._is_over = folder / f"{point}.hit", threading.Event()

    @contextmanager
    def always(self) -> Iterator[None]:
        self.armed.write_text("kill")
        thread = threading.Thread(target=self._arm, daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._is_over.set()
            thread.join()

    def _arm(self) -> None:
        while not self._is_over.wait(0.02):
            if self._hit.exists():
                self._hit.unlink()
                self.times += 1
                self.armed.write_text("kill")


@pytest.fixture
def crash(tmp_path: Path) -> Path:
    folder = tmp_path / "crash"
    folder.mkdir()
    return folder


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    one = Broker(tmp_path)
    yield one
    one.end()


@pytest.fixture
def worker(broker: Broker, shop: Shop, crash: Path, tmp_path: Path) -> Iterator[Worker]:
    """And a sweep beside it."""
    more = {"SANDBOX_URL": shop.provider.url, "CRASH_POINTS": str(crash), "TIME_SCALE": "0.1", **BUDGETS}
    one = Worker(broker, tmp_path, **more)
    environment = os.environ | variables(broker) | more | {"SWEEP_EVERY_S": "0.2"}
    with (tmp_path / "sweep.log").open("w") as log:
        sweep = subprocess.Popen([sys.executable, "manage.py", "sweep"], cwd=ROOT, env=environment, stdout=log, stderr=log)
    try:
        one.is_ready()
        yield one
    finally:
        sweep.send_signal(signal.SIGTERM)
        sweep.wait(20)
        one.end()


def incidents_of(order: Order) -> list[tuple[str, str, int]]:
    return list(Incident.objects.filter(order=order).values_list("kind", "code", "amount_minor"))


def published_again(order: Order) -> int:
    return TimelineEntry.objects.filter(order=order, kind=EntryKind.RELAUNCH).count()


def state(order: Order) -> str:
    return str(Saga.objects.get(order=order).state)


def test_an_order_whose_every_task_id_was_revoked_ends_at_a_person(broker: Broker, worker: Worker, shop: Shop) -> None:
    """All that is ever published for it is thrown away by the worker, without a word: after a few times somebody is notified."""
    ids = [f"ORD-1.payment.{engine.run_name(1, again)}" for again in range(20)]
    revoke = [sys.executable, "-m", "celery", "-A", "config", "control", "revoke", *ids]
    subprocess.run(revoke, cwd=ROOT, env=os.environ | variables(broker), check=True, capture_output=True, timeout=60)

    order = shop.open("ORD-1")
    wait_for(lambda: state(order) == SagaState.NEEDS_ATTENTION, 100, every_s=0.3)

    assert [(kind, code) for kind, code, _ in incidents_of(order)] == [("stuck", "poison")]
    assert published_again(order) == int(BUDGETS["POISON_AFTER"])
    assert len(set(worker.lines("Discarding revoked task"))) == published_again(order)
    assert shop.provider.ledger("ORD-1") == []


def test_an_id_that_was_revoked_costs_one_publication(broker: Broker, worker: Worker, shop: Shop) -> None:
    """The next one has another id."""
    revoke = [sys.executable, "-m", "celery", "-A", "config", "control", "revoke", "ORD-1.payment.e1", "ORD-1.payment.e1.r1"]
    subprocess.run(revoke, cwd=ROOT, env=os.environ | variables(broker), check=True, capture_output=True, timeout=60)

    order = shop.open("ORD-1")
    wait_for(lambda: state(order) == SagaState.COMPLETED, 60, every_s=0.3)

    assert published_again(order) == 2


def test_a_step_that_kills_its_process_every_time_turns_the_order_back(worker: Worker, shop: Shop, crash: Path) -> None:
    """As the kernel would for its memory: it is tried a few times, then compensated blind. Nothing is charged, and the worker itself lives."""
    before = worker.process.pid
    crashing = Crashing(crash, "after_start.do.payment.any")

    with crashing.always():
        order = shop.open("ORD-1")
        wait_for(lambda: state(order) == SagaState.COMPENSATED, 100, every_s=0.3)

    order.refresh_from_db()
    assert (order.status, incidents_of(order)) == ("payment_failed", [])
    assert crashing.times == int(BUDGETS["STEP_TRIES"])
    assert [operation for operation, _, _ in shop.provider.effects("ORD-1") if operation in ("charge", "refund")] == []
    assert worker.process.pid == before
    assert worker.process.poll() is None


def test_a_compensation_that_kills_its_process_every_time_ends_at_a_person(worker: Worker, shop: Shop, crash: Path) -> None:
    """The refund cannot even be asked for: after its tries a person is notified, with the amount."""
    crashing = Crashing(crash, "after_start.compensate.payment.any")

    with crashing.always():
        order = shop.open("ORD-1", postal_code="00422")
        wait_for(lambda: state(order) == SagaState.NEEDS_ATTENTION, 100, every_s=0.3)

    ((kind, _, amount),) = incidents_of(order)
    assert (kind, amount) == ("compensation_exhausted", order.total_minor)
    assert crashing.times == int(BUDGETS["COMPENSATION_TRIES"])
