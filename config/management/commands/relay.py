"""``manage.py relay``: says which subscriber is owed which fact, and publishes what is due. Run as many as you like: one at a time works."""

import signal
import threading
import time
from argparse import ArgumentParser
from contextlib import suppress
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand
from django.db import DatabaseError, connection

from config import alive, presence
from config.checks import refuse_to_start
from fulfillment.release import RELEASE
from orders.connections import start_clean
from orders.turns import Turn, holder_of
from orders.watch import ClockWatch
from sideeffects import people, registry, relay

BEAT_EVERY_S = 5.0


class Command(BaseCommand):
    help = "Relay facts to their subscribers: what is due is published, every SWEEP_EVERY_S seconds. Example: manage.py relay --once"

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--once", action="store_true", help="one round, then exit")

    def handle(self, *args: Any, **options: Any) -> None:
        present = presence.of_role("relay")
        present.begin()
        refuse_to_start("relay")
        present.watch()
        stop = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
        loop = Relay(self.stdout.write)
        while not stop.is_set():
            start_clean()
            launched = loop.round()
            if options["once"]:
                loop.say_who_works()
                break
            if launched < registry.LAUNCHES_A_ROUND:  # after a full round there is more
                stop.wait(settings.SWEEP_EVERY_S)
        loop.end()
        present.end()


class Relay:
    """Rounds that survive a database restart; ``tell`` gets one line for each round that found something."""

    def __init__(self, tell: Any) -> None:
        self.tell = tell
        self.turn = Turn("relay", RELEASE)
        self.is_registered = False
        self.marks = relay.Marks()
        self.watch = ClockWatch(settings.CLOCK_TOLERANCE_S)
        self.beaten_at = 0.0

    def round(self) -> int:
        """How many messages went out. A database that does not answer, or a table that somebody holds, costs this round and nothing else."""
        alive.beat("relay")
        try:
            jumped_s = self.watch.look()
            if not self.turn.take():
                self.marks = relay.Marks()  # somebody else works: what is left to do then, only a look at everything tells
                return 0
            if jumped_s:
                relay.move_with_the_clock(jumped_s)
                self.marks = relay.Marks()
                self.tell(f"relay: the database's clock has jumped by {jumped_s:+.1f} s; open deliveries were moved with it")
            return self._round()
        except DatabaseError as down:
            self.tell(f"relay: the database does not serve it: {type(down).__name__}")
            connection.close()
            return 0

    def _round(self) -> int:
        if not self.is_registered:
            relay.register(registry.names(), RELEASE)
            self.is_registered = True
        launched = registry.relay_round(self.turn.keep, self.marks)
        if launched:
            self.tell(f"relay: published {launched} deliveries")
        if time.monotonic() - self.beaten_at >= BEAT_EVERY_S:
            people.tell()
            relay.beat()
            self.beaten_at = time.monotonic()
        return launched

    def say_who_works(self) -> None:
        """For a person who wanted to see one round."""
        if not self.turn.keep():
            self.tell(f"relay: {holder_of('relay') or 'somebody else'} has the turn and works; this process did nothing")

    def end(self) -> None:
        """The next relay begins at once."""
        with suppress(DatabaseError):
            self.turn.give_back()
