"""PostgreSQL is stopped without a shutdown, again and again, while orders flow; and then in the middle of the sweep's work."""

import os
import signal
import time

from tests.proofs.black_box.waiting import wait_for
from tests.proofs.storms.clients import Clients
from tests.proofs.storms.postgresql import stop_postgres
from tests.proofs.storms.scenario import Scenario
from tests.proofs.storms.spec import FULL, SMALL
from tests.proofs.storms.storm import Storm

IN_THE_SWEEP = "sweep.any.any.any"
LATER_S = 60.0
OPEN_TRANSACTIONS = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state = 'idle in transaction'"


def happens(storm: Storm) -> None:
    orders, stops = storm.how_many["orders"], 0
    with storm.orders_flowing(orders, storm.how_many["per_s"]) as clients:
        while not clients.are_done:
            _while_orders_flow(storm, clients, storm.rng.uniform(storm.how_many["from_s"], storm.how_many["to_s"]))
            stop_postgres(storm, storm.rng.uniform(0, 5))
            stops += 1
    in_sweep = sum(_stop_in_the_sweep(storm) for _ in range(storm.how_many["in_the_sweep"]))
    storm.fault_ended()
    last = time.monotonic()
    storm.rest(LATER_S)
    storm.counts |= {"stops": stops, "more in the sweep": in_sweep, "at rest after (s)": round(time.monotonic() - last)}
    storm.counts["fulfilled"] = storm.all_are_fulfilled()
    storm.expect(stops >= storm.how_many["stops"], f"only {stops} stops")
    storm.expect(in_sweep == storm.how_many["in_the_sweep"], f"only {in_sweep} stops met the sweep at its work")


def _while_orders_flow(storm: Storm, clients: Clients, seconds: float) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until and not clients.are_done:
        storm.show("orders flow, the database does not", len(clients.answered), clients.count)
        time.sleep(0.2)


def _stop_in_the_sweep(storm: Storm) -> bool:
    """The database stops while the sweep has a saga open. An order whose bank is down makes sure that it has something to do: only the sweep tries again."""
    shop = storm.shop
    wait_for(lambda: _answers(storm), 30)
    with shop.provider_down("charges"):
        storm.numbers.append(shop.place_stubbornly(60))
        shop.arm(IN_THE_SWEEP, "stop")
        try:
            stopped, _ = wait_for(lambda: shop.hit(IN_THE_SWEEP), 60, every_s=0.05) or (0, "")
            is_open = bool(shop.sql(OPEN_TRANSACTIONS)[0][0])
            stop_postgres(storm, storm.rng.uniform(0, 1), lambda: os.kill(stopped, signal.SIGCONT))
        finally:
            shop.disarm()
    return is_open


def _answers(storm: Storm) -> bool:
    return bool(storm.shop.http.get(storm.stack.info["web"] + "/healthz").status_code == 200)


SCENARIO = Scenario(
    name="database",
    promise="PostgreSQL is stopped at once every few seconds while orders flow, and in the middle of the sweep: no order is lost, none stranded.",
    happens=happens,
    sizes={
        SMALL: {"orders": 60, "per_s": 6, "from_s": 2, "to_s": 4, "stops": 2, "in_the_sweep": 1},
        FULL: {"orders": 2000, "per_s": 10, "from_s": 5, "to_s": 20, "stops": 8, "in_the_sweep": 20},
    },
    minutes={SMALL: 0.9, FULL: 6.5},
)
