"""Runs histories one after the other in this process, each from its seed."""

import random
from collections.abc import Callable
from dataclasses import dataclass

from django.db.backends.signals import connection_created
from django.test import override_settings

from tests.proofs.simulation.equipment import Equipment
from tests.proofs.simulation.history import History
from tests.proofs.simulation.verdict import Verdict
from tests.proofs.simulation.world import GATEWAY, replaced


@dataclass(frozen=True)
class ScriptedCase:
    """What happens in a history before it comes to rest, step by step, at a provider with these ``capabilities``."""

    capabilities: str
    happens: Callable[[History], None]


class Simulator:
    def __init__(self) -> None:
        self.equipment = Equipment()
        self.running: History | None = None

    def run(self, seed: int, moves: int = 60, *, scripted: ScriptedCase | None = None, until_rest: bool = True) -> Verdict:
        """One history: at most ``moves`` moves with faults, then none until rest. ``scripted``: what happens first, instead of what the seed draws."""
        random.seed(seed)  # the engine's own jitter
        equipment, clock = self.equipment, self.equipment.clock
        clock.jump(clock.now + 10**6)
        equipment.interruptions.begin(seed)
        with self._settings(seed), replaced(clock, self._boundary) as surroundings, equipment.interruptions.of_commits():
            self.running = History(seed, equipment, surroundings)
            connection_created.connect(clock.set_in_a_new_connection)
            try:
                self._happens(self.running, moves, scripted)
                return self.running.end(until_rest)
            finally:
                equipment.clear_the_workers()
                connection_created.disconnect(clock.set_in_a_new_connection)
                self.running = None

    def _happens(self, history: History, moves: int, scripted: ScriptedCase | None) -> None:
        if scripted is None:
            history.wander(moves)
        else:
            history.obey(scripted.capabilities)
            scripted.happens(history)

    def _settings(self, seed: int) -> override_settings:
        """Budgets are small in most histories, so that they are spent in some."""
        rng = random.Random(seed)
        budgets = {
            "STEP_TRIES": rng.choice((2, 3, 8)),
            "COMPENSATION_TRIES": rng.choice((2, 3, 12)),
            "POISON_AFTER": rng.choice((2, 4, 12)),
        }
        return override_settings(PAYMENTS_GATEWAY=GATEWAY, CARRIER_GATEWAY=GATEWAY, DEMO_VALUES=True, **budgets)

    def _boundary(self, boundary: str, step: str, compensating: bool | None) -> None:
        assert self.running is not None
        self.running.deliveries.boundary(boundary)

    def close(self) -> None:
        self.equipment.close()
