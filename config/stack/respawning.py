"""When a role that has died is started again: at once, and more and more slowly where it dies at once."""

import time

LIVED_S = 5.0
FIRST_DELAY_S, DELAY_CAP_S = 0.5, 10.0


class Respawning:
    """Of all roles of one stack."""

    def __init__(self) -> None:
        self._delays_s: dict[str, float] = {}
        self._due: dict[str, float] = {}

    def notes_death(self, role: str, lived_s: float) -> bool:
        """Whether it is a new one: the role is due then, after its delay."""
        if role in self._due:
            return False
        self._delays_s[role] = 0.0 if lived_s > LIVED_S else min(max(self.delay_s(role) * 2, FIRST_DELAY_S), DELAY_CAP_S)
        self._due[role] = time.monotonic() + self._delays_s[role]
        return True

    def delay_s(self, role: str) -> float:
        return self._delays_s.get(role, 0.0)

    def takes(self, role: str) -> bool:
        """Whether the role is started now; then it is due no more."""
        if time.monotonic() < self._due[role]:
            return False
        del self._due[role]
        return True
