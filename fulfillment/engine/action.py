"""An action is one step, or the compensation of one step. Both go through the same states, and the engine reads and writes both under the same names.

A step's record holds both in twin columns. This file alone knows which column belongs to which: nothing else in the engine asks for the direction to find one.
"""

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from fulfillment.errors import OUR_OWN
from fulfillment.models import StepRecord, StepState
from fulfillment.step import Receipt


class ActionState(StrEnum):
    """The states of an action, in either direction."""

    PENDING = "pending"
    SCHEDULED = "scheduled"
    STARTED = "started"
    RETRY_WAIT = "retry_wait"
    IN_DOUBT = "in_doubt"
    REJECTED = "rejected"
    SUCCEEDED = "succeeded"
    DONE_BY_HAND = "done_by_hand"
    LEFT_OUT = "left_out"


# State → how the record of a step calls it, and how the record calls it of a compensation.
STEP_STATES = {
    ActionState.PENDING: (StepState.PENDING, StepState.COMPENSATION_PENDING),
    ActionState.SCHEDULED: (StepState.SCHEDULED, StepState.COMPENSATION_SCHEDULED),
    ActionState.STARTED: (StepState.STARTED, StepState.COMPENSATION_STARTED),
    ActionState.RETRY_WAIT: (StepState.RETRY_WAIT, StepState.COMPENSATION_RETRY_WAIT),
    ActionState.IN_DOUBT: (StepState.IN_DOUBT, StepState.COMPENSATION_IN_DOUBT),
    ActionState.REJECTED: (StepState.REJECTED, StepState.COMPENSATION_FAILED),
    ActionState.SUCCEEDED: (StepState.SUCCEEDED, StepState.COMPENSATED),
    ActionState.DONE_BY_HAND: (StepState.DONE_BY_HAND, StepState.COMPENSATED_BY_HAND),
    ActionState.LEFT_OUT: (StepState.SKIPPED, StepState.NOT_NEEDED),
}
ACTIONS = {name: (state, bool(at)) for state, names in STEP_STATES.items() for at, name in enumerate(names)}
# Name → its column for a step ("": it has none), and for a compensation. Every other column is shared: the record has one current action.
COLUMNS = {
    "key": ("do_key", "compensation_key"),
    "attempt": ("do_attempt", "compensation_attempt"),
    "tries": ("tries", "compensation_tries"),
    "doubt": ("doubt", "compensation_doubt"),
    "scheduled_at": ("scheduled_at", "compensation_scheduled_at"),
    "asked_until": ("asked_until", "compensation_asked_until"),
    "receipt": ("receipt", "compensation_receipt"),
    "amount_minor": ("", "compensation_amount_minor"),
    "refused_at": ("", "compensation_refused_at"),
}
WAITING = (ActionState.RETRY_WAIT, ActionState.IN_DOUBT)
DONE = (ActionState.SUCCEEDED, ActionState.DONE_BY_HAND, ActionState.LEFT_OUT)
OVER = (*DONE, ActionState.REJECTED)  # a walk back goes on behind these


class Action:
    """A view of a record. ``state`` None: the record is about the other direction now."""

    name: str
    key: str
    attempt: int
    tries: int
    waits: int
    doubt: bool
    claim: UUID | None
    scheduled_at: datetime | None
    first_started_at: datetime | None
    started_at: datetime | None
    outcome_at: datetime | None
    asked_until: datetime | None
    receipt: Receipt | None
    error_code: str
    error_message: str
    evidence: str

    def __init__(self, record: StepRecord, is_compensation: bool) -> None:
        self.record, self.is_compensation = record, is_compensation

    def __getattr__(self, name: str) -> Any:
        return getattr(self.record, self._column(name))

    def _column(self, name: str) -> str:
        return COLUMNS[name][self.is_compensation] if name in COLUMNS else name

    @property
    def state(self) -> ActionState | None:
        state, of_compensation = _read(self.record)
        return state if of_compensation == self.is_compensation else None

    @property
    def amount_minor(self) -> int | None:
        """What a compensation is to give back."""
        return self.record.compensation_amount_minor if self.is_compensation else None

    @property
    def refused_at(self) -> datetime | None:
        """Since when the provider has refused this attempt for good."""
        if self.is_compensation:
            return self.record.compensation_refused_at
        return self.outcome_at if self.state == ActionState.REJECTED and self.error_code not in OUR_OWN else None

    @property
    def forward(self) -> "Action":
        """The step itself."""
        return Action(self.record, False)

    def columns(self, changes: dict[str, Any]) -> dict[str, Any]:
        """``changes`` by the names of the record's columns."""
        return {column: value for name, value in changes.items() if (column := self._column(name))}

    def named(self, state: ActionState) -> StepState:
        """How the history, the API and people call this state."""
        return STEP_STATES[state][self.is_compensation]


def current(record: StepRecord) -> Action:
    """What the record is about now."""
    return Action(record, _read(record)[1])


def _read(record: StepRecord) -> tuple[ActionState | None, bool]:
    return ACTIONS.get(StepState(record.state), (None, False)) if record.state in StepState.values else (None, False)
