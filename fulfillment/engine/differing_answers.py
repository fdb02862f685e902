"""Differing answers: a provider has done something else than it was asked for. What our ledger can hold is entered, and compensated as what it was.

What the ledger cannot hold is a person's to decide.
"""

from typing import Any

from fulfillment import ledger
from fulfillment.answer_checks import PARTLY_GIVEN_BACK
from fulfillment.clock import ShopNow, backoff_s, in_seconds
from fulfillment.engine import public_events
from fulfillment.engine.action import Action, ActionState
from fulfillment.engine.attempt_keys import next_compensation
from fulfillment.engine.circuit_holds import was_answered
from fulfillment.engine.claim import Claim, Recorded, action_of
from fulfillment.engine.compensation import park_compensation, turn_back
from fulfillment.engine.database_trouble import goes_on
from fulfillment.engine.escalation import park
from fulfillment.engine.journal import because, change, move, save
from fulfillment.engine.launch import launch_of
from fulfillment.engine.position import pivot_succeeded
from fulfillment.errors import Differs
from fulfillment.ledger import LedgerEntry
from fulfillment.models import Saga
from orders.incidents import IncidentKind


def record_difference(saga: Saga, claim: Claim, error: Differs) -> Recorded:
    """Record the outcome of a try whose answer differs from what was asked for. For the circuit it is an answer: the provider works."""
    action = action_of(saga, claim)
    goes_on(saga, action)
    was_answered(saga, claim)
    columns = because(error.code, str(error)) | {"claim": None, "waits": 0, "outcome_at": ShopNow()}
    return (_compensate if action.is_compensation else _do)(saga, action, error, columns)


def _do(saga: Saga, action: Action, error: Differs, columns: dict[str, Any]) -> Recorded:
    """The step took place, so it is compensated as what it was. Where nobody can tell what it was, or the pivot has succeeded, a person decides."""
    if error.amount_minor is None or pivot_succeeded(saga):
        move(saga, action, ActionState.IN_DOUBT, doubt=True, **columns)
        park(saga, IncidentKind.IN_DOUBT, action, error.code, str(error))
        return Recorded(mine=True)
    ledger.enter(saga.order_id, action.name, LedgerEntry.Operation.CAPTURED, action.key, error.amount_minor)
    move(saga, action, ActionState.SUCCEEDED, receipt=error.receipt, **columns)
    turn_back(saga, str(error), action)
    return Recorded(mine=True, turned=launch_of(saga))


def _compensate(saga: Saga, action: Action, error: Differs, columns: dict[str, Any]) -> Recorded:
    """Where a part was given back, the rest is asked for. Anything else is a person's. Whoever tries again asks first what is left."""
    if error.amount_minor is not None:
        _take_receipt(saga, action.forward, error)
    if error.code != PARTLY_GIVEN_BACK:
        _enter_refund(saga, action, action.key, error.amount_minor or 0)
        move(saga, action, ActionState.REJECTED, doubt=True, **columns)
        return park_compensation(saga, action)
    move(saga, action, ActionState.IN_DOUBT, **columns)
    fix_anew(saga, action, action.key, error.amount_minor or 0, doubt=True)
    save(saga, relaunches=0, wake_at=in_seconds(backoff_s(action.tries)))
    return Recorded(mine=True)


def _take_receipt(saga: Saga, step: Action, error: Differs) -> None:
    """A blind compensation has found what it compensates: from here on its receipt is known."""
    found = error.receipt
    if step.receipt is None and found:
        ledger.enter(saga.order_id, step.name, LedgerEntry.Operation.CAPTURED, step.key, found["amount_minor"])
        change(step, receipt=found)


def fix_anew(saga: Saga, action: Action, key: str, given_back_minor: int, *, doubt: bool = False) -> None:
    """A part was given back under ``key``. The rest is a new attempt: amount and key are fixed together again."""
    _enter_refund(saga, action, key, given_back_minor)
    fixed = next_compensation(saga, action, ledger.remaining(saga.order_id, action.name))
    change(action, **fixed, doubt=doubt)


def _enter_refund(saga: Saga, action: Action, key: str, amount_minor: int) -> None:
    ledger.enter(saga.order_id, action.name, LedgerEntry.Operation.REFUNDED, key, amount_minor)
    if amount_minor:
        public_events.step_compensated(saga, action, {"amount_minor": amount_minor})
