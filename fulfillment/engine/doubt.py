"""Doubt: the worker of a try is gone, or takes too long. The try may have had its effect, and the journal says so: in doubt, and never "failed"."""

from typing import Any

from fulfillment.engine.journal import move, save
from fulfillment.models import Saga, StepRecord, StepState

STOPPED = "The worker stopped before an answer came"


def put_in_doubt(saga: Saga, record: StepRecord, compensating: bool, columns: dict[str, Any]) -> None:
    """Under a new epoch: whoever may still run this try is fenced. ``columns``: what else changes on the record."""
    saga.epoch += 1
    state = StepState.COMPENSATION_IN_DOUBT if compensating else StepState.IN_DOUBT
    move(saga, record, state, **columns, claim=None, error_code="stopped", error_message=STOPPED, detail={"message": STOPPED})
    save(saga, epoch=saga.epoch)
