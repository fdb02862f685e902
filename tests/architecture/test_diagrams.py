"""Promise: a state machine that the docs draw is the one that runs, and the tables beside it leave out no move."""

import pytest

from fulfillment.models import StepState
from tests.architecture import diagrams
from tests.architecture.diagrams import MACHINES, NOTHING, RENEW

BY_A_PERSON = {StepState.SKIPPED, *(state for state in StepState if state.endswith("_by_hand"))}


@pytest.mark.parametrize("name", MACHINES)
def test_a_diagram_is_drawn_from_the_moves_that_there_are(name: str) -> None:
    """Whoever changes a transition changes the picture, or is told how."""
    assert diagrams.shown().get(name) == MACHINES[name].draw(), f"docs/design.md draws another state machine. Renew it: {RENEW}"


@pytest.mark.parametrize("name", MACHINES)
def test_every_state_stands_in_its_diagram(name: str) -> None:
    machine = MACHINES[name]
    drawn = {meant for move in machine.moves() for state in move for meant in machine.meant(state)}

    assert set(machine.states.values) - drawn <= BY_A_PERSON


@pytest.mark.parametrize("name", ["saga", "step"])
def test_every_move_of_the_model_stands_in_the_table_of_the_semantics(name: str) -> None:
    """Whoever asks why a step went from here to there finds the row."""
    machine = MACHINES[name]
    written = set(machine.table)

    assert len(written) > 8
    assert [move for move in machine.moves() if NOTHING not in move and not _is_written(machine, move, written)] == []


def _is_written(machine: diagrams.Machine, move: diagrams.Move, written: set[diagrams.Move]) -> bool:
    was, to = (machine.meant(state) for state in move)
    return any((one, other) in written for one in was for other in to)
