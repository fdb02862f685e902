"""Promise: the real engine, in a world that loses, doubles, delays, kills and lies, does what the model does, and every order adds up; a broken engine is seen."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest

from tests.proofs.simulation.mutations import MUTATIONS
from tests.proofs.simulation.scripted_cases import SCRIPTED_CASES
from tests.proofs.simulation.simulator import Simulator

pytestmark = pytest.mark.django_db(transaction=True)
SEEDS = 100
ENOUGH = 400  # histories within which each broken engine must be seen; most need fewer than thirty


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    running = Simulator()
    yield running
    running.close()


@pytest.mark.timeout(300)
def test_many_histories_end_well(simulator: Simulator, show_figure: Callable[[str], None]) -> None:
    """Whatever happens to an order, in any order: paid and shipped, or neither, or a person knows."""
    endings: Counter[str] = Counter()
    transitions: Counter[str] = Counter()
    for seed in range(SEEDS):
        verdict = simulator.run(seed)
        assert not verdict.breach, f"seed {seed}:\n" + "\n".join(verdict.trace)
        endings[verdict.ending] += 1
        transitions += verdict.transitions

    show_figure(
        f"simulation: {SEEDS} histories, {sum(transitions.values())} transitions of {len(transitions)} kinds, no breach; ended {dict(endings)}"
    )
    assert {"completed", "compensated", "needs_attention"} <= set(endings)


@pytest.mark.timeout(300)
def test_many_histories_end_well_while_steps_share_a_task(simulator: Simulator, settings: Any) -> None:
    """CHAIN_COLLAPSE: the next step is begun where the last one ended, and may be interrupted, killed or doubled there."""
    settings.CHAIN_COLLAPSE = True
    for seed in range(SEEDS // 2):
        verdict = simulator.run(seed)
        assert not verdict.breach, f"seed {seed}:\n" + "\n".join(verdict.trace)


def test_a_seed_is_one_exactly_repeatable_history(simulator: Simulator) -> None:
    for seed in (3, 11):
        assert simulator.run(seed).trace == simulator.run(seed).trace


@pytest.mark.parametrize("case", SCRIPTED_CASES)
def test_a_scripted_case_that_is_known_to_hurt_ends_well(simulator: Simulator, case: str) -> None:
    """The model found it as the shortest way to lose money with a broken rule."""
    verdict = simulator.run(0, scripted=SCRIPTED_CASES[case])

    assert not verdict.breach, "\n".join(verdict.trace)
    assert verdict.ending in (("closed_by_operator",) if case.startswith("closed") else ("completed", "compensated"))


@pytest.mark.timeout(180)
@pytest.mark.parametrize("mutation", MUTATIONS)
def test_a_broken_engine_is_seen(simulator: Simulator, mutation: str, show_figure: Callable[[str], None]) -> None:
    """A simulation that finds nothing wrong with it would prove nothing."""
    with MUTATIONS[mutation]():
        for name, case in SCRIPTED_CASES.items():
            with suppress(LookupError):  # a broken engine may not even get there
                if (verdict := simulator.run(0, scripted=case)).breach:
                    show_figure(f"{mutation}: seen by the scripted case {name!r}: {verdict.breach[:110]}")
                    return
        for seed in range(ENOUGH):
            if (verdict := simulator.run(seed)).breach:
                show_figure(f"{mutation}: seen after {seed + 1} histories: {verdict.breach[:110]}")
                return
    pytest.fail(f"{mutation}: {ENOUGH} histories, and nothing was seen")
