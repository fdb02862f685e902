"""What there is to prove: every boundary × every step and direction × every fault × every way to die, as far as it is sensible.

A case dies (or hangs) once at its boundary, and its provider lies once about the step and direction that it names. All of it comes from the code: a
newcomer's step takes part as soon as it stands in ``STEPS``.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

from fulfillment.crashpoints import BOUNDARIES
from fulfillment.step import Kind, Step
from tests.proofs.crash_matrix.proxy import FAULTS as PROXIED

NONE, FORGOTTEN, REFUSED_ONCE = "none", "rejection_not_kept", "refused_once"
OTHER_AMOUNT, OTHER_CURRENCY, NOTHING_TAKEN, REFUNDED_OUTSIDE = "other_amount", "other_currency", "nothing_taken", "refunded_outside"
SCRIPTED = {  # only the sandbox can be made to do so
    FORGOTTEN: "rejected for good by a provider that does not keep its rejections",
    REFUSED_ONCE: "rejected by a provider that keeps its rejections, and would do it under another key; a person lets it be tried again",
    OTHER_AMOUNT: "less is taken, or given back at first, than was asked for",
    OTHER_CURRENCY: "taken in another currency",
    NOTHING_TAKEN: "answered as a success that has taken nothing",
    REFUNDED_OUTSIDE: "done and not answered, then refunded at the provider's own pages; and a person says that it happened",
}
OF_MONEY = {
    REFUSED_ONCE: ("compensate",),
    OTHER_AMOUNT: ("do", "compensate"),
    OTHER_CURRENCY: ("do",),
    NOTHING_TAKEN: ("do",),
    REFUNDED_OUTSIDE: ("do",),
}
PINNED = (FORGOTTEN, REFUNDED_OUTSIDE)  # met at one provider of the sandbox; the API lets nobody choose one
FAULTS = {NONE: "the provider is well", **PROXIED, **SCRIPTED}
ACTIONS = {
    "kill": "SIGKILL to the process that reaches the boundary",
    "kill_worker": "SIGKILL to its whole process group",
    "stop": "SIGSTOP, until its lease is over; then it goes on as a zombie",
}
AROUND_A_CALL = ("after_start", "before_call", "after_call")  # a local step has no call and no start of its own
WHOLE_CHAIN = ("open", "launch")  # crash points that belong to no step


@dataclass(frozen=True)
class Case:
    boundary: str
    direction: str
    step: str
    fault: str
    action: str

    @property
    def name(self) -> str:
        """Stable: what a case is called today finds it tomorrow."""
        return ".".join((self.boundary, self.direction, self.step, self.fault, self.action))

    @property
    def target(self) -> tuple[str, str]:
        return self.direction, self.step

    @property
    def is_compensation(self) -> bool:
        return self.direction == "compensate"

    def crash_file(self, order: str) -> str:
        """The file that arms its boundary for one order; an opening has no number yet."""
        if self.boundary == "open":
            return "open.any.any.any"
        step = "any" if self.boundary in WHOLE_CHAIN else self.step
        return ".".join((self.boundary, self.direction, step, order))


def sensible_cases(steps: Sequence[Step], sandboxed: Sequence[str]) -> list[Case]:
    """Every case that can happen, in a stable order. ``sandboxed``: the roles that the sandbox plays, whose rejections can be scripted."""
    return [
        Case(boundary, direction, step.name, fault, action)
        for step, direction in targets(steps)
        for boundary, fault, action in product(BOUNDARIES, FAULTS, ACTIONS)
        if _happens(step, direction, steps, boundary, fault, sandboxed)
    ]


def targets(steps: Sequence[Step]) -> Iterator[tuple[Step, str]]:
    """Each step in both directions. What stands after the pivot is never compensated."""
    past_pivot = False
    for step in steps:
        yield step, "do"
        if not past_pivot:
            yield step, "compensate"
        past_pivot = past_pivot or step.kind is Kind.PIVOT


def _happens(step: Step, direction: str, steps: Sequence[Step], boundary: str, fault: str, sandboxed: Sequence[str]) -> bool:
    if step.local:
        return fault == NONE and boundary not in AROUND_A_CALL
    if fault in SCRIPTED:
        can_be_scripted = step.role in sandboxed and step is first_of(step.role, steps)
        return can_be_scripted and _is_met(step, direction, boundary, fault)
    return True


def _is_met(step: Step, direction: str, boundary: str, fault: str) -> bool:
    """A call that raises has no boundary after it; of a refund in parts, or after a refusal, the last one is a success."""
    if boundary == "open" and fault in PINNED:
        return False
    if boundary == "after_call" and not (direction == "compensate" and fault in (OTHER_AMOUNT, REFUSED_ONCE)):
        return False
    return fault not in OF_MONEY or (step.role == "payments" and direction in OF_MONEY[fault])


def first_of(role: str, steps: Sequence[Step]) -> Step | None:
    """The first step that asks this provider: the one that a scripted rejection meets."""
    return next((step for step in steps if step.role == role), None)
