"""A chaos scenario: a specification, and what happens in its storm (chaos engineering, fault injection into a whole system)."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

from tests.proofs.storms.spec import ScenarioSpec
from tests.proofs.storms.storm import Storm


@dataclass(frozen=True, kw_only=True)
class Scenario(ScenarioSpec):
    """``surroundings``: what stands around its stack, which yields more of its settings."""

    happens: Callable[[Storm], None]
    surroundings: Callable[[Storm], AbstractContextManager[Mapping[str, str]]] = lambda _: nullcontext({})
