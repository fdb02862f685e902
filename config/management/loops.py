"""Loops: the sweep and the relay do a round each second until they are asked to stop. Run as many of each as you like: by turns, one at a time works."""

import logging
import math
import signal
import threading
import time
from abc import ABC, abstractmethod
from argparse import ArgumentParser
from collections.abc import Callable
from contextlib import suppress
from typing import Any, ClassVar

from django.conf import settings
from django.core.management.base import BaseCommand
from django.db import DatabaseError, connection

from config.checks import refuse_to_start
from fulfillment.code_release import RELEASE
from orders.clock_watch import ClockWatch
from orders.connections import start_clean
from orders.database import is_our_trouble, is_unusable, sqlstate
from orders.process_registration import Registration
from orders.turns import Turn, holder_of

log = logging.getLogger(__name__)

ENDS_WITHIN_S = 10.0  # a thread that does not is left behind: its turn goes to another process
REPEAT_AFTER_S = 60.0  # the same trouble is reported once a minute
WHOLE_AFTER = 3  # rounds: an idle shop costs a third of what a shop at work does


class Loop(ABC):
    """Rounds that survive whatever goes wrong in them.

    ``name`` is that of its turn and of its process. ``most``: a round that has done so much is followed by the next one at once.
    """

    name: ClassVar[str]
    most: ClassVar[float] = math.inf
    not_contained: ClassVar[tuple[type[Exception], ...]] = ()  # what ends a whole round, whichever part has met it

    def __init__(self, report: Callable[[str], Any]) -> None:
        self.report = report
        self.turn = Turn(self.name, RELEASE)
        self.watch = ClockWatch(settings.CLOCK_TOLERANCE_S)
        self.heartbeat_at = 0.0
        self.is_well = True  # no part of this round has failed for a reason of its own: only then it may say that it is at work
        self._reported_at: dict[str, float] = {}
        self._quiet_rounds = WHOLE_AFTER

    def is_quiet(self, anything_due: bool) -> bool:
        """Whether this round may be left out: nothing seems to be due, and one of the last few was a whole one, which looks further."""
        self._quiet_rounds = 0 if anything_due or self._quiet_rounds >= WHOLE_AFTER - 1 else self._quiet_rounds + 1
        return self._quiet_rounds > 0

    def round(self) -> int:
        """Returns how much was published. Nothing that goes wrong costs more than this round."""
        self.is_well = True
        try:
            return self.work()
        except Exception as error:
            self.trouble("a round", error)
            return 0

    @abstractmethod
    def work(self) -> int:
        """One round, if it has the turn."""

    @abstractmethod
    def drop_marks(self) -> None:
        """Drop the marks up to which it has read the database's queues: somebody else has worked since, or the next connection is to another server."""

    def part(self, what: str, part: Callable[[], int | None]) -> int:
        """Run one part of a round by itself: its trouble is no reason to leave out the others, unless no connection is left."""
        try:
            return part() or 0
        except self.not_contained:
            raise
        except Exception as error:
            if is_unusable(error):
                raise
            self.trouble(what, error)
            return 0

    def trouble(self, what: str, error: Exception) -> None:
        """Report what went wrong: the database's own trouble as a sentence, anything else with its traceback, once a minute."""
        self.drop_marks()
        name = f"{type(error).__name__} {sqlstate(error)}".strip()
        if is_our_trouble(error):
            self.report_once(name, f"{self.name}: the database does not answer as it should: {name}")
        else:
            self.is_well = False
            if self.report_once(f"{what} {name}", f"{self.name}: {what} failed: {name}; the next round tries again"):
                log.error("The %s failed at %s", self.name, what, exc_info=error)
        with suppress(Exception):
            connection.close()

    def report_once(self, trouble: str, sentence: str) -> bool:
        """The same trouble once a minute. Returns whether it was reported."""
        if time.monotonic() - self._reported_at.get(trouble, -REPEAT_AFTER_S) < REPEAT_AFTER_S:
            return False
        if len(self._reported_at) > 100:
            self._reported_at.clear()
        self._reported_at[trouble] = time.monotonic()
        self.report(sentence)
        return True

    def say_who_works(self) -> None:
        """For a person who asked for one round, and whose process had no turn."""
        with suppress(DatabaseError):
            if not self.turn.keep():
                self.report(f"{self.name}: {holder_of(self.name) or 'somebody else'} has the turn and works; this process did nothing")

    def end(self) -> None:
        """Give the turn back, so that the next process begins at once."""
        with suppress(DatabaseError):
            self.turn.give_back()


class LoopCommand(BaseCommand):
    loop: ClassVar[type[Loop]]

    def beside(self) -> list[type[Loop]]:
        """Loops that run in the same process, each in a thread of its own: whatever holds one up does not hold up the others."""
        return []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--once", action="store_true", help="one round, then exit")

    def handle(self, *args: Any, **options: Any) -> None:
        registration = Registration.of_role(self.loop.name, RELEASE)
        registration.begin()
        refuse_to_start(self.loop.name)
        registration.watch()
        stop = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
        loop, *beside = [kind(self.stdout.write) for kind in (self.loop, *self.beside())]
        threads = [threading.Thread(target=_run, args=(other, stop), daemon=True) for other in beside]
        if options["once"]:
            _run_once([loop, *beside])
        else:
            for thread in threads:
                thread.start()
            _run(loop, stop)
            for thread in threads:
                thread.join(ENDS_WITHIN_S)
        registration.end()


def _run_once(loops: list[Loop]) -> None:
    for loop in loops:
        start_clean()
        loop.round()
        loop.say_who_works()
        loop.end()


def _run(loop: Loop, stop: threading.Event) -> None:
    while not stop.is_set():
        start_clean()
        if loop.round() < loop.most:
            stop.wait(settings.SWEEP_EVERY_S)
    loop.end()
    connection.close()
