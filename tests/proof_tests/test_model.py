"""Promise: the protocol holds in every state that two faults can reach, and each rule is there for a reason: without it, a customer loses money."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.proofs.model.saga_check import MUTATIONS, explore, rules_from, shortest_breach

FAULTS = 2
AT_MOST = 3  # one rule needs a third fault to show what it is for


def test_the_design_holds_in_every_state_that_two_faults_can_reach(show_figure: Callable[[str], None]) -> None:
    """Lose, double, kill, pause, crash, cancel, in any order: charged and shipped, or neither; never stranded."""
    found = explore(replace(rules_from(""), max_faults=FAULTS))

    show_figure(f"model: {found.states:,} states with up to {FAULTS} faults, no breach; at rest: {found.endings}")
    assert found.breach is None, "\n".join(found.trace)
    assert found.states > 30_000
    assert {"completed", "compensated"} <= set(found.endings)


@pytest.mark.parametrize("rule", MUTATIONS)
def test_each_broken_rule_is_caught(rule: str) -> None:
    """A search that finds nothing wrong with a broken protocol would prove nothing."""
    faults, found = shortest_breach(rules_from(rule), AT_MOST)

    assert found.breach, f"{rule}: safe to {faults} faults?"
