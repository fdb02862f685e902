"""The sentence of each state of a step, for operators and for everybody else, and what the step waits for in that state."""

from collections.abc import Callable

from fulfillment.models import StepRecord, StepState


def inside(record: StepRecord) -> str:
    """The last error, as a part of a sentence."""
    return record.error_message.rstrip(".")


def _waits(verb: str) -> Callable[[StepRecord], str]:
    def sentence(record: StepRecord) -> str:
        tries = record.compensation_tries if record.state.startswith("compensation") else record.tries
        why = f" ({inside(record)})" if record.error_message else ""
        return f"{record.name.capitalize()} {verb} after try {tries}{why}. It is tried again under the same key."

    return sentence


def plain(text: str) -> Callable[[StepRecord], str]:
    return lambda record: text.format(name=record.name.capitalize())


SENTENCES: dict[str, Callable[[StepRecord], str]] = {
    StepState.PENDING: plain("{name} waits for the steps before it."),
    StepState.SCHEDULED: plain("{name} may start: its message is on the way to a worker."),
    StepState.STARTED: plain("{name} is running."),
    StepState.REJECTED: plain("{name} was rejected for good: the order is about to be undone."),
    StepState.RETRY_WAIT: _waits("could not be tried"),
    StepState.IN_DOUBT: _waits("may or may not have happened"),
    StepState.SUCCEEDED: plain("{name} succeeded."),
    StepState.DONE_BY_HAND: plain("{name} happened, a person has said."),
    StepState.SKIPPED: plain("{name} was left out, a person has decided."),
    StepState.NOT_NEEDED: plain("{name} needs no undo."),
    StepState.COMPENSATION_PENDING: plain("The undo of {name} waits for the undos before it."),
    StepState.COMPENSATION_SCHEDULED: plain("The undo of {name} may start: its message is on the way to a worker."),
    StepState.COMPENSATION_STARTED: plain("The undo of {name} is running."),
    StepState.COMPENSATION_RETRY_WAIT: _waits("could not be undone"),
    StepState.COMPENSATION_IN_DOUBT: _waits("may or may not be undone"),
    StepState.COMPENSATION_FAILED: plain("The undo of {name} has failed; the undos before it go on."),
    StepState.COMPENSATED: plain("{name} is undone."),
    StepState.COMPENSATED_BY_HAND: plain("{name} was undone by hand, a person has said."),
}
# For whoever is no operator: no provider's error, no try, no key.
PUBLIC_COMPENSATION = "The order is being undone."
PUBLIC_END = "The order is about to end; it goes on by itself."
PUBLIC: dict[str, Callable[[StepRecord], str]] = {
    StepState.SCHEDULED: plain("{name} is next."),
    StepState.STARTED: plain("{name} is under way."),
    StepState.REJECTED: plain("{name} failed; the order is about to be undone."),
    StepState.RETRY_WAIT: plain("{name} takes longer than usual; it goes on by itself."),
    StepState.IN_DOUBT: plain("{name} takes longer than usual; it goes on by itself."),
}
BLOCKED: dict[str, str] = {
    StepState.SCHEDULED: "a worker",
    StepState.COMPENSATION_SCHEDULED: "a worker",
    StepState.STARTED: "the provider",
    StepState.COMPENSATION_STARTED: "the provider",
    StepState.RETRY_WAIT: "the provider",
    StepState.IN_DOUBT: "the provider",
    StepState.COMPENSATION_RETRY_WAIT: "the provider",
    StepState.COMPENSATION_IN_DOUBT: "the provider",
}

# Before an open circuit.
ASKED: dict[str, str] = {
    StepState.PENDING: ", and was never asked for there",
    StepState.IN_DOUBT: "; it may or may not have happened",
    StepState.COMPENSATION_IN_DOUBT: "; it may or may not have happened",
    StepState.STARTED: ": it is being asked for right now, to see whether the provider is back",
    StepState.COMPENSATION_STARTED: ": it is being asked for right now, to see whether the provider is back",
}
