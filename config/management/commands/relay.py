"""``manage.py relay``: says which subscriber is owed which fact, and publishes what is due."""

import time
from collections.abc import Callable
from typing import Any

from django.db import DatabaseError, connection

from config import alive
from config.loops import Loop, LoopCommand
from fulfillment.release import RELEASE
from sideeffects import people, registry, relay

BEAT_EVERY_S = 5.0


class Relay(Loop):
    """Rounds that survive a database restart; ``tell`` gets one line for each round that found something."""

    name, most = "relay", registry.LAUNCHES_A_ROUND

    def __init__(self, tell: Callable[[str], Any]) -> None:
        super().__init__(tell)
        self.is_registered = False
        self.marks = relay.Marks()

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


class Command(LoopCommand):
    help = "Relay facts to their subscribers: what is due is published, every SWEEP_EVERY_S seconds. Example: manage.py relay --once"
    loop = Relay
