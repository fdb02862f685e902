"""The "Why?" sentence: where an order stands, since when, and what happens next; from the journal alone."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from fulfillment import engine
from fulfillment.models import Saga, SagaState, StepRecord, StepState
from orders.models import Order, Status


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """``next_at``: when the sweep looks at the latest; None once nothing is left to do."""

    sentence: str
    since: datetime | None
    next_at: datetime | None


def explain(order: Order) -> Explanation:
    """Why ``order`` is where it is. One query for the saga, one for its records."""
    saga = Saga.objects.filter(order=order).select_related("order").prefetch_related("records").first()
    if saga is None:
        return Explanation(sentence="The order has no saga: it was not placed through the shop.", since=order.placed_at, next_at=None)
    at = engine.border(saga)
    if at is None:
        return Explanation(sentence=_closed(saga), since=saga.closed_at, next_at=None)
    record, undo = at
    text = _SENTENCES[StepState(record.state)](record)
    if undo:
        text = f"The order is being undone ({_reason(saga)}). {text}"
    if saga.cancel_requested_at and not undo:
        text += " A cancel was requested and is honoured at the next step border."
    return Explanation(sentence=text, since=record.settled_at or record.started_at or record.granted_at, next_at=saga.wake_at)


def _closed(saga: Saga) -> str:
    if saga.state == SagaState.COMPLETED:
        return "Every step succeeded: the order is paid, reserved and shipped."
    undone = [record.name for record in reversed(list(saga.records.all())) if record.state == StepState.UNDONE]
    what = f"Undone in this order: {', '.join(undone)}." if undone else "Nothing had to be undone."
    return f"The order ended because {_reason(saga)}. {what}"


def _reason(saga: Saga) -> str:
    if saga.failure == Status.CANCELLED:
        return "it was cancelled"
    failed = saga.failure.removesuffix("_failed")
    record = next((r for r in saga.records.all() if r.name == failed), None)
    return f"{failed} was rejected" + (f": {record.error_message}" if record and record.error_message else "")


def _waits(verb: str) -> Callable[[StepRecord], str]:
    def sentence(record: StepRecord) -> str:
        tries = record.undo_tries if record.state.startswith("undo") else record.tries
        why = f" ({record.error_message})" if record.error_message else ""
        return f"{record.name.capitalize()} {verb} after try {tries}{why}. It is tried again under the same key."

    return sentence


def _plain(text: str) -> Callable[[StepRecord], str]:
    return lambda record: text.format(name=record.name.capitalize())


_SENTENCES: dict[StepState, Callable[[StepRecord], str]] = {
    StepState.PENDING: _plain("{name} waits for the steps before it."),
    StepState.GRANTED: _plain("{name} may start: its message is on the way to a worker."),
    StepState.STARTED: _plain("{name} is running."),
    StepState.REJECTED: _plain("{name} was rejected for good: the order is about to be undone."),
    StepState.RETRY_WAIT: _waits("could not be tried"),
    StepState.IN_DOUBT: _waits("may or may not have happened"),
    StepState.SUCCEEDED: _plain("{name} succeeded."),
    StepState.NOT_NEEDED: _plain("{name} needs no undo."),
    StepState.UNDO_PENDING: _plain("The undo of {name} waits for the undos before it."),
    StepState.UNDO_GRANTED: _plain("The undo of {name} may start: its message is on the way to a worker."),
    StepState.UNDO_STARTED: _plain("The undo of {name} is running."),
    StepState.UNDO_RETRY_WAIT: _waits("could not be undone"),
    StepState.UNDO_IN_DOUBT: _waits("may or may not be undone"),
    StepState.UNDONE: _plain("{name} is undone."),
}
