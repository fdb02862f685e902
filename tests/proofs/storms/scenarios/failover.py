"""The database fails over: every session ends, new ones are read-only, and stay so when the server is writable again."""

import time
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import httpx
import psycopg

from tests.proofs.black_box.orders import body
from tests.proofs.black_box.waiting import NothingCame, wait_for
from tests.proofs.storms.clients import Clients
from tests.proofs.storms.scenario import Scenario
from tests.proofs.storms.spec import FULL, SMALL
from tests.proofs.storms.storm import Storm

SHORTEST_S, LONGEST_S = 3.0, 8.0
FLOWS_WITHIN_S = 15.0
LATER_S = 60.0
NO_ORDERS_TAKEN, BROKEN = 503, 500
END_SESSIONS = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"


def happens(storm: Storm) -> None:
    answers: Counter[int] = Counter()
    orders, failovers, slowest = storm.how_many["orders"], 0, 0.0
    storm.diagnostics.look_up(storm.place(1)[0])  # logs in
    with Clients([lambda: _place(storm, answers)] * orders, storm.how_many["per_s"]) as clients:
        while not clients.are_done:
            storm.let_flow(clients, "orders flow, the database fails over", storm.rng.uniform(2, storm.how_many["to_s"]))
            with _read_only(storm):
                if not failovers:
                    storm.diagnostics.take("sessions are read-only")
                storm.let_flow(clients, "orders flow, the database fails over", storm.rng.uniform(SHORTEST_S, LONGEST_S))
            slowest = max(slowest, _until_orders_flow(storm, answers))
            failovers += 1
        storm.numbers += clients.finish(lambda done: storm.show("placing what is left", done, orders))
    storm.fault_ended()
    storm.rest(LATER_S)
    storm.counts |= {
        "failovers": failovers,
        "refused with 503": answers[NO_ORDERS_TAKEN],
        "answered 500": answers[BROKEN],
        "flows again after at most (s)": round(slowest, 1),
    }
    storm.counts["fulfilled"] = storm.all_are_fulfilled()
    storm.expect(set(answers) <= {201, NO_ORDERS_TAKEN}, f"clients were answered {dict(answers)}")
    storm.expect(failovers >= storm.how_many["failovers"], f"only {failovers} failovers")


def _place(storm: Storm, answers: Counter[int]) -> str:
    """As a client that repeats its request until it is taken, and remembers what it was answered."""
    key = uuid.uuid4().hex

    def taken() -> str:
        with suppress(httpx.TransportError):
            answer = storm.shop.post(body(), key)
            answers[answer.status_code] += 1
            return str(answer.json()["number"]) if answer.status_code == httpx.codes.CREATED else ""
        return ""

    return wait_for(taken, 60, every_s=0.3)


@contextmanager
def _read_only(storm: Storm) -> Iterator[None]:
    """Sessions that are opened meanwhile are read-only until they end; those from before end now."""
    _as_owner(storm, "ALTER ROLE CURRENT_USER SET default_transaction_read_only = on")
    try:
        _as_owner(storm, END_SESSIONS)
        yield
    finally:
        _as_owner(storm, "ALTER ROLE CURRENT_USER RESET default_transaction_read_only")


def _as_owner(storm: Storm, command: str) -> None:
    writable = "-c default_transaction_read_only=off"
    with psycopg.connect(storm.stack.info["database"], autocommit=True, options=writable) as connection:
        connection.execute(command)


def _until_orders_flow(storm: Storm, answers: Counter[int]) -> float:
    """Seconds until an order placed now is fulfilled; a breach, if they are too many."""
    begun = time.monotonic()
    number = _place(storm, answers)
    storm.numbers.append(number)
    with suppress(NothingCame):
        wait_for(lambda: storm.shop.sql("SELECT 1 FROM orders_order WHERE number = %s AND status = 'fulfilled'", number), LATER_S)
    took_s = time.monotonic() - begun
    storm.expect(took_s <= storm.within(FLOWS_WITHIN_S), f"orders flowed {took_s:.1f} s after the database was writable")
    return took_s


SCENARIO = Scenario(
    name="failover",
    promise="All sessions end, and new ones are read-only for seconds: clients hear 503, and orders flow within 15 s of the database being writable.",
    happens=happens,
    sizes={
        SMALL: {"orders": 40, "per_s": 3, "to_s": 3, "failovers": 2},
        FULL: {"orders": 800, "per_s": 5, "to_s": 6, "failovers": 10},
    },
    minutes={SMALL: 0.9, FULL: 4.8},
)
