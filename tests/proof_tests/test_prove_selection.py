"""Promise: the selection of the crash matrix leaves no pair untried, and its names are stable."""

from itertools import combinations
from pathlib import Path
from typing import Any

from fulfillment.crashpoints import BOUNDARIES
from fulfillment.step import Kind, Step
from fulfillment.steps import STEPS
from tests.proof_tests.prove_command import REPRESENTATIVE
from tests.proofs.crash_matrix import selection
from tests.proofs.crash_matrix.cases import ACTIONS, FAULTS, Case, sensible_cases
from tests.proofs.crash_matrix.outcome import Outcome
from tests.proofs.crash_matrix.record import Record

SANDBOXED = ("payments", "carrier")


class Wrapping(Step):
    """A newcomer's step that calls the carrier."""

    name = "wrapping"
    kind = Kind.COMPENSABLE
    role = "carrier"


class Thanking(Step):
    """A newcomer's step after the pivot."""

    name = "thanking"
    kind = Kind.RETRIABLE


def all_cases() -> list[Case]:
    return sensible_cases(STEPS, SANDBOXED)


def test_every_pair_that_can_meet_meets_in_at_least_150_cases() -> None:
    """No two of boundary, step and direction, fault and way to die are left untried together."""
    cases = all_cases()

    chosen = selection.pairwise(cases)

    def pairs(some: list[Case]) -> set[Any]:
        return {pair for case in some for pair in combinations(selection.values(case), 2)}

    assert pairs(chosen) == pairs(cases)
    assert 150 <= len(chosen) == len({case.name for case in chosen}) < len(cases) / 5


def test_the_selection_takes_in_everything_that_the_code_has() -> None:
    chosen = selection.pairwise(all_cases())

    assert {case.boundary for case in chosen} == set(BOUNDARIES)
    assert {case.fault for case in chosen} == set(FAULTS)
    assert {case.action for case in chosen} == set(ACTIONS)
    assert {case.target for case in chosen} == {(direction, step.name) for step in STEPS for direction in ("do", "compensate")}


def test_names_are_stable() -> None:
    """What a case is called is what finds it tomorrow, and the same code selects the same cases."""
    assert selection.pairwise(all_cases()) == selection.pairwise(all_cases())
    assert (
        Case("after_call", "compensate", "payment", "timeout_applied", "kill").name == "after_call.compensate.payment.timeout_applied.kill"
    )
    assert {case.name for case in all_cases()} >= set(REPRESENTATIVE)


def test_a_part_of_the_name_or_a_glob_selects() -> None:
    by_glob = selection.matching(all_cases(), ["after_call.compensate.payment*"])

    assert {(case.boundary, *case.target) for case in by_glob} == {("after_call", "compensate", "payment")}
    assert [case.name for case in selection.matching(all_cases(), REPRESENTATIVE[:1])] == REPRESENTATIVE[:1]
    assert selection.matching(all_cases(), [".compensate.payment.", "no_such_part"]) == [
        case for case in all_cases() if case.target == ("compensate", "payment")
    ]


def test_a_local_step_is_not_lied_to_and_has_no_call() -> None:
    local = [case for case in all_cases() if case.step == "inventory"]

    assert {case.fault for case in local} == {"none"}
    assert not {case.boundary for case in local} & {"after_start", "before_call", "after_call"}


def test_a_newcomer_s_step_takes_part_by_standing_in_steps() -> None:
    """After the pivot only forward."""
    cases = sensible_cases((STEPS[0], Wrapping(), *STEPS[1:], Thanking()), SANDBOXED)

    chosen = selection.pairwise(cases)

    assert {case.direction for case in chosen if case.step == "wrapping"} == {"do", "compensate"}
    assert {case.direction for case in chosen if case.step == "thanking"} == {"do"}


def test_what_was_proven_on_other_code_is_proven_again(tmp_path: Path) -> None:
    case, other = all_cases()[:2]
    held = Outcome(case=case, order="ORD-1", ended="fulfilled", seconds=1.0, injected=1, happened=True, reasons=())
    broken = Outcome(case=other, order="ORD-2", ended="fulfilled", seconds=1.0, injected=1, happened=True, reasons=("money_adds_up",))
    for outcome in (held, broken):
        Record(tmp_path / "cases.jsonl", "this code").add(outcome)
    with (tmp_path / "cases.jsonl").open("a") as cut:
        cut.write('{"case": "after_ca')

    assert Record(tmp_path / "cases.jsonl", "this code").proven([case, other]) == {case.name: held}
    assert Record(tmp_path / "cases.jsonl", "other code").proven([case, other]) == {}
