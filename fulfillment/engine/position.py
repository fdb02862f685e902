"""The position of a saga: the one step, or the one compensation, that comes next. It is derived from the records and stored nowhere else."""

from fulfillment.engine.pinned_plan import is_pivot
from fulfillment.engine.step_states import COMPENSATED, COMPENSATION_OVER, DONE
from fulfillment.models import FINAL, Saga, SagaState, StepRecord, StepState


def border(saga: Saga) -> tuple[StepRecord, bool] | None:
    """The record where a moving saga stands, and whether it is to be compensated. None: the saga is closed, or waits for a person."""
    if saga.state not in (SagaState.RUNNING, SagaState.COMPENSATING):
        return None
    return standing(saga)


def standing(saga: Saga) -> tuple[StepRecord, bool] | None:
    """As ``border``, also for a saga that waits for a person. That one stands at the compensation that has failed. None: the saga is closed."""
    records = list(saga.records.all())
    if saga.state in FINAL:
        return None
    if not saga.is_backward:
        return next(((record, False) for record in records if record.state not in DONE), None)
    over = COMPENSATED if saga.state == SagaState.NEEDS_ATTENTION else COMPENSATION_OVER
    return next(((record, True) for record in reversed(records) if record.state not in over), None)


def pivot_succeeded(saga: Saga) -> bool:
    """From here on the saga only goes forward."""
    return any(record.state in (StepState.SUCCEEDED, StepState.DONE_BY_HAND) and is_pivot(saga, record) for record in saga.records.all())
