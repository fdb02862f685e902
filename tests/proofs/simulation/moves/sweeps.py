"""Time and the sweep: time goes on to when the sweep is due, and the sweep publishes what it finds."""

from django.conf import settings
from django.db import connection

from fulfillment import recovery
from fulfillment.engine import Launch
from fulfillment.recovery.containment import RowsLocked
from tests.proofs.simulation.history_state import HistoryState
from tests.proofs.simulation.provider import DAY_S, LAG_S


class Sweeps:
    def __init__(self, state: HistoryState) -> None:
        self.state = state

    def sweep(self, late_s: float | None = None) -> str:
        """Time goes on to when the sweep is due, or a little further; a probe has just come out, mostly."""
        if moved := self.state.clocks.are_seen():
            return moved
        late_s = self.state.rng.choice((0.0, 1.0, 30.0)) if late_s is None else late_s
        self._pass_time(self._due_at() + (self._until_watching_ends() or late_s))
        if self.state.clocks.go_wrong and not self.state.is_undisturbed and self.state.clocks.die.random() < 0.05 * self.state.faultiness:
            self.state.trace(f"in the middle of a round {self.state.clocks.set()}")
        if self.state.rng.random() < 0.9 or self.state.is_undisturbed:
            self._a_probe_comes_out()
        try:
            launch = self._inspect()
        except recovery.ClockHasJumped as jump:
            self.state.clocks.note(jump.seconds)
            return self.state.clocks.move()
        except RowsLocked:
            return "the sweep finds that a session which has just died still holds it"
        its_commit_may_be_lost = self.state.equipment.commits.may_be_lost
        sentence = self._publish_what_the_sweep_found(launch)
        recovery.probes.due()
        self.state.equipment.commits.may_be_lost = its_commit_may_be_lost
        return sentence

    def _inspect(self) -> Launch | None:
        """As a round does, each in a transaction of its own: what waits is put off, what is proved lost is woken, what is plainly lost may go by the page."""
        if recovery.postpone([self.state.saga], self.state.clocks.watch):
            return None
        recovery.wake_lost({})
        self.state.equipment.commits.may_be_lost = False
        if self.state.rng.random() < 0.5 and (launches := recovery.relaunch([self.state.saga], self.state.clocks.watch)):
            return launches[0]
        return recovery.inspect_saga(self.state.saga, self.state.clocks.watch)

    def _due_at(self) -> float:
        """What wakes up later than any rule says is due."""
        assert self.state.seen.wake_at is not None
        furthest_s = 2 * max(settings.LEASE_S, settings.PATIENCE_CAP_S, settings.BACKOFF_CAP_S)
        due_at = self.state.seen.wake_at - self.state.clock.ahead_s
        return due_at if due_at <= self.state.clock.now + furthest_s else self.state.clock.now

    def inspect_circuits(self) -> str:
        """Time goes on to the next probe, mostly."""
        if moved := self.state.clocks.are_seen():
            return moved
        self._pass_time(self.state.clock.now + (100.0 if self.state.obeys else self.state.rng.choice((0.0, 1.0, 100.0))))
        launches = list(recovery.launch_probes())
        for launch in launches:
            self.state.broker.publish(launch)
        return "the sweep inspects circuits" + "".join(f", a probe e{launch.epoch}" for launch in launches)

    def _a_probe_comes_out(self) -> None:
        with connection.cursor() as cursor:
            cursor.execute(
                "UPDATE fulfillment_queueprobe SET out_at = shop_now(), sent_at = shop_now(), awaited_since = NULL, unanswered = 0"
            )

    def _until_watching_ends(self) -> float:
        """Once faults have stopped, nobody wants to see a day of watching pass in minutes."""
        watches = self.state.calm and any(
            record["state"] == "compensation_in_doubt" and record["waits"] > 2 for record in self.state.seen.records
        )
        return DAY_S + LAG_S if watches else 0.0

    def _publish_what_the_sweep_found(self, launch: Launch | None) -> str:
        if launch is None:
            return "the sweep inspects it"
        if not self.state.is_undisturbed and self.state.rng.random() < 0.05:
            recovery.not_published(launch)
            return "the sweep inspects it, the broker is down"
        self.state.broker.publish(launch)
        return f"the sweep inspects it, launches e{launch.epoch}"

    # --- time ---

    def wait(self) -> str:
        if moved := self.state.clocks.are_seen():
            return moved
        self._pass_time(self.state.clock.now + 5)
        return "time passes"

    def long_wait(self, wait_s: float | None = None) -> str:
        if moved := self.state.clocks.are_seen():
            return moved
        self._pass_time(self.state.clock.now + (wait_s or self.state.rng.choice((40.0, 1000.0, 8000.0, 90_000.0))))
        return "a long time passes"

    def _pass_time(self, to: float) -> None:
        """Requests that the capabilities have promised to be over by then are; a worker before its send is past its lease long before a key is forgotten."""
        self.state.clock.jump(to)
        self.state.clocks.time_has_passed()
        self.state.provider.pass_time()
        self.state.clock.set_in_the_database()
        self.state.clocks.beats()
