"""Differing answers: a provider has done something else than it was asked for. What our ledger can hold is entered, and compensated as what it was.

What the ledger cannot hold is a person's to decide.
"""

from typing import Any

from fulfillment import ledger
from fulfillment.answer_checks import PARTLY_GIVEN_BACK
from fulfillment.clock import ShopNow, backoff_s, in_seconds
from fulfillment.engine.attempt_keys import next_compensation
from fulfillment.engine.circuit_holds import was_answered
from fulfillment.engine.claim import Claim, Recorded
from fulfillment.engine.compensation import park_compensation, turn_back
from fulfillment.engine.database_trouble import goes_on
from fulfillment.engine.escalation import park
from fulfillment.engine.journal import change, move, record_of, save
from fulfillment.engine.launch import launch_of
from fulfillment.engine.position import pivot_succeeded
from fulfillment.errors import Differs
from fulfillment.ledger import LedgerEntry
from fulfillment.models import Saga, StepRecord, StepState
from orders.incidents import IncidentKind


def record_difference(saga: Saga, claim: Claim, error: Differs) -> Recorded:
    """Record the outcome of a try whose answer differs from what was asked for. For the circuit it is an answer: the provider works."""
    record = record_of(saga, claim.name)
    goes_on(saga, record)
    was_answered(saga, claim)
    columns: dict[str, Any] = {"error_code": error.code, "error_message": str(error), "detail": {"message": str(error)}}
    columns |= {"claim": None, "waits": 0, "outcome_at": ShopNow()}
    return (_compensate if claim.compensating else _do)(saga, record, error, columns)


def _do(saga: Saga, record: StepRecord, error: Differs, columns: dict[str, Any]) -> Recorded:
    """The step took place, so it is compensated as what it was. Where nobody can tell what it was, or the pivot has succeeded, a person decides."""
    if error.amount_minor is None or pivot_succeeded(saga):
        move(saga, record, StepState.IN_DOUBT, doubt=True, **columns)
        park(saga, IncidentKind.IN_DOUBT, record, error.code, str(error))
        return Recorded(mine=True)
    ledger.enter(saga.order_id, record.name, LedgerEntry.Operation.CAPTURED, record.do_key, error.amount_minor)
    move(saga, record, StepState.SUCCEEDED, receipt=error.receipt, **columns)
    turn_back(saga, str(error), record)
    return Recorded(mine=True, turned=launch_of(saga))


def _compensate(saga: Saga, record: StepRecord, error: Differs, columns: dict[str, Any]) -> Recorded:
    """Where a part was given back, the rest is asked for. Anything else is a person's. Whoever tries again asks first what is left."""
    if error.amount_minor is not None:
        _take_receipt(saga, record, error)
    if error.code != PARTLY_GIVEN_BACK:
        _enter_refund(saga, record, record.compensation_key, error.amount_minor or 0)
        move(saga, record, StepState.COMPENSATION_FAILED, compensation_doubt=True, **columns)
        return park_compensation(saga, record)
    move(saga, record, StepState.COMPENSATION_IN_DOUBT, **columns)
    fix_anew(saga, record, record.compensation_key, error.amount_minor or 0, compensation_doubt=True)
    save(saga, relaunches=0, wake_at=in_seconds(backoff_s(record.compensation_tries)))
    return Recorded(mine=True)


def _take_receipt(saga: Saga, record: StepRecord, error: Differs) -> None:
    """A blind compensation has found what it compensates: from here on its receipt is known."""
    found = error.receipt
    if record.receipt is None and found:
        ledger.enter(saga.order_id, record.name, LedgerEntry.Operation.CAPTURED, record.do_key, found["amount_minor"])
        change(record, receipt=found)


def fix_anew(saga: Saga, record: StepRecord, key: str, given_back_minor: int, *, compensation_doubt: bool = False) -> None:
    """A part was given back under ``key``. The rest is a new attempt: amount and key are fixed together again."""
    _enter_refund(saga, record, key, given_back_minor)
    fixed = next_compensation(saga, record, ledger.remaining(saga.order_id, record.name))
    change(record, **fixed, compensation_doubt=compensation_doubt)


def _enter_refund(saga: Saga, record: StepRecord, key: str, amount_minor: int) -> None:
    ledger.enter(saga.order_id, record.name, LedgerEntry.Operation.REFUNDED, key, amount_minor)
