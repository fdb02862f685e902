"""Tries that are spent."""

from fulfillment import engine
from fulfillment.errors import StepError
from fulfillment.models import StepRecord, StepState
from tests.fulfillment.conftest import now_due
from tests.fulfillment.driving import found, record

PAID = {"charge_id": "ch_1", "amount_minor": 100}


def tried(saga: int, name: str, error: StepError, compensating: bool = False) -> None:
    """One start, and its failure."""
    claim = engine.start(saga, found(saga).epoch, name, compensating)
    assert claim is not None, record(saga, name).state
    assert engine.record_failure(claim, error).mine
    now_due(saga)


def paid_and_refused(saga: int) -> None:
    """Payment succeeded, stock was short: the compensation of payment is scheduled."""
    claim = engine.start(saga, 1, "payment", compensating=False)
    assert claim is not None
    engine.record_success(claim, PAID)
    StepRecord.objects.filter(saga=saga, name="inventory").update(state=StepState.REJECTED, error_message="MUG is out of stock")
    assert engine.chain_stopped(saga, 1) is not None
