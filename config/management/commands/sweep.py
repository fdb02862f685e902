"""``manage.py sweep``: looks for every saga that is due, and publishes it."""

import logging
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from django.conf import settings
from django.db import connection

from config import alive
from config.loops import Loop, LoopCommand
from fulfillment import recovery, tasks
from orders.database import is_our_trouble, is_unusable, sqlstate
from orders.turns import holder_of

log = logging.getLogger(__name__)

RECONCILE_BEGINS_WITHIN_S = 120.0  # from its start until it takes its turn, on a slow machine
REPEAT_AFTER_S = 60.0  # the same trouble is told once a minute


class Sweep(Loop):
    """Rounds that survive whatever goes wrong in them. ``tell`` gets one line for each round that found something, and one a minute for the same trouble."""

    name = "sweep"

    def __init__(self, tell: Callable[[str], Any]) -> None:
        super().__init__(tell)
        self.memory = recovery.Memory(watch=self.watch)
        self.reconciling: subprocess.Popen[bytes] | None = None
        self.reconciling_since = 0.0
        self.told_at: dict[str, float] = {}

    def round(self) -> int:
        """What was published again. Nothing that goes wrong costs more than this round."""
        try:
            alive.beat("sweep")
            jumped_s = self.watch.look()
            if self.turn.take():
                self._move_with_the_clock(jumped_s)
                return self._round()
            self.memory.mark.start_over()  # somebody else works: what is left to do then, only a look at everything tells
            return 0
        except recovery.ClockHasJumped as jump:
            return self._in_the_middle(jump.seconds)
        except Exception as error:
            self._trouble("a round", error)
            return 0

    def _in_the_middle(self, jumped_s: float) -> int:
        """Of a round: it is over, and the next one goes by the clock as it is now."""
        try:
            if self.turn.take():  # a clock set forward may have given it to somebody who saw the jump too
                self._move_with_the_clock(jumped_s)
        except Exception as error:
            self._trouble("moving with the clock", error)
        return 0

    def _move_with_the_clock(self, jumped_s: float) -> None:
        if jumped_s:
            moved = recovery.move_with_the_clock(jumped_s, self.watch.unsure_s)
            self.memory.mark.start_over()
            self.tell(f"sweep: the database's clock has jumped by {jumped_s:+.1f} s; {moved} open sagas were moved with it")

    def _round(self) -> int:
        """Each part for itself: the trouble of one is no reason to leave out the others."""
        sagas = self._part("the circuits", self._circuits) + self._part("the sagas", self._sagas)
        self._part("the probes", self._probes)
        if contained := self.memory.take_count():
            self._tell_once("contained", f"sweep: {contained} looks at sagas failed; they wait, and are looked at again")
        if sagas:
            self.tell(f"sweep: launched {sagas} sagas")
        self._beat()
        return sagas

    def _part(self, what: str, part: Callable[[], int]) -> int:
        try:
            return part()
        except recovery.ClockHasJumped:
            raise
        except Exception as error:
            if is_unusable(error):
                raise
            self._trouble(what, error)
            return 0

    def _sagas(self) -> int:
        launched = 0
        for launch in recovery.due(self.turn.keep, self.memory):
            self._beat()
            if launch is None:
                continue
            with recovery.contained(recovery.Due(saga=launch.saga, order=None), self.memory):
                if not tasks.launch(launch):
                    recovery.not_published(launch)
                    break  # the broker is down: what else is due stays due
                launched += 1
        return launched

    def _circuits(self) -> int:
        """The orders that ask whether a provider is back."""
        launched = 0
        for launch in recovery.circuit_probes(self.memory):
            if tasks.launch(launch):
                launched += 1
            else:
                recovery.not_published(launch)
        return launched

    def _probes(self) -> int:
        probes = recovery.probes_due()
        for queue, stamp in probes:
            if not tasks.send_probe(queue, stamp):
                recovery.probe_not_sent(queue)
        return len(probes)

    def _beat(self) -> None:
        """Also within a long round: twenty thousand sagas are not silence."""
        if time.monotonic() - self.beaten_at >= recovery.BEAT_EVERY.total_seconds():
            alive.beat("sweep")
            self.beaten_at = time.monotonic()
            self._part("the beat", recovery.beat)
            self._part("the reconciliation", self._reconcile)

    def _reconcile(self) -> int:
        """On schedule, in a process of its own, so that a long look at a provider delays nothing here."""
        if self.reconciling is not None and self.reconciling.poll() is None:
            self._end_one_that_stands_still(self.reconciling)
            return 0
        if recovery.reconciliation_is_due():
            self.reconciling_since = time.monotonic()
            self.reconciling = subprocess.Popen([sys.executable, str(settings.BASE_DIR / "manage.py"), "reconcile", "--since", "48"])
            return 1
        return 0

    def _end_one_that_stands_still(self, child: "subprocess.Popen[bytes]") -> None:
        """It runs, and nobody has the turn: it has long lost its own, and there would never be another one."""
        if time.monotonic() - self.reconciling_since > RECONCILE_BEGINS_WITHIN_S and not holder_of("reconcile"):
            self.tell(f"sweep: the reconciliation (pid {child.pid}) stands still and is ended; the next one begins on schedule")
            child.kill()

    # --- what went wrong ---

    def _trouble(self, what: str, error: Exception) -> None:
        """The database's own trouble is a sentence; anything else has its traceback, once."""
        self.memory.mark.start_over()  # the next connection may be to another server
        name = f"{type(error).__name__} {sqlstate(error)}".strip()
        if is_our_trouble(error):
            self._tell_once(name, f"sweep: the database does not answer as it should: {name}")
        elif self._tell_once(f"{what} {name}", f"sweep: {what} failed: {name}; the next round tries again"):
            log.error("The sweep failed at %s", what, exc_info=error)
        with suppress(Exception):
            connection.close()

    def _tell_once(self, trouble: str, sentence: str) -> bool:
        """The same trouble once a minute; says whether it was told."""
        if time.monotonic() - self.told_at.get(trouble, -REPEAT_AFTER_S) < REPEAT_AFTER_S:
            return False
        if len(self.told_at) > 100:
            self.told_at.clear()
        self.told_at[trouble] = time.monotonic()
        self.tell(sentence)
        return True


class Command(LoopCommand):
    help = "Find what is due (lost messages, dead workers, retries) and publish it again, every SWEEP_EVERY_S seconds. Example: manage.py sweep --once"
    loop = Sweep
