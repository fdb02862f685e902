"""Promise: whatever interrupts the work with the database, the process works on; whatever cannot write is not kept."""

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import psycopg
import pytest
from django.contrib.auth.models import User
from django.db import OperationalError, connection, connections, transaction
from psycopg.pq import TransactionStatus

from orders.connections import start_clean
from orders.database import is_our_trouble, sqlstate
from orders.postgresql import base

SLOW_COMMIT = """
CREATE OR REPLACE FUNCTION pg_temp.slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(1); RETURN NULL; END $$;
CREATE TEMP TABLE slow (n int);
CREATE CONSTRAINT TRIGGER slow AFTER INSERT ON slow DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION pg_temp.slow();
"""


class Interrupted(BaseException):
    """As SystemExit, with which a hard limit and a shutdown end a process."""


def raise_it(number: int, frame: FrameType | None) -> None:
    raise Interrupted


@contextmanager
def interrupted_after(seconds: float) -> Iterator[None]:
    before = signal.signal(signal.SIGALRM, raise_it)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        with pytest.raises(Interrupted):
            yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def run(statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement)


def works() -> bool:
    """A whole transaction, as the next task would make one."""
    with transaction.atomic(durable=True):
        return User.objects.filter(pk=0).count() == 0


@pytest.mark.django_db(transaction=True)
def test_what_is_interrupted_in_its_commit_leaves_a_process_that_works() -> None:
    """A process is told to end, or runs out of time, while a COMMIT hangs: what comes after it works."""
    run(SLOW_COMMIT)
    lines: list[str] = []

    with interrupted_after(0.3), transaction.atomic():
        run("INSERT INTO slow VALUES (1)")
        transaction.on_commit(lambda: lines.append("published"))

    assert works()
    assert lines == []


@pytest.mark.django_db(transaction=True)
def test_what_is_interrupted_just_before_its_commit_is_sent_is_rolled_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """A signal may arrive between any two lines of Python, the driver's too."""

    def interrupted(_: object) -> None:
        raise Interrupted

    with pytest.raises(Interrupted), transaction.atomic():
        User.objects.create(username="rolled back")
        monkeypatch.setattr("psycopg.Connection.commit", interrupted)
    monkeypatch.undo()

    assert works()
    assert not User.objects.filter(username="rolled back").exists()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("inner", [False, True])
def test_what_is_interrupted_in_a_statement_leaves_a_process_that_works(inner: bool) -> None:
    with interrupted_after(0.3), transaction.atomic():
        if inner:
            with transaction.atomic():
                run("SELECT pg_sleep(1)")
        run("SELECT pg_sleep(1)")

    assert works()


@pytest.mark.django_db(transaction=True)
def test_what_is_interrupted_outside_of_a_transaction_leaves_a_process_that_works() -> None:
    with interrupted_after(0.3):
        run("SELECT pg_sleep(1)")

    assert works()


@pytest.mark.django_db(transaction=True)
def test_a_connection_whose_server_has_gone_in_the_commit_is_not_asked_again() -> None:
    """The error that is raised is the one of the COMMIT, and the next transaction opens a connection of its own."""
    run(SLOW_COMMIT)
    pid = connection.connection.info.backend_pid

    def terminate() -> None:
        try:
            run(f"SELECT pg_terminate_backend({pid})")
        finally:
            connection.close()

    ending = threading.Timer(0.3, terminate)
    with pytest.raises(OperationalError, match="terminating connection"), transaction.atomic():
        run("INSERT INTO slow VALUES (1)")
        ending.start()
    ending.join()

    assert connection.connection is None
    assert works()


@pytest.mark.django_db(transaction=True)
def test_nothing_begins_inside_a_transaction_that_somebody_has_left_open() -> None:
    """However a process came to believe that it is inside a transaction: its next task begins outside of one, and holds no lock of the last one."""
    transaction.atomic().__enter__()
    run("SELECT pg_advisory_xact_lock(13)")
    transaction.on_commit(lambda: pytest.fail("published for a transaction that never was committed"))
    left = connections["default"]

    start_clean()

    assert connections["default"] is not left
    assert left.connection.closed
    assert works()


@pytest.mark.django_db(transaction=True)
def test_a_clean_connection_is_kept() -> None:
    """A new one costs 7 ms."""
    assert works()
    pid = connection.connection.info.backend_pid

    start_clean()

    assert works()
    assert connection.connection.info.backend_pid == pid


@pytest.mark.django_db(transaction=True)
def test_a_session_that_cannot_write_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that was opened while the server was read-only stays so for ever, and answers every health check that only reads."""
    monkeypatch.setattr("orders.postgresql.base.BELIEVED_FOR_S", 0.0)
    connection.close()
    run("SET default_transaction_read_only = on")
    pid = connection.connection.info.backend_pid

    start_clean()

    User.objects.create(username="written")
    assert connection.connection.info.backend_pid != pid


@pytest.mark.django_db(transaction=True)
def test_what_a_session_has_said_is_believed_for_a_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker begins a hundred tasks a second: a round trip for each would say no more than one."""
    connection.close()
    assert works()
    asked: list[str] = []
    is_usable = base.DatabaseWrapper.is_usable

    def counted(wrapper: base.DatabaseWrapper) -> bool:
        asked.append(wrapper.alias)
        return is_usable(wrapper)

    monkeypatch.setattr(base.DatabaseWrapper, "is_usable", counted)

    for _ in range(3):
        start_clean()
        assert works()

    assert asked == ["default"]


@pytest.mark.django_db(transaction=True)
def test_a_session_that_the_server_has_ended_is_noticed_before_it_is_used() -> None:
    """However short ago it has answered."""
    for _ in range(2):
        start_clean()
        assert works()
    pid = connection.connection.info.backend_pid
    with psycopg.connect(**{**connection.get_connection_params(), "cursor_factory": psycopg.Cursor}) as other:
        other.execute(f"SELECT pg_terminate_backend({pid}, 5000)")

    start_clean()

    assert works()
    assert connection.connection.info.backend_pid != pid


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("in_atomic", [False, True])
def test_a_write_that_is_refused_as_read_only_ends_the_connection_at_once(in_atomic: bool) -> None:
    """Nobody waits for the next request: within one task, too, the second try has a chance."""
    run("SET default_transaction_read_only = on")

    with pytest.raises(Exception, match="read-only") as refused:
        if in_atomic:
            with transaction.atomic():
                User.objects.create(username="refused")
        else:
            User.objects.create(username="refused")

    assert sqlstate(refused.value) == "25006"
    assert connection.connection is None
    User.objects.create(username="written")


@pytest.mark.django_db(transaction=True)
def test_an_error_that_says_nothing_about_the_connection_leaves_it() -> None:
    pid = connection.connection.info.backend_pid if connection.connection else None
    with pytest.raises(Exception, match="division"), transaction.atomic():
        run("SELECT 1 / 0")

    assert works()
    assert connection.connection.info.transaction_status is TransactionStatus.IDLE
    assert pid in (None, connection.connection.info.backend_pid)


# --- a server that stands still ---------------------------------------------------------------------------------------------


@pytest.fixture
def silent_soon(settings: Any) -> Iterator[None]:
    """Whatever is not answered within 0.3 s is not waited for."""
    connection.close()
    settings.ANSWER_WITHIN_S = 0.3
    yield
    connection.close()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("statement", ["SELECT pg_sleep(3)", "INSERT INTO slow VALUES (1)"], ids=["a statement", "a COMMIT"])
def test_an_answer_that_does_not_come_is_not_waited_for(statement: str, silent_soon: None) -> None:
    """The server's own limits end nothing while it stands still; I am told to come again, and the process works on."""
    run(SLOW_COMMIT)
    begun = time.monotonic()

    with pytest.raises(OperationalError) as raised, transaction.atomic():
        run(statement)

    assert time.monotonic() - begun < 0.9
    assert is_our_trouble(raised.value)
    start_clean()
    assert works()


def test_while_a_server_is_silent_one_thread_at_a_time_asks_it() -> None:
    """The others are free for whoever asks whether this process lives."""
    server = base._Server()
    with pytest.raises(psycopg.errors.ConnectionTimeout), server.asking():
        raise psycopg.errors.ConnectionTimeout

    with server.asking(), pytest.raises(psycopg.OperationalError, match="another thread"), server.asking():
        raise AssertionError("two ask")

    with server.asking(), server.asking():
        pass


def test_a_server_that_refuses_is_not_silent() -> None:
    """It was restarted, or has no connection left: that is answered at once, and asked again at once."""
    server = base._Server()
    with pytest.raises(psycopg.OperationalError), server.asking():
        raise psycopg.OperationalError("connection refused")

    with server.asking(), server.asking():
        pass
