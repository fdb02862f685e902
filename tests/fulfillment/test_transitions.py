"""Promise: a transition is whole or nothing, again where the database has only lost a race, and in doubt where nobody knows whether it was committed."""

import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import OperationalError, connection, transaction

from fulfillment import checks, engine, plans, recovery, steps
from fulfillment.engine.transition import transition
from fulfillment.models import Saga, StepRecord, StockLevel
from fulfillment.steps.payment import Payment
from orders.models import Order
from tests.fulfillment.conftest import now_due

# --- lost races ----------------------------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_two_transitions_that_deadlock_both_happen() -> None:
    """PostgreSQL ends one of them; it is simply done again."""
    StockLevel.objects.bulk_create([StockLevel(sku="A", on_hand=0), StockLevel(sku="B", on_hand=0)])
    meet, tries = threading.Barrier(2), []

    @transition
    def both(first: str, second: str) -> None:
        tries.append(first)
        StockLevel.objects.select_for_update().get(sku=first)
        if len(tries) <= 2:
            meet.wait(5)
        for sku in (first, second):
            level = StockLevel.objects.select_for_update().get(sku=sku)
            StockLevel.objects.filter(pk=level.pk).update(on_hand=level.on_hand + 1)

    def in_a_thread(first: str, second: str) -> None:
        try:
            both(first, second)
        finally:
            connection.close()

    with ThreadPoolExecutor(2) as pool:
        done = [pool.submit(in_a_thread, "A", "B"), pool.submit(in_a_thread, "B", "A")]
        for one in done:
            one.result()

    assert len(tries) == 3
    assert list(StockLevel.objects.order_by("sku").values_list("on_hand", flat=True)) == [2, 2]


# --- the commit whose answer was lost ---------------------------------------------------------------------------------------


class CutAfterCommit:
    """A man in the middle of a unix socket: once armed, the next COMMIT reaches the server and its answer reaches nobody."""

    def __init__(self, folder: Path, server: str) -> None:
        self.armed = threading.Event()
        self._server = server
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(folder / ".s.PGSQL.5432"))
        self._listener.listen()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.socket(socket.AF_UNIX)
            server.connect(self._server)
            cut = threading.Event()
            threading.Thread(target=self._pass_on, args=(client, server, cut, True), daemon=True).start()
            threading.Thread(target=self._pass_on, args=(server, client, cut, False), daemon=True).start()

    def _pass_on(self, source: socket.socket, target: socket.socket, cut: threading.Event, asks: bool) -> None:
        try:
            while data := source.recv(65536):
                if asks and self.armed.is_set() and (b"COMMIT" in data or b"'succeeded'" in data):
                    self.armed.clear()
                    cut.set()
                if not asks and cut.is_set():
                    break
                target.sendall(data)
        except OSError:
            pass
        for end in (source, target):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue

    def close(self) -> None:
        self._listener.close()


@pytest.fixture
def cutting(tmp_path_factory: pytest.TempPathFactory, transactional_db: None) -> Iterator[CutAfterCommit]:
    """Our connection goes through the man in the middle."""
    folder = tmp_path_factory.mktemp("s")
    options: dict[str, Any] = connection.settings_dict["OPTIONS"]
    key, holder = ("host", options) if "host" in options else ("HOST", connection.settings_dict)
    real = str(holder[key])
    proxy = CutAfterCommit(folder, f"{real}/.s.PGSQL.5432")
    connection.close()
    holder[key] = str(folder)
    yield proxy
    connection.close()
    holder[key] = real
    proxy.close()


def test_a_commit_whose_answer_was_lost_is_in_doubt_and_read_from_the_journal(cutting: CutAfterCommit, order: Order) -> None:
    """The line broke between COMMIT and its answer: the task fails, and whoever comes next reads what really happened."""
    saga = engine.open_saga(order).saga
    claim = engine.start(saga, 1, "payment", compensating=False)
    assert claim is not None

    cutting.armed.set()
    with pytest.raises(OperationalError):
        engine.record_success(claim, {"charge_id": "ch_1", "amount_minor": 100})
    connection.close()

    assert StepRecord.objects.get(saga=saga, name="payment").state == "succeeded", "it had been committed"
    follow = engine.chain_stopped(saga, 1)
    assert follow is not None
    assert follow.steps == ("inventory", "shipping")
    assert not engine.record_success(claim, {"charge_id": "ch_1", "amount_minor": 100}).mine, "a second outcome writes nothing"


# --- plans in flight ---------------------------------------------------------------------------------------------------------


class Charging(Payment):
    name = "charging"


class RenamedPayment(Charging):
    formerly = ("payment",)


class NextPayment(Payment):
    version = 2


class CompatiblePayment(NextPayment):
    also_serves = (1,)


def now_runs(monkeypatch: pytest.MonkeyPatch, first: type[Payment] | None) -> None:
    monkeypatch.setattr(steps, "STEPS", (*([first()] if first else []), *steps.STEPS[1:]))


@pytest.mark.parametrize(("first", "lacking"), [(None, ("payment", 1)), (Charging, ("payment", 1)), (NextPayment, ("payment", 1))])
def test_a_deploy_that_lacks_a_step_of_open_sagas_is_refused_by_number(
    saga: int, monkeypatch: pytest.MonkeyPatch, first: type[Payment] | None, lacking: tuple[str, int]
) -> None:
    """Removed, renamed or re-versioned: orders under way would be stranded."""
    now_runs(monkeypatch, first)

    (error,) = checks.open_sagas_are_served(None, databases=["default"])

    assert error.msg == f"1 open order needs step {lacking[0]!r} (version {lacking[1]}), which this code lacks: ORD-1."
    with pytest.raises(CommandError, match=r"Refused to migrate\. 1 open order needs step 'payment'"):
        call_command("migrate", verbosity=0)
    for left_since in (None, "2020-01-01T00:00Z"):
        Saga.objects.filter(pk=saga).update(left_since=left_since)
        now_due(saga)
        assert recovery.inspect_saga(saga) is None
    assert Saga.objects.get(pk=saga).state == "needs_attention", "whoever deploys it all the same strands nobody"


@pytest.mark.parametrize("first", [RenamedPayment, CompatiblePayment])
def test_a_step_that_names_its_past_serves_plans_in_flight(saga: int, monkeypatch: pytest.MonkeyPatch, first: type[Payment]) -> None:
    now_runs(monkeypatch, first)

    assert plans.stranded() == {}
    now_due(saga)
    launch = recovery.inspect_saga(saga)
    assert launch is not None
    assert launch.steps == ("payment", "inventory", "shipping")


def test_a_step_that_was_added_does_not_concern_plans_in_flight(saga: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steps, "STEPS", (*steps.STEPS, Charging()))

    assert plans.stranded() == {}
    now_due(saga)
    launch = recovery.inspect_saga(saga)
    assert launch is not None
    assert launch.steps == ("payment", "inventory", "shipping")


# --- a row that somebody holds ----------------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_a_row_that_somebody_holds_never_stops_the_sweep(saga: int, order: Order) -> None:
    """Somebody works on one order in a console: the sweep leaves it for later, and is back within a second."""
    StepRecord.objects.filter(saga=saga, name="payment").update(state="in_doubt", tries=1)
    now_due(saga)
    held, may_go = threading.Event(), threading.Event()

    def hold() -> None:
        try:
            with transaction.atomic():
                Order.objects.select_for_update().get(pk=order.pk)
                held.set()
                may_go.wait(10)
        finally:
            connection.close()

    holder = threading.Thread(target=hold)
    holder.start()
    held.wait(5)
    began = time.monotonic()
    meanwhile = [launch for found in recovery.due() for launch in found]
    took_s = time.monotonic() - began
    may_go.set()
    holder.join()

    assert (meanwhile, took_s < 3) == ([], True)
    assert [launch.order for found in recovery.due() for launch in found] == [order.number]
