"""``manage.py relay``: says which subscriber is owed which fact, and publishes what is due."""

import math
import time
from collections.abc import Callable
from typing import Any

from django.conf import settings

from config.management import heartbeat
from config.management.loops import Loop, LoopCommand
from fulfillment.code_release import RELEASE
from sideeffects import bus, discovery, incidents, relay
from sideeffects.bus import lag

REGISTER_EVERY_S = 15.0  # names that no code knows turn up at any time


class Relay(Loop):
    """``report`` gets one line for each round that found something."""

    name, most = "relay", relay.LAUNCHES_A_ROUND

    def __init__(self, report: Callable[[str], Any]) -> None:
        super().__init__(report)
        self.registered_at = -math.inf
        self.marks = relay.Marks()

    def work(self) -> int:
        heartbeat.touch("relay")
        jumped_s = self.watch.jumped_s()
        if not self.turn.take():
            self.drop_marks()
            return 0
        if jumped_s:
            relay.move_with_the_clock(jumped_s)
            self.drop_marks()
            self.report(f"relay: the database's clock has jumped by {jumped_s:+.1f} s; open deliveries were moved with it")
        return self._round()

    def drop_marks(self) -> None:
        self.marks = relay.Marks()

    def _round(self) -> int:
        if time.monotonic() - self.registered_at >= REGISTER_EVERY_S and relay.register(discovery.types(), RELEASE):
            self.registered_at = time.monotonic()
        launched = 0
        if not self.is_quiet(relay.anything_due(self.marks)):
            launched = self.part("the deliveries", lambda: relay.run_round(self.turn.keep, self.marks))
        if launched:
            self.report(f"relay: published {launched} deliveries")
        if time.monotonic() - self.heartbeat_at >= relay.HEARTBEAT_EVERY_S:
            self.part("the incidents", incidents.refresh)
            self.part("the bus", lag.refresh_incident)
            if self.is_well:
                self.part("the heartbeat", relay.record_heartbeat)
            self.heartbeat_at = time.monotonic()
        return launched


class BusPublisher(Loop):
    """Sends events to programs outside, in a thread of its own: a bus that is slow or stands still keeps no delivery waiting."""

    name, most = "bus", bus.A_BATCH

    def __init__(self, report: Callable[[str], Any]) -> None:
        super().__init__(report)
        self.bus = bus.connect()

    def work(self) -> int:
        if not self.turn.take():
            return 0
        try:
            return bus.run_round(self.bus, self.turn.keep)
        except bus.BusTrouble as trouble:
            self.bus.close()
            self.report_once(str(trouble), f"relay: {trouble}; the next round tries again")
            return 0

    def drop_marks(self) -> None:
        """It has none: where it is stands in the database, and at the bus."""


class Command(LoopCommand):
    help = "Relay facts to their subscribers: what is due is published, every SWEEP_EVERY_S seconds. Example: manage.py relay --once"
    loop = Relay

    def beside(self) -> list[type[Loop]]:
        return [BusPublisher] if settings.BUS_URL else []
