"""``manage.py sweep``: finds every saga that is due, and publishes it."""

import logging
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

from django.conf import settings

from config import broker
from config.management import heartbeat
from config.management.loops import Loop, LoopCommand
from fulfillment import recovery, tasks
from fulfillment.engine import Launch
from fulfillment.recovery.reconciliations import TURN
from orders import overload
from orders.login import throttle
from orders.queue_probes import probe_not_sent
from orders.turns import holder_of

log = logging.getLogger(__name__)

FORGET_LOGINS_EVERY_S = 300.0
RECONCILE_BEGINS_WITHIN_S = 120.0  # from its start until it takes its turn, on a slow machine


class Sweep(Loop):
    """``report`` gets one line for each round that found something."""

    name, not_contained = "sweep", (recovery.ClockHasJumped,)

    def __init__(self, report: Callable[[str], Any]) -> None:
        super().__init__(report)
        self.memory = recovery.Memory(watch=self.watch)
        self.jumps: list[recovery.Jump] = []  # seen, and what is open is not yet moved by them
        self.reconciling: subprocess.Popen[bytes] | None = None
        self.reconciling_since = 0.0
        self.circuits_inspected_at = 0.0
        self.new_orders = broker.QueueLength(overload.QUEUE)
        self.logins_forgotten_at = 0.0

    def drop_marks(self) -> None:
        self.memory.mark.start_over()

    def work(self) -> int:
        heartbeat.touch("sweep")
        self._note(self.watch.jumped_s())
        try:
            if self.turn.take():
                self._move_with_the_clock()
                if self.is_quiet(recovery.anything_due(self.memory)):
                    self._heartbeat()
                    return 0
                return self._round()
            self.jumps.clear()
            self.drop_marks()  # somebody else works: only a whole round finds out what is left to do then
            return 0
        except recovery.ClockHasJumped as jump:
            return self._in_the_middle(jump.seconds)

    def _in_the_middle(self, jumped_s: float) -> int:
        """Of a round: it is over, and the next one goes by the clock as it is now."""
        self._note(jumped_s)
        if self.turn.take():  # a clock set forward may have given it to somebody who saw the jump too
            self._move_with_the_clock()
        return 0

    def _note(self, jumped_s: float) -> None:
        """Kept until what is open was moved: where the clock jumps, the database is often in trouble too."""
        if jumped_s:
            self.jumps.append(recovery.Jump(jumped_s, time.monotonic() - self.watch.unsure_s))

    def _move_with_the_clock(self) -> None:
        while self.jumps:
            moved = recovery.move_with_the_clock(self.jumps[0])
            jump = self.jumps.pop(0)
            self.drop_marks()
            self.report(f"sweep: the database's clock has jumped by {jump.seconds:+.1f} s; {moved} open sagas were moved with it")

    def _round(self) -> int:
        """Each part for itself: the trouble of one is no reason to leave out the others."""
        self.part("bulk retries", lambda: recovery.work_off_batches(self.turn.keep))
        sagas = self._inspect_circuits_and_queues() + self.part("the sagas", self._sagas)
        self.part("the probes", self._probes)
        self.part("unserved queues", self._unserved_queues)
        if contained := self.memory.take_count():
            self.report_once("contained", f"sweep: {contained} inspections of sagas failed; they wait, and are inspected again")
        if sagas:
            self.report(f"sweep: launched {sagas} sagas")
        self._heartbeat()
        return sagas

    def _inspect_circuits_and_queues(self) -> int:
        """Circuits and queues do not wait for the end of a long round: a thousand rows that somebody holds are minutes."""
        launched = self.part("the circuits", self._circuits)
        self.part("the probes", self._probes)
        self.part("the backlog", lambda: overload.judge(self.new_orders.ask()))
        self.circuits_inspected_at = time.monotonic()
        return launched

    def _sagas(self) -> int:
        launched = 0
        for found in recovery.due(self.turn.keep, self.memory):
            self._heartbeat()
            if time.monotonic() - self.circuits_inspected_at >= recovery.HEARTBEAT_EVERY.total_seconds():
                launched += self._inspect_circuits_and_queues()
            if not found:
                continue
            left = self._publish(found)
            launched += len(found) - len(left)
            self.memory.was_refused = bool(left)
            if left:
                break  # the broker is down: what else is due stays due
        return launched

    def _publish(self, found: list[Launch]) -> list[Launch]:
        """Returns those that the broker did not take. Whatever is wrong with one of them is the trouble of that one."""
        try:
            left = tasks.launch_all(found) if len(found) > 1 else self._publish_each(found)
        except Exception as error:
            log.error("%d launches are published one by one", len(found), exc_info=error)
            left = self._publish_each(found)
        for launch in left:
            with recovery.contained(recovery.Due(saga=launch.saga, order=None), self.memory):
                recovery.not_published(launch)
        return left

    def _publish_each(self, found: list[Launch]) -> list[Launch]:
        for place, launch in enumerate(found):
            with recovery.contained(recovery.Due(saga=launch.saga, order=None), self.memory):
                if not tasks.launch(launch):
                    return found[place:]
        return []

    def _circuits(self) -> int:
        """The orders that ask whether a provider is back."""
        launched = 0
        for launch in recovery.launch_probes(self.memory):
            if tasks.launch(launch):
                launched += 1
            else:
                recovery.not_published(launch)
        return launched

    def _probes(self) -> int:
        probes = recovery.probes.due()
        for queue, stamp in probes:
            if not tasks.send_probe(queue, stamp):
                probe_not_sent(queue)
        return len(probes)

    def _unserved_queues(self) -> int:
        recovery.probes.open_incidents_of_unserved(recovery.QUEUES, settings.CORE_QUEUE_UNSERVED_LIMIT_S)
        return 0

    def _heartbeat(self) -> None:
        """Also within a long round: twenty thousand sagas are not silence."""
        if time.monotonic() - self.heartbeat_at >= recovery.HEARTBEAT_EVERY.total_seconds():
            heartbeat.touch("sweep")
            self.heartbeat_at = time.monotonic()
            if self.is_well:
                self.part("the heartbeat", lambda: recovery.record_heartbeat(self.watch))
            self.part("the reconciliation", self._reconcile)
            self.part("failed logins", self._forget_logins)

    def _forget_logins(self) -> int:
        """Whose failures no longer count need not be kept, also where nobody logs in any more."""
        if time.monotonic() - self.logins_forgotten_at >= FORGET_LOGINS_EVERY_S:
            self.logins_forgotten_at = time.monotonic()
            throttle.forget_old()
        return 0

    def _reconcile(self) -> int:
        """On schedule, in a process of its own, so that a slow provider delays nothing here."""
        if self.reconciling is not None and self.reconciling.poll() is None:
            self._end_one_that_stands_still(self.reconciling)
            return 0
        if self.reconciling is not None:
            self._say_how_it_ended(self.reconciling)
            self.reconciling = None
        if recovery.reconciliation_is_due():
            self.reconciling_since = time.monotonic()
            self.reconciling = subprocess.Popen([sys.executable, str(settings.BASE_DIR / "manage.py"), "reconcile", "--since", "48"])
            return 1
        return 0

    def _say_how_it_ended(self, child: "subprocess.Popen[bytes]") -> None:
        """One that ends without a word is reported all the same: exit 1 alone may be findings, or a crash."""
        if ending := recovery.reconciliation_exited(child.pid, child.returncode):
            self.report(f"sweep: the reconciliation (pid {child.pid}) did not come to its end: {ending}; the next one begins on schedule")

    def _end_one_that_stands_still(self, child: "subprocess.Popen[bytes]") -> None:
        """It runs, and nobody has the turn: it has long lost its own, and there would never be another one."""
        if time.monotonic() - self.reconciling_since > RECONCILE_BEGINS_WITHIN_S and not holder_of(TURN):
            self.report(f"sweep: the reconciliation (pid {child.pid}) stands still and is ended; the next one begins on schedule")
            child.kill()


class Command(LoopCommand):
    help = "Find what is due (lost messages, dead workers, retries) and publish it again, every SWEEP_EVERY_S seconds. Example: manage.py sweep --once"
    loop = Sweep
