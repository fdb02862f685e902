"""Promise: of many processes that do the same work one at a time does it, and none keeps its turn by standing still."""

import time

import psycopg
import pytest
from django.db import connection

from orders.turns import LEASE_S, Turn, TurnRow, holder_of


def passes(seconds: float) -> None:
    """As if that much time had passed since the last sign of life."""
    with connection.cursor() as cursor:
        cursor.execute("UPDATE orders_turnrow SET until = until - %s * interval '1 second'", [seconds])


@pytest.mark.django_db
def test_one_at_a_time_has_the_turn() -> None:
    first, second, elsewhere = Turn("sweep", 1), Turn("sweep", 1), Turn("relay", 1)

    assert first.take()
    assert not second.take()
    assert elsewhere.take()
    assert first.take()
    assert first.keep()
    assert not second.keep()


@pytest.mark.django_db
def test_whoever_stops_on_purpose_lets_the_next_one_begin_at_once() -> None:
    first, second = Turn("sweep", 1), Turn("sweep", 1)
    assert first.take()

    first.give_back()

    assert holder_of("sweep") == ""
    assert second.take()
    assert not first.take()


@pytest.mark.django_db
def test_a_holder_that_stands_still_loses_its_turn_and_notices_when_it_wakes_up() -> None:
    """Woken up, it is told before its next piece of work, and takes nothing back."""
    frozen, spare = Turn("sweep", 1), Turn("sweep", 1)
    assert frozen.take()
    passes(LEASE_S / 2)
    assert not spare.take()

    passes(LEASE_S)

    assert spare.take()
    assert not frozen.keep()
    assert not frozen.take()
    frozen.give_back()
    assert spare.keep()


@pytest.mark.django_db
def test_a_holder_at_work_keeps_its_turn_for_as_long_as_it_works() -> None:
    """A long round renews the lease by itself."""
    holder, spare = Turn("sweep", 1, lease_s=0.2), Turn("sweep", 1, lease_s=0.2)
    assert holder.take()
    until = TurnRow.objects.get(pk="sweep").until

    passes(0.15)
    time.sleep(0.06)
    assert holder.keep()

    assert TurnRow.objects.get(pk="sweep").until >= until
    assert not spare.take()


@pytest.mark.django_db
def test_a_newer_release_takes_the_turn_at_once_and_an_older_one_waits() -> None:
    old, new = Turn("sweep", 1), Turn("sweep", 2)
    assert old.take()

    assert new.take()

    assert not old.keep()
    assert not old.take()
    passes(2 * LEASE_S)
    assert old.take()


@pytest.mark.django_db
def test_a_clock_that_was_set_back_locks_nobody_out() -> None:
    """The lease of a holder that died before the jump would otherwise last until the clock has caught up."""
    dead, next_one = Turn("sweep", 1), Turn("sweep", 1)
    assert dead.take()

    passes(-3600)

    assert next_one.take()


@pytest.mark.django_db(transaction=True)
def test_a_row_that_somebody_has_locked_stops_nobody() -> None:
    """A forgotten session in a console holds the turn's row: the work goes on without a turn, and takes turns again afterwards."""
    holder, spare = Turn("sweep", 1), Turn("sweep", 1)
    assert holder.take()
    at = {name: value for name, value in connection.get_connection_params().items() if name in ("host", "port", "user", "dbname")}
    with psycopg.connect(**at) as idle:
        idle.execute("SELECT FROM orders_turnrow FOR UPDATE")
        assert not spare.take()
        assert holder.keep()
        idle.rollback()
        passes(2 * LEASE_S)
        idle.execute("SELECT FROM orders_turnrow FOR UPDATE")
        begun = time.monotonic()

        assert spare.take()
        assert spare.keep()

        assert time.monotonic() - begun < 2
    assert holder.take()
    assert not spare.take()
    assert not spare.keep()
