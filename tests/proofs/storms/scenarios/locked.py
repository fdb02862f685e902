"""Somebody holds rows and tables that the shop needs: a worker that stands still in its transaction, and an idle psql."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psutil
import psycopg

from tests.proofs.black_box.processes import standing_still
from tests.proofs.black_box.waiting import wait_for
from tests.proofs.storms.clients import ANSWERED_WITHIN_S, timed
from tests.proofs.storms.scenario import Scenario
from tests.proofs.storms.sessions import Sessions
from tests.proofs.storms.spare_worker import spare_worker
from tests.proofs.storms.spec import FULL, SMALL
from tests.proofs.storms.storm import Storm

HOT, OTHER = "TENT-2P-GRN", "MUG-ENAMEL"
POINT = "before_outcome_commit.do.inventory.any"
SLOW = "tok_slow_8s"  # at the bank for 0.8 s at this scale: time enough to take its saga's row meanwhile
GO_ON_WITHIN_S = 20.0  # on a busy machine; each wait for a lock that is held is half a second at most
SPARE_PROCESSES = 2
# Web 8 and its probes, two saga workers, side effects, sweep, relay, commands: as doctor counts, and no more however long it lasts.
MAY_BE_OPENED = 40
STOCK = "SELECT 1 FROM fulfillment_stocklevel WHERE sku = %s FOR UPDATE"
SAGAS = "SELECT 1 FROM fulfillment_saga s JOIN orders_order o ON o.id = s.order_id WHERE o.number = ANY(%s) FOR UPDATE OF s"
ORDERS = "SELECT 1 FROM orders_order WHERE number = ANY(%s) FOR UPDATE"
DELIVERIES = "LOCK TABLE sideeffects_delivery IN ACCESS EXCLUSIVE MODE"
PUT_OFF = "SELECT count(*) FROM orders_timelineentry WHERE code = 'own_database' AND kind = 'step'"


def happens(storm: Storm) -> None:
    place, hold_s = storm.how_many["orders"], storm.how_many["hold_s"]
    storm.diagnostics.look_up(storm.place(SPARE_PROCESSES)[0])
    with spare_worker(storm, SPARE_PROCESSES) as spare, Sessions(storm.stack.info["database"]) as sessions:
        spare.be_ready()
        _frozen_with_a_stock_row(storm, place)
        _stock_row(storm, place, hold_s)
        _rows_of_orders(storm, place, hold_s)
        _table_of_the_side_effects(storm, place, hold_s)
        storm.fault_ended()
        storm.rest(90)
        wait_for(lambda: sessions.now()[1] == 0, 10)
    storm.counts |= {"put off": storm.shop.sql(PUT_OFF)[0][0], "sessions at most": sessions.most, "waiting at most": sessions.most_waiting}
    storm.expect(sessions.most <= MAY_BE_OPENED, f"the shop had {sessions.most} sessions")
    refunds = [effect["order"] for effect in storm.shop.effects() if effect["operation"] not in ("charge", "label")]
    cancelled = storm.statuses(storm.numbers).get("cancelled", 0)
    ended = storm.statuses(storm.numbers)
    storm.expect(ended == {"fulfilled": len(storm.numbers) - cancelled, "cancelled": cancelled}, f"ended as {ended}")
    storm.expect(cancelled == storm.counts["cancelled"], f"{cancelled} orders are cancelled, {storm.counts['cancelled']} were answered so")
    storm.expect(len(set(refunds)) <= cancelled, f"{len(set(refunds))} orders were given something back, {cancelled} were cancelled")


# --- who holds what --------------------------------------------------------------------------------------------------------


def _frozen_with_a_stock_row(storm: Storm, place: int) -> None:
    """A worker stands still whole, in the transaction in which it reserves: its server ends that, and the product is sold on."""
    storm.show("a frozen worker holds a stock row", 0, 1)
    shop = storm.shop
    shop.arm(POINT, "stop")
    storm.numbers += shop.place_many(1, sku=HOT)
    pid, _ = wait_for(lambda: shop.hit(POINT), 30, every_s=0.05) or (0, "")
    main = psutil.Process(pid).parent()
    assert main is not None
    with standing_still([main.pid, *(child.pid for child in main.children())]):
        _go_on(storm, "orders of the same and of other products", _placed(storm, place, HOT) + _placed(storm, place, OTHER))
    os.kill(pid, signal.SIGCONT)


def _stock_row(storm: Storm, place: int, hold_s: int) -> None:
    """An idle psql holds the row for longer than any patience: other products go on, and a cancel is honoured."""
    with _held(storm, "a stock row", hold_s, STOCK, HOT):
        hot, others = _placed(storm, place, HOT), _placed(storm, place, OTHER)
        _go_on(storm, "orders of other products", others)
        storm.until("reaching the held row", lambda: _standing_at(storm, hot, "inventory"), place, GO_ON_WITHIN_S)
        storm.diagnostics.take("a stock row is held", hot[1])
        _cancel(storm, hot[0], may_wait=False)
        _go_on(storm, "the cancelled one", hot[:1])


def _rows_of_orders(storm: Storm, place: int, hold_s: int) -> None:
    """What the bank has answered cannot be written: nothing is lost, and whoever cancels while the saga is held comes again."""
    for what, query in (("the rows of sagas", SAGAS), ("the rows of orders", ORDERS)):
        held = _placed(storm, place, HOT, token=SLOW)
        with _held(storm, what, hold_s, query, held):
            _go_on(storm, "other orders", _placed(storm, place, OTHER))
            storm.diagnostics.take(f"{what} are held", held[1])
            _cancel(storm, held[0], may_wait=True)


def _table_of_the_side_effects(storm: Storm, place: int, hold_s: int) -> None:
    with _held(storm, "a table of the side effects", hold_s, DELIVERIES):
        placed = _placed(storm, place, HOT)
        storm.diagnostics.take("a table of the side effects is held", placed[0])
        _go_on(storm, "all orders", placed)


@contextmanager
def _held(storm: Storm, what: str, hold_s: int, statement: str, *values: object) -> Iterator[None]:
    """By an idle psql, for ``hold_s`` seconds at least."""
    until = time.monotonic() + hold_s
    with psycopg.connect(storm.stack.info["database"]) as holder:
        holder.execute("SET application_name = 'psql'")
        holder.execute(statement, values)
        yield
        while time.monotonic() < until:
            storm.show(f"an idle psql holds {what}", round(hold_s - (until - time.monotonic())), hold_s)
            time.sleep(0.2)


# --- what goes on meanwhile ------------------------------------------------------------------------------------------------


def _placed(storm: Storm, count: int, sku: str, **changes: str) -> list[str]:
    placed = storm.shop.place_many(count, sku=sku, **changes)
    storm.numbers += placed
    return placed


def _go_on(storm: Storm, what: str, numbers: list[str]) -> None:
    """They come to rest although it is held."""
    begun = time.monotonic()
    storm.until(f"{what} go on meanwhile", lambda: storm.at_rest(numbers), len(numbers), GO_ON_WITHIN_S, every_s=0.1)
    slowest = storm.counts.get("others went on after (s)", 0.0)
    storm.counts["others went on after (s)"] = max(slowest, round(time.monotonic() - begun, 1))


def _standing_at(storm: Storm, numbers: list[str], step: str) -> int:
    query = (
        "SELECT count(*) FROM fulfillment_steprecord r JOIN fulfillment_saga s ON s.id = r.saga_id JOIN orders_order o ON o.id = s.order_id"
        " WHERE o.number = ANY(%s) AND r.name = %s AND r.state = 'scheduled'"
    )
    return int(storm.shop.sql(query, numbers, step)[0][0])


def _cancel(storm: Storm, number: str, may_wait: bool) -> None:
    answer, seconds = timed(lambda: storm.shop.cancel(number))
    storm.counts["slowest cancel (s)"] = max(storm.counts.get("slowest cancel (s)", 0.0), round(seconds, 1))
    storm.counts.setdefault("cancelled", 0)
    storm.counts.setdefault("asked to come again", 0)
    storm.expect(seconds < storm.within(ANSWERED_WITHIN_S), f"a cancel was answered after {seconds:.1f} s")
    if answer.status_code == 202:
        storm.counts["cancelled"] += 1
    elif may_wait and answer.status_code == 503:
        storm.counts["asked to come again"] += 1
        storm.expect(answer.headers.get("Retry-After", "") != "", "a 503 without Retry-After")
    else:
        storm.expect(False, f"a cancel was answered {answer.status_code}: {answer.text[:200]}")


SCENARIO = Scenario(
    name="locked",
    promise="A frozen worker and an idle psql hold rows and tables: whoever does not need them goes on, and nobody is turned back.",
    happens=happens,
    sizes={SMALL: {"orders": 5, "hold_s": 4}, FULL: {"orders": 20, "hold_s": 40}},
    minutes={SMALL: 1.0, FULL: 3.2},
)
