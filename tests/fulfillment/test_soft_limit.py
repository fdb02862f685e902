"""Promise: a task that is late gives up its call to a provider, and never half of a transaction."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection

from fulfillment import tasks
from fulfillment.models import StepRecord, StepState
from fulfillment.steps.payment import Payment
from orders import soft_limit
from orders.connections import start_clean
from orders.models import Order
from orders.soft_limit import SoftTimeLimitExceeded, interruptible
from tests.fulfillment.driving import paid

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("task_begins")]

SLOW_COMMIT = """
CREATE OR REPLACE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(0.6); RETURN NULL; END $$;
CREATE CONSTRAINT TRIGGER slow AFTER INSERT ON {table} DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION slow();
"""


def late_after(seconds: float) -> None:
    """Celery's main process sends the soft limit."""
    threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGUSR1)).start()


def run(step: str, saga: int) -> str:
    return str(tasks.TASKS[f"fulfillment.{step}"](saga=saga, epoch=1, order="ORD-1"))


def state_of(saga: int, step: str) -> str:
    return StepRecord.objects.get(saga=saga, name=step).state


@pytest.fixture
def slow_commits(request: pytest.FixtureRequest) -> Iterator[None]:
    """Whoever has inserted into this table waits in its COMMIT."""
    with connection.cursor() as cursor:
        cursor.execute(SLOW_COMMIT.format(table=request.param))
    yield
    with connection.cursor() as cursor:
        cursor.execute("DROP FUNCTION slow CASCADE")


@pytest.mark.parametrize("slow_commits", ["fulfillment_reservation"], indirect=True)
def test_a_soft_limit_in_the_commit_of_a_local_step_changes_nothing(slow_commits: None, saga: int, order: Order) -> None:
    """The stock of my order is reserved although the database was slow, and the process that did it works on."""
    paid(saga)
    late_after(0.3)

    result = run("inventory", saga)

    assert result == "ORD-1: inventory done"
    assert state_of(saga, "inventory") == StepState.SUCCEEDED
    assert not connection.in_atomic_block


@pytest.mark.parametrize("slow_commits", ["orders_history"], indirect=True)
def test_a_soft_limit_in_a_start_reaches_the_call_and_not_the_transaction(slow_commits: None, saga: int, order: Order) -> None:
    """The call is given up before it is made: the time of its task is over."""
    late_after(0.3)

    result = run("payment", saga)

    assert "The time limit ended the provider call" in result
    assert state_of(saga, "payment") == StepState.IN_DOUBT


def test_a_soft_limit_ends_a_call_that_hangs(saga: int, order: Order, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Payment, "execute", lambda *_: time.sleep(20))
    late_after(0.3)
    begun = time.monotonic()

    result = run("payment", saga)

    assert "The time limit ended the provider call" in result
    assert state_of(saga, "payment") == StepState.IN_DOUBT
    assert time.monotonic() - begun < 5


def test_a_call_that_was_interrupted_while_it_read_the_database_leaves_a_clean_connection(
    saga: int, order: Order, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A step should not, and somebody's will."""

    def reads(*_: Any) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_sleep(2)")

    monkeypatch.setattr(Payment, "execute", reads)
    late_after(0.3)

    result = run("payment", saga)

    assert "The time limit ended the provider call" in result
    assert state_of(saga, "payment") == StepState.IN_DOUBT


def test_a_soft_limit_strikes_once_and_only_its_own_task() -> None:
    os.kill(os.getpid(), signal.SIGUSR1)
    with pytest.raises(SoftTimeLimitExceeded), interruptible():
        pytest.fail("the call was made although its time was over")
    with interruptible():
        pass
    os.kill(os.getpid(), signal.SIGUSR1)

    soft_limit.begin_task()

    with interruptible():
        start_clean()
