"""What became of one history."""

from collections import Counter
from dataclasses import dataclass, field


@dataclass
class Verdict:
    """``breach``: what did not hold, empty if all did. ``trace``: the history in sentences."""

    seed: int
    capabilities: str
    breach: str = ""
    trace: list[str] = field(default_factory=list)
    ending: str = ""
    transitions: Counter[str] = field(default_factory=Counter)
    moves: int = 0
