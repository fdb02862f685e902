"""Wrong clocks: the database's is set, forward or back, at any moment; the sweep sees it, or none runs just then. And what must never follow from that alone."""

import random
from typing import Any

from django.conf import settings
from django.db import connection

from fulfillment import recovery
from orders.clock_watch import ClockWatch
from tests.proofs.simulation.journal import Seen
from tests.proofs.simulation.world import Clock

SHARE = 0.3  # of all histories
STARTED = ("started", "compensation_started")
OUT_OF_TIME = "SELECT count(*) FROM orders_timelineentry WHERE order_id = %s AND id > %s AND detail->>'message' LIKE 'out of deadline%%'"


class Clocks:
    """The database's clock in one history, and the sweep's watch on it: None while no sweep runs. It has a die of its own, as ``Interruptions`` has."""

    def __init__(self, seed: int, clock: Clock) -> None:
        self.clock = clock
        self.die = random.Random(f"{seed} clocks")
        self.clock.ahead_s, self.clock.is_shared = 0.0, self.die.random() < 0.5
        self.go_wrong = self.die.random() < SHARE
        self.were_set = False
        self.jumps: list[recovery.Jump] = []
        self.watch: ClockWatch | None = self._new_watch()
        self._placed_at = clock.now
        self._started_at: dict[str, float] = {}  # by step and claim: when, truly
        self._first_at: dict[str, float] = {}  # of the step, or of its compensation

    def _new_watch(self) -> ClockWatch:
        watch = ClockWatch(settings.CLOCK_TOLERANCE_S)
        watch.saw(self.clock.now, self.clock.of_the_database)
        return watch

    # --- what happens to them ---

    def set(self, by_s: float | None = None) -> str:
        """By minutes or an hour, a moment after the sweep has read it."""
        if by_s is None:
            by_s = self.die.choice((-1, 1)) * self.die.choice((self.die.uniform(60, 600), self.die.uniform(3000, 4000)))
        self.clock.now += self.die.choice((0.0, 0.3, 0.7))
        self.clock.ahead_s += by_s
        self.clock.set_in_the_database()
        self.were_set = True
        return f"the database's clock is set by {by_s:+.0f} s"

    def are_seen(self) -> str:
        """The sweep reads it once a second: before more time than that passes it has seen a jump, and moved what is open. Empty: there was none."""
        if self.watch is None or not self.were_set:
            return ""
        if jumped_s := self.watch.jumped_s():
            self.note(jumped_s)
        return self.move() if self.jumps else ""

    def note(self, jumped_s: float) -> None:
        assert self.watch is not None
        self.jumps.append(recovery.Jump(jumped_s, self.clock.now - self.watch.unsure_s))

    def move(self) -> str:
        """Raises whatever the database does: then it goes on the next time."""
        jump = self.jumps[0]
        recovery.move_with_the_clock(jump)
        self.jumps.pop(0)
        return f"the sweep sees that the clock was set by {jump.seconds:+.0f} s"

    def time_has_passed(self) -> None:
        """Read every second."""
        if self.watch is not None:
            self.watch.saw(self.clock.now, self.clock.of_the_database)

    def beats(self) -> None:
        """The sweep writes its heartbeat, as every five seconds. No move depends on its commit, so it is neither counted nor interrupted."""
        if self.watch is not None:
            wrappers, connection.execute_wrappers = connection.execute_wrappers, []
            try:
                recovery.record_heartbeat(self.watch)
            finally:
                connection.execute_wrappers = wrappers

    def sweep_ends(self) -> str:
        """Or is killed, perhaps before it has seen a jump."""
        self.watch, self.jumps = None, []
        return "the sweep ends"

    def sweep_begins(self) -> str:
        self.watch = self._new_watch()
        return "a sweep begins"

    # --- what must not follow ---

    def see(self, before: Seen, after: Seen, move: str) -> str:
        """The first thing that was done because of the clock alone; empty if nothing was."""
        for was, now in zip(before.records, after.records, strict=True):
            if move == "sweep" and was["state"] in STARTED and (now["state"], now["claim"]) != (was["state"], was["claim"]):
                lasted_s = self.clock.now - self._started_at[_start(was)]
                if lasted_s < settings.LEASE_S - settings.CLOCK_TOLERANCE_S:
                    return f"{was['name']} is taken over {lasted_s:.1f} s after its start"
            if now["state"] in STARTED:
                self._started_at.setdefault(_start(now), self.clock.now)
            for column in ("first_started_at", "compensation_scheduled_at"):
                if now[column] is not None:
                    self._first_at.setdefault(f"{now['name']} {column}", self.clock.now)
        if self.were_set and after.last_entry != before.last_entry and self._is_out_of_time(after, before.last_entry):
            return "out of time, by the clock alone"
        return ""

    def _is_out_of_time(self, after: Seen, last_entry: int) -> bool:
        with connection.cursor() as cursor:
            cursor.execute(OUT_OF_TIME, [after.saga["order_id"], last_entry])
            is_recorded = bool(cursor.fetchone()[0])
        limits = {"first_started_at": settings.STEP_DEADLINE_S, "compensation_scheduled_at": settings.COMPENSATION_DEADLINE_S}
        truly = [self.clock.now - self._placed_at > settings.SAGA_DEADLINE_S]
        truly += [self.clock.now - at > limits[name.split()[1]] for name, at in self._first_at.items()]
        return is_recorded and not any(truly)


def _start(record: dict[str, Any]) -> str:
    return f"{record['name']} {record['claim']}"
