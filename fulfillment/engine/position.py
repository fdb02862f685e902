"""The position of a saga: the one action that comes next. It is derived from the records and stored nowhere else."""

from fulfillment.engine.action import DONE, OVER, Action, ActionState
from fulfillment.engine.pinned_plan import is_pivot
from fulfillment.models import FINAL, Saga, SagaState


def steps(saga: Saga) -> list[Action]:
    """The steps, in the order in which they run."""
    return [Action(record, False) for record in saga.records.all()]


def compensations(saga: Saga) -> list[Action]:
    """The compensations, in the order in which they run: the last step's comes first."""
    return [Action(record, True) for record in reversed(saga.records.all())]


def walk(saga: Saga) -> list[Action]:
    """What is done one after the other, in the direction in which the saga goes."""
    return (compensations if saga.is_backward else steps)(saga)


def direction(compensating: bool) -> SagaState:
    """The state of a saga in which actions of this direction run."""
    return SagaState.COMPENSATING if compensating else SagaState.RUNNING


def current_action(saga: Saga) -> Action | None:
    """The action where a moving saga stands. None: the saga is closed, or waits for a person."""
    return standing(saga) if saga.state in (SagaState.RUNNING, SagaState.COMPENSATING) else None


def standing(saga: Saga) -> Action | None:
    """As ``current_action``, also for a saga that waits for a person. That one stands at the compensation that has failed. None: the saga is closed."""
    if saga.state in FINAL:
        return None
    over = OVER if saga.state == SagaState.COMPENSATING else DONE
    return next((action for action in walk(saga) if action.state not in over), None)


def cancel_is_due(saga: Saga) -> bool:
    """A cancel is recorded, and is honoured at the next border between steps. A saga that goes back already does nothing else because of it."""
    return saga.cancel_requested_at is not None and not saga.is_backward


def pivot_succeeded(saga: Saga) -> bool:
    """From here on the saga only goes forward."""
    return any(action.state in (ActionState.SUCCEEDED, ActionState.DONE_BY_HAND) and is_pivot(saga, action) for action in steps(saga))
