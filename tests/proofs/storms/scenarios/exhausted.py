"""Somebody else takes every connection that the database has, and the shop's own are cut."""

import time
import uuid
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack, suppress

import httpx
import psycopg

from tests.proofs.black_box.orders import body
from tests.proofs.black_box.waiting import wait_for
from tests.proofs.storms.clients import ANSWERED_WITHIN_S, timed
from tests.proofs.storms.diagnostics import operator
from tests.proofs.storms.scenario import Scenario
from tests.proofs.storms.spec import FULL, SMALL
from tests.proofs.storms.storm import Storm

SLOW = "tok_slow_8s"  # at the bank for 0.8 s at this scale: what it answers finds no connection
CUT = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name LIKE 'shop-%'"
OF_THE_SHOP = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'shop-%%'"


def happens(storm: Storm) -> None:
    hold_s = storm.how_many["hold_s"]
    browser = operator(storm.stack)
    before = storm.place(storm.how_many["before"], token=SLOW)
    storm.diagnostics.look_up(before[0])
    answers: Counter[int] = Counter()
    slowest_s = 0.0
    with _Taker(storm.stack.info["database"]) as taker:
        storm.diagnostics.take("every connection is taken", before[0])
        until = time.monotonic() + hold_s
        while (left := until - time.monotonic()) > 0:
            storm.show("every connection is taken", round(hold_s - left), hold_s)
            taker.take()
            for call in _calls(storm, browser, before[0]):
                answer, seconds = timed(call)
                slowest_s = max(slowest_s, seconds)
                answers[answer.status_code] += 1
                if answer.status_code == 503:
                    storm.expect(answer.headers.get("Retry-After", "") != "", "a 503 without Retry-After")
        taken, cut = taker.taken, taker.cut
    storm.fault_ended()
    began = time.monotonic()
    storm.place(storm.how_many["after"])
    storm.rest(90)
    storm.counts |= {
        "connections taken": taken,
        "of ours cut": cut,
        "answered 503": answers[503],
        "slowest answer (s)": round(slowest_s, 1),
    }
    storm.counts["at rest after (s)"] = round(time.monotonic() - began)
    refused = {code: count for code, count in answers.items() if code not in (200, 201, 503)}
    storm.expect(not refused, f"answered with {refused}")
    storm.expect(answers[503] >= 2 * hold_s, f"only {answers[503]} requests met a database without connections")
    storm.expect(slowest_s < storm.within(ANSWERED_WITHIN_S), f"the slowest answer took {slowest_s:.1f} s")
    storm.expect(cut > 0, "the shop had no connection that could be cut")
    storm.all_are_fulfilled()
    wait_for(lambda: storm.shop.sql(OF_THE_SHOP)[0][0] > 0, 10)


def _calls(storm: Storm, browser: httpx.Client, number: str) -> list[Callable[[], httpx.Response]]:
    """Placing, reading, an operator's page."""
    return [lambda: _place(storm), lambda: storm.shop.http.get(f"/orders/{number}"), lambda: browser.get("/admin/orders/order/")]


def _place(storm: Storm) -> httpx.Response:
    """What is taken after all is an order of the storm's."""
    answer = storm.shop.post(body(), uuid.uuid4().hex)
    if answer.status_code == 201:
        storm.numbers.append(str(answer.json()["number"]))
    return answer


class _Taker:
    """Keeps every connection of the server until the block ends. What the shop opens in between is cut."""

    def __init__(self, database: str) -> None:
        self._database = database
        self._held = ExitStack()
        self._first = self._held.enter_context(psycopg.connect(database, autocommit=True))
        self.taken, self.cut = 1, 0

    def __enter__(self) -> "_Taker":
        self.take()
        return self

    def __exit__(self, *_: object) -> None:
        self._held.close()

    def take(self) -> None:
        row = self._first.execute(CUT).fetchone()
        self.cut += int(row[0]) if row else 0
        with suppress(psycopg.OperationalError):  # no connection is left: that is what was wanted
            while True:
                self._held.enter_context(psycopg.connect(self._database, autocommit=True))
                self.taken += 1


SCENARIO = Scenario(
    name="exhausted",
    promise="Every connection of the database is taken for a minute: clients are asked to come again, and nobody is turned back.",
    happens=happens,
    sizes={SMALL: {"before": 6, "after": 4, "hold_s": 6}, FULL: {"before": 60, "after": 40, "hold_s": 60}},
    minutes={SMALL: 0.6, FULL: 1.8},
)
