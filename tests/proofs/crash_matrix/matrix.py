"""The run of a selection: some cases at a time, what did not happen again in more and more quiet, and every order looked at again when all is over."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import replace

from tests.proofs.crash_matrix import invariants as judging
from tests.proofs.crash_matrix.cases import Case
from tests.proofs.crash_matrix.experiment import Field, Outcome, Stopped, Trial, ended_by
from tests.proofs.crash_matrix.record import Record
from tests.proofs.crash_matrix.script import story_of

AT_A_TIME = (8, 2, 1)  # a neighbour's crash may come before a case's own, which then proves nothing: it is run again among fewer neighbours


def prove(cases: Sequence[Case], field: Field, record: Record, tell: Callable[[Outcome], None]) -> list[Outcome]:
    """The outcome of every case, in the order in which they came to an end. Ctrl-C ends it; what was proven is on record."""
    outcomes: list[Outcome] = []
    left = list(cases)
    for at_a_time in AT_A_TIME:
        again = []
        for outcome in _each(left, field, at_a_time):
            if _proves_nothing(outcome) and at_a_time != AT_A_TIME[-1]:
                again.append(outcome.case)
                continue
            outcomes.append(outcome)
            record.add(outcome)
            tell(outcome)
        left = again
    return outcomes


def _each(cases: Sequence[Case], field: Field, at_a_time: int) -> Iterator[Outcome]:
    with ThreadPoolExecutor(at_a_time, thread_name_prefix="case") as pool, ended_by(field.stopping):
        running: set[Future[Outcome]] = {pool.submit(_tried, case, field) for case in cases}
        while running:
            done, running = wait(running, timeout=1, return_when=FIRST_COMPLETED)
            for future in done:
                yield future.result()


def _tried(case: Case, field: Field) -> Outcome:
    """A trial that fails by itself has proven nothing, and says so."""
    if field.stopping.is_set():
        raise Stopped
    trial = Trial(case, field)
    try:
        return trial.run()
    except Stopped:
        raise
    except Exception as error:
        told = f"the trial itself failed: {type(error).__name__}: {error}"
        return Outcome(case=case, order=trial.number, ended="?", seconds=0.0, injected=0, happened=False, reasons=(told,))


def _proves_nothing(outcome: Outcome) -> bool:
    """Its crash or its fault was not met, and nothing else is wrong: a breach stands, whether or not everything happened."""
    return not outcome.happened and all(reason.startswith("did not happen") for reason in outcome.reasons)


def looked_at_again(outcomes: Sequence[Outcome], field: Field) -> list[Outcome]:
    """Those that no longer hold now that everything is over: what landed, or woke up, after its order had been judged."""
    fallen = []
    for outcome in outcomes:
        if outcome.ok and (wrong := judging.breaches(outcome.order, story_of(outcome.case, field.steps).ends)):
            fallen.append(replace(outcome, reasons=tuple(f"at the end: {what}" for what in wrong)))
    return fallen
