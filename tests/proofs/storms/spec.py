"""The specification of a chaos scenario: its promise, its sizes, and what its stack needs; all that a storm has to know of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

SMALL, FULL = "small", "full"
SIZES = (SMALL, FULL)


@dataclass(frozen=True, kw_only=True)
class ScenarioSpec:
    """``sizes``: size → name → how many, as ``Storm.how_many`` reads them. ``minutes``: size → about how long, start and stop of its stack included.

    ``variables`` are the settings of its stack, where they differ from the shop's. ``lies``: it plants effects, so that the last reconciliation finds them: the
    scenario judges them itself. ``program``: what runs its stack.
    """

    name: str
    promise: str
    sizes: Mapping[str, Mapping[str, int]]
    minutes: Mapping[str, float]
    variables: Mapping[str, str] = field(default_factory=dict)
    lies: bool = False
    program: Sequence[str] = ("manage.py", "up", "--without-flower")
