"""The state machines of docs/design.md as Mermaid diagrams. Each is drawn from the place where its moves stand, so that no move is typed twice.

The moves of an order stand at its status. Those of a saga and of a step stand in the model of the journal, on which the simulation replays whatever the engine
does. Those of a delivery and of a circuit stand in the tables of docs/semantics.md.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise, product
from pathlib import Path

from django.db.models import TextChoices

from fulfillment.circuit import CircuitState
from fulfillment.models import SagaState, StepState
from orders.models import Status
from sideeffects.models import DeliveryState
from tests.proofs.model.saga_journal import KINDS, Projection, journal_of, successors
from tests.proofs.model.saga_state import Journal

DOCS = Path(__file__).resolve().parents[2] / "docs"
RENEW = 'python manage.py shell -v 0 -c "from tests.architecture import diagrams; diagrams.renew()"'
MARKED = re.compile(r"(<!-- diagram: (\w+) -->\n)(.*?)(<!-- end of diagram -->)", re.DOTALL)
NOTHING = "[*]"  # where there is no row yet
VERB = "verb: "
ENTERED_FROM = {
    SagaState.COMPLETED: SagaState.RUNNING,
    SagaState.COMPENSATED: SagaState.COMPENSATING,
}  # perhaps in one commit with the move before
STATES = list(StepState)
MARKED_FOR_COMPENSATION = STATES[STATES.index(StepState.NOT_NEEDED) + 1]
FORWARD = frozenset(STATES[: STATES.index(MARKED_FOR_COMPENSATION)])

Move = tuple[str, str]
Moves = dict[Move, str]  # with who makes it, where that is a person alone


def of_an_order() -> Moves:
    moves = {(was.value, to.value): "" for was, targets in Status.legal_moves().items() for to in targets}
    return {(NOTHING, Status.PLACED.value): "", **moves}


def of_a_saga() -> Moves:
    by_a_person: dict[Move, list[bool]] = defaultdict(list)
    for name, was, now in transitions():
        if was.saga != now.saga:
            by_a_person[ENTERED_FROM.get(SagaState(now.saga), was.saga), now.saga].append(name.startswith(VERB))
    return {(NOTHING, Journal().saga): ""} | {move: "a person" if all(by) else "" for move, by in by_a_person.items()}


def of_a_step() -> Moves:
    """Without what a person decides: a verb may find a step in almost any state."""
    moves = {(NOTHING, record.state) for record in Journal().steps}
    for name, was, now in transitions():
        if not name.startswith(VERB):
            for (old, _), (new, _) in zip(was.steps, now.steps, strict=True):
                moves.update(_marked_first(old, new) if old != new else ())
    return dict.fromkeys(moves, "")


def _marked_first(old: str, new: str) -> tuple[Move, ...]:
    """Turning back marks what is to be compensated, and schedules the first of it in the same commit."""
    if old in FORWARD and new not in FORWARD and new != MARKED_FOR_COMPENSATION:
        return (old, MARKED_FOR_COMPENSATION), (MARKED_FOR_COMPENSATION, new)
    return ((old, new),)


def transitions() -> Iterator[tuple[str, Projection, Projection]]:
    """Whatever an order can do by the transitions that the simulation must have seen. Epochs are left out: they only grow."""
    fresh = Journal()
    first = Projection(fresh.saga, 0, False, False, tuple((record.state, record.doubt) for record in fresh.steps))
    reached, left = {first}, [first]
    while left:
        was = left.pop()
        for name, legal in (found for keeps_rejections in (True, False) for found in successors(was, keeps_rejections)):
            now = legal._replace(epoch=0)
            if name in KINDS:
                yield name, was, now
                left.extend({now} - reached)
                reached.add(now)


def table(heading: str, states: type[TextChoices]) -> Moves:
    """The moves in the first column of a section of docs/semantics.md: ``a, b → c; d → e``."""
    section = (DOCS / "semantics.md").read_text().partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    moves: Moves = {}
    for cell in re.findall(r"^\| ([^|]*→[^|]*) \|", section, re.MULTILINE):
        for group in cell.replace("(nothing)", NOTHING).split(";"):
            for olds, news in pairwise(group.split("→")):
                moves |= dict.fromkeys(product(_named(olds, states), _named(news, states)), "")
    return moves


def _named(text: str, states: type[TextChoices]) -> list[str]:
    return [word for word in re.findall(r"\w+|\[\*\]", text) if word in (*states.values, NOTHING)]


@dataclass(frozen=True, kw_only=True)
class Machine:
    """``heading``: of its table in docs/semantics.md; an order has none."""

    states: type[TextChoices]
    moves: Callable[[], Moves]
    heading: str = ""

    @property
    def table(self) -> Moves:
        return table(self.heading, self.states)

    def meant(self, state: str) -> list[str]:
        """The model has one name for two states that differ only in why they wait."""
        if state in (*self.states.values, NOTHING):
            return [state]
        return [one for one in self.states.values if _in_the_model(one) == state]

    def draw(self) -> str:
        moves = self.moves()
        places = {state: place for place, state in enumerate((NOTHING, *self.states.values))}

        def place(move: Move) -> list[int]:
            return [places[self.meant(state)[0]] for state in move]

        two = sorted({state for move in moves for state in move if len(self.meant(state)) > 1})
        named = [f'    state "{" or ".join(self.meant(state))}" as {state}' for state in two]
        arrows = [f"    {was} --> {to}{f': {moves[was, to]}' if moves[was, to] else ''}" for was, to in sorted(moves, key=place)]
        return "\n".join(["```mermaid", "stateDiagram-v2", *named, *arrows, "```", ""])


def _in_the_model(state: str) -> str:
    return journal_of(Projection(Journal().saga, 0, False, False, ((state, False),))).steps[0].state


MACHINES = {
    "order": Machine(states=Status, moves=of_an_order),
    "saga": Machine(states=SagaState, moves=of_a_saga, heading="Saga"),
    "step": Machine(states=StepState, moves=of_a_step, heading="Step record"),
    "delivery": Machine(states=DeliveryState, moves=lambda: table("Deliveries", DeliveryState), heading="Deliveries"),
    "circuit": Machine(states=CircuitState, moves=lambda: table("Circuits", CircuitState), heading="Circuits"),
}


def shown() -> dict[str, str]:
    """The diagrams as they stand in the docs."""
    return {name: diagram for page in DOCS.glob("*.md") for _, name, diagram, _ in MARKED.findall(page.read_text())}


def renew() -> None:
    """Draw every diagram anew, between its markers."""
    for page in DOCS.glob("*.md"):
        text = page.read_text()
        page.write_text(MARKED.sub(lambda found: f"{found[1]}{MACHINES[found[2]].draw()}{found[4]}", text))
