"""What is seen after each move: every change is replayed on the model, and what must always hold does."""

from tests.proofs.simulation import invariants, journal
from tests.proofs.simulation.history_state import HistoryState
from tests.proofs.simulation.journal import Seen


def observe(state: HistoryState, move: str) -> None:
    """Adds a breach for what does not hold."""
    commits = state.equipment.commits
    if not commits.wrote and move != "crash":
        state.breach(invariants.always(state.seen, state.provider))
        return
    before, after = state.seen, journal.read(state.saga)
    if (before.saga, before.records) != (after.saga, after.records) and move != "crash":
        if move == "look up":
            state.breach("who only asked the provider has changed the order")
        state.past = [*state.past, before] if commits.may_be_lost else []
        _conforms(state, before, after)
        state.breach(state.clocks.see(before, after, move))
    state.seen = after
    state.breach(invariants.always(after, state.provider))


def _conforms(state: HistoryState, before: Seen, after: Seen) -> None:
    """The model knows this change."""
    was, now = before.projection(), after.projection()
    if was == now:
        return
    name = invariants.transition(was, now, state.provider.capabilities)
    if name is None:
        state.breach(f"the model has no such transition: {was} → {now}")
    else:
        state.verdict.transitions[name] += 1
