"""The run of a selection: some cases at a time, what did not happen once more, and every order looked at again when all is over."""

from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import replace

from config.proving import judging
from config.proving.cases import Case
from config.proving.record import Record
from config.proving.story import story_of
from config.proving.trial import Field, Outcome, Stopped, Trial, ended_by

AT_A_TIME = 8
TRIES = 3  # of a case whose crash or fault was not met, because a neighbour's crash came first: it proves nothing, so it is done again


def prove(
    cases: Sequence[Case], field: Field, record: Record, tell: Callable[[Outcome], None], at_a_time: int = AT_A_TIME
) -> list[Outcome]:
    """The outcome of every case, in the order in which they came to an end. Ctrl-C ends it; what was proven is on record."""
    outcomes: list[Outcome] = []
    with ThreadPoolExecutor(at_a_time, thread_name_prefix="case") as pool, ended_by(field.stopping):
        running: set[Future[Outcome]] = {pool.submit(_until_it_happens, case, field) for case in cases}
        while running:
            done, running = wait(running, timeout=1, return_when=FIRST_COMPLETED)
            for future in done:
                outcome = future.result()
                outcomes.append(outcome)
                record.add(outcome)
                tell(outcome)
    return outcomes


def _until_it_happens(case: Case, field: Field) -> Outcome:
    """A breach stands, whether or not everything happened."""
    for _ in range(TRIES):
        outcome = _tried(case, field)
        if outcome.happened or _is_breach(outcome):
            break
    return outcome


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


def _is_breach(outcome: Outcome) -> bool:
    return any(not reason.startswith("did not happen") for reason in outcome.reasons)


def looked_at_again(outcomes: Sequence[Outcome], field: Field) -> list[Outcome]:
    """Those that no longer hold now that everything is over: what landed, or woke up, after its order had been judged."""
    fallen = []
    for outcome in outcomes:
        if outcome.ok and (wrong := judging.breaches(outcome.order, story_of(outcome.case, field.steps).ends)):
            fallen.append(replace(outcome, reasons=tuple(f"at the end: {what}" for what in wrong)))
    return fallen
