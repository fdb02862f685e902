"""The loops of the shop, ``sweep`` and ``relay``: a round each second until they are asked to stop, by turns. Run as many as you like: one at a time works."""

import math
import signal
import threading
from abc import ABC, abstractmethod
from argparse import ArgumentParser
from collections.abc import Callable
from contextlib import suppress
from typing import Any, ClassVar

from django.conf import settings
from django.core.management.base import BaseCommand
from django.db import DatabaseError

from config import presence
from config.checks import refuse_to_start
from fulfillment.release import RELEASE
from orders.connections import start_clean
from orders.turns import Turn, holder_of
from orders.watch import ClockWatch


class Loop(ABC):
    """``name`` is that of its turn and of its process. ``most``: a round that has done so much is followed by the next one at once."""

    name: ClassVar[str]
    most: ClassVar[float] = math.inf

    def __init__(self, tell: Callable[[str], Any]) -> None:
        self.tell = tell
        self.turn = Turn(self.name, RELEASE)
        self.watch = ClockWatch(settings.CLOCK_TOLERANCE_S)
        self.beaten_at = 0.0

    @abstractmethod
    def round(self) -> int:
        """How much was published."""

    def say_who_works(self) -> None:
        """For a person who wanted to see one round."""
        with suppress(DatabaseError):
            if not self.turn.keep():
                self.tell(f"{self.name}: {holder_of(self.name) or 'somebody else'} has the turn and works; this process did nothing")

    def end(self) -> None:
        """The next one begins at once."""
        with suppress(DatabaseError):
            self.turn.give_back()


class LoopCommand(BaseCommand):
    loop: ClassVar[type[Loop]]

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--once", action="store_true", help="one round, then exit")

    def handle(self, *args: Any, **options: Any) -> None:
        present = presence.of_role(self.loop.name)
        present.begin()
        refuse_to_start(self.loop.name)
        present.watch()
        stop = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
        loop = self.loop(self.stdout.write)
        while not stop.is_set():
            start_clean()
            done = loop.round()
            if options["once"]:
                loop.say_who_works()
                break
            if done < loop.most:
                stop.wait(settings.SWEEP_EVERY_S)
        loop.end()
        present.end()
