"""The run of a selection: some cases at a time, what did not happen again in more and more quiet, and every order inspected again when all is over."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import replace

from tests.proofs.crash_matrix import invariants
from tests.proofs.crash_matrix.cases import Case
from tests.proofs.crash_matrix.experiment import Experiment
from tests.proofs.crash_matrix.outcome import Outcome
from tests.proofs.crash_matrix.record import Record
from tests.proofs.crash_matrix.script import script_of
from tests.proofs.crash_matrix.testbed import Stopped, Testbed, ended_by

AT_A_TIME = (8, 2, 1)  # a neighbour's crash may come before a case's own, which then proves nothing: it is run again among fewer neighbours


def prove(cases: Sequence[Case], testbed: Testbed, record: Record, show: Callable[[Outcome], None]) -> list[Outcome]:
    """The outcome of every case, in the order in which they came to an end. Ctrl-C ends it; what was proven is on record."""
    outcomes: list[Outcome] = []
    left = list(cases)
    for at_a_time in AT_A_TIME:
        again = []
        for outcome in _each(left, testbed, at_a_time):
            if _proves_nothing(outcome) and at_a_time != AT_A_TIME[-1]:
                again.append(outcome.case)
                continue
            outcomes.append(outcome)
            record.add(outcome)
            show(outcome)
        left = again
    return outcomes


def _each(cases: Sequence[Case], testbed: Testbed, at_a_time: int) -> Iterator[Outcome]:
    with ThreadPoolExecutor(at_a_time, thread_name_prefix="case") as pool, ended_by(testbed.stopping):
        running: set[Future[Outcome]] = {pool.submit(_tried, case, testbed) for case in cases}
        while running:
            done, running = wait(running, timeout=1, return_when=FIRST_COMPLETED)
            for future in done:
                yield future.result()


def _tried(case: Case, testbed: Testbed) -> Outcome:
    """An experiment that fails by itself has proven nothing, and says so."""
    if testbed.stopping.is_set():
        raise Stopped
    experiment = Experiment(case, testbed)
    try:
        return experiment.run()
    except Stopped:
        raise
    except Exception as error:
        reason = f"the experiment itself failed: {type(error).__name__}: {error}"
        return Outcome(case=case, order=experiment.number, ended="?", seconds=0.0, injected=0, happened=False, reasons=(reason,))


def _proves_nothing(outcome: Outcome) -> bool:
    """Its crash or its fault was not met, and nothing else is wrong: a breach stands, whether or not everything happened."""
    return not outcome.happened and all(reason.startswith("did not happen") for reason in outcome.reasons)


def judged_again(outcomes: Sequence[Outcome], testbed: Testbed) -> list[Outcome]:
    """Those that no longer hold now that everything is over: what landed, or woke up, after its order had been judged."""
    fallen = []
    for outcome in outcomes:
        if outcome.ok and (wrong := invariants.breaches(outcome.order, script_of(outcome.case, testbed.steps).ends)):
            fallen.append(replace(outcome, reasons=tuple(f"at the end: {what}" for what in wrong)))
    return fallen
