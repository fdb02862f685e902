"""Commits hang, again and again, for longer than a task may take: as where a synchronous standby does not answer, or a disk stands still."""

import os
import signal
import time
from contextlib import suppress

from tests.proofs.storms.scenario import Scenario
from tests.proofs.storms.spec import FULL, SMALL
from tests.proofs.storms.storm import Storm

SHORTEST_S, LONGEST_S = 1.0, 8.0
JUST_LATE_S = 2.25  # between a task's soft limit and its hard one, at the scale at which storms run: it is struck, and lives on
LATER_S = 60.0
IN_COMMIT = "SELECT pid FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
NOBODY = "a_standby_that_nobody_has_seen"


def happens(storm: Storm) -> None:
    stalls, hung = 0, 0
    storm.diagnostics.look_up(storm.place(1)[0])  # logs in
    with storm.orders_flowing(storm.how_many["orders"], storm.how_many["per_s"]) as clients:
        while not clients.are_done:
            storm.let_flow(clients, "orders flow, commits do not", storm.rng.uniform(0.5, storm.how_many["to_s"]))
            if stalls:
                seconds = storm.rng.choice((JUST_LATE_S, JUST_LATE_S, storm.rng.uniform(SHORTEST_S, LONGEST_S)))
            else:
                seconds = LONGEST_S
                storm.diagnostics.take("commits hang")
            hung += _commits_hang(storm, seconds)
            stalls += 1
    storm.fault_ended()
    last = time.monotonic()
    storm.rest(LATER_S)
    storm.counts |= {"stalls": stalls, "commits that hung": hung, "at rest after (s)": round(time.monotonic() - last)}
    storm.counts["fulfilled"] = storm.all_are_fulfilled()
    storm.expect(stalls >= storm.how_many["stalls"], f"only {stalls} stalls")


def _commits_hang(storm: Storm, seconds: float) -> int:
    """How many commits hung. Each waits for a standby that does not exist, and there its backend is stopped: so no limit of the server ends it, as none ends
    a disk that stands still.
    """
    frozen: set[int] = set()
    _wait_for_standby(storm, NOBODY)
    try:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            for pid in {pid for (pid,) in storm.shop.sql(IN_COMMIT)} - frozen:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGSTOP)
                    frozen.add(pid)
            time.sleep(0.05)
    finally:
        _wait_for_standby(storm, "")
        for pid in frozen:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
    return len(frozen)


def _wait_for_standby(storm: Storm, name: str) -> None:
    storm.shop.run(f"ALTER SYSTEM SET synchronous_standby_names = '{name}'")
    storm.shop.run("SELECT pg_reload_conf()")


SCENARIO = Scenario(
    name="stalled",
    promise="Commits hang for 1 to 8 s again and again: no process refuses work afterwards, no order is stranded, each is paid once.",
    happens=happens,
    sizes={
        SMALL: {"orders": 100, "per_s": 6, "to_s": 2, "stalls": 4},
        FULL: {"orders": 1000, "per_s": 8, "to_s": 3, "stalls": 20},
    },
    minutes={SMALL: 0.9, FULL: 4.5},
)
