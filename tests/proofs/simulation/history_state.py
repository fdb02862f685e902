"""What everything that happens in one history shares: its dice, the world outside, what was seen of the order, and the trace."""

import random
from collections.abc import Sequence

from django.conf import settings

from fulfillment.engine import tries
from orders.clock_watch import ClockWatch
from orders.models import Order
from tests.proofs.simulation.broker import Broker, Message
from tests.proofs.simulation.clocks import Clocks
from tests.proofs.simulation.equipment import Equipment
from tests.proofs.simulation.journal import Seen
from tests.proofs.simulation.oddities import Oddities
from tests.proofs.simulation.provider import CAPABILITIES, Provider
from tests.proofs.simulation.threads import WorkerThread
from tests.proofs.simulation.verdict import Verdict
from tests.proofs.simulation.world import Surroundings

LOOKS_UP = 0.25  # in this share of all histories a person asks the provider now and then


class HistoryState:
    """``calm``: faults have stopped. ``obeys``: a scripted case alone decides. ``past``: the versions that a database crash may bring back."""

    order: Order
    seen: Seen

    def __init__(self, seed: int, equipment: Equipment, surroundings: Surroundings) -> None:
        self.rng = random.Random(seed)
        self.equipment, self.clock, self.workers = equipment, equipment.clock, equipment.workers
        self.capabilities = self.rng.choice(list(CAPABILITIES))
        self.calm = False
        self.broker = surroundings.broker = Broker()
        self.oddities = Oddities(seed)
        self.provider = surroundings.provider = Provider(
            CAPABILITIES[self.capabilities], self.decide, lambda: self.clock.now, self.oddities
        )
        self.verdict = Verdict(seed, self.capabilities)
        self.clocks = Clocks(seed, self.clock)
        self.begin_a_process(ago_s=1000.0)
        self.carried: dict[WorkerThread, Message] = {}
        self.past: list[Seen] = []
        self.faultiness = self.rng.choice((0.05, 0.2, 0.5))
        self.likes: dict[str, float] = {}  # each history likes some kinds of trouble more than others: rare ones meet sooner
        self.cancels_left = self.rng.choice((0, 0, 1, 1, 2))
        self.saga = 0
        # A die of its own, so that the other histories are as they were.
        self.looks_up = random.Random(f"{seed} look up").random() < LOOKS_UP
        self.obeys = False
        self.next_fault = ""
        self.was_answered: set[str] = set()

    def begin_a_process(self, ago_s: float = 0.0) -> None:
        """A worker that has just begun has never seen the database's clock."""
        tries.watch = ClockWatch(settings.CLOCK_TOLERANCE_S)
        if ago_s:
            self.clock.now -= ago_s
            tries.watch.saw(self.clock.now, self.clock.of_the_database)
            self.clock.now += ago_s

    @property
    def is_undisturbed(self) -> bool:
        """Nothing happens by chance."""
        return self.calm or self.obeys

    # --- dice ---

    def liking(self, name: str) -> float:
        if name not in self.likes:
            self.likes[name] = self.rng.choice((0.1, 0.5, 1.0, 4.0))
        return self.likes[name]

    def decide(self, name: str, options: Sequence[tuple[str, float]]) -> str:
        """The first option is the harmless one: the only one once faults have stopped."""
        if self.next_fault in [option for option, _ in options]:
            fault, self.next_fault = self.next_fault, ""
            return fault
        if self.obeys:
            return options[0][0]
        if self.calm or (self.rng.random() > self.faultiness * 1.5 and not name.startswith("decline")):
            return options[0][0]
        weights = [weight * (self.liking(option) if at else 1) for at, (option, weight) in enumerate(options)]
        return self.rng.choices([option for option, _ in options], weights)[0]

    # --- the trace ---

    def breach(self, found: str) -> None:
        if found and not self.verdict.breach:
            self.verdict.breach = found
            self.trace(f"BREACH: {found}")

    def trace(self, line: str) -> None:
        self.verdict.trace.append(line.replace(self.order.number, "it"))
