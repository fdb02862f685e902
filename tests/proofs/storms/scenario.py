"""What a scenario is: a promise, its sizes, how long it takes, and what happens."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.proofs.storms.storm import Storm

SMALL, FULL = "small", "full"
SIZES = (SMALL, FULL)


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """``sizes``: size → name → how many, as ``Storm.how_many`` reads them. ``minutes``: size → about how long, start and stop of its stack included.

    ``variables`` are the settings of its stack, where they differ from the shop's. ``lies``: it plants effects, so that the last look finds them: the scenario
    judges them itself. ``program``: what runs its stack. ``surroundings``: what stands around its stack, which yields more of such settings.
    """

    name: str
    promise: str
    happens: Callable[["Storm"], None]
    sizes: Mapping[str, Mapping[str, int]]
    minutes: Mapping[str, float]
    variables: Mapping[str, str] = field(default_factory=dict)
    lies: bool = False
    program: Sequence[str] = ("manage.py", "up", "--without-flower")
    surroundings: Callable[["Storm"], AbstractContextManager[Mapping[str, str]]] = lambda _: nullcontext({})
