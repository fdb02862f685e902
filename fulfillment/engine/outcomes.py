"""The outcome of a try: what a success, a rejection or a failure writes, and what is scheduled next, all in the caller's transaction."""

from typing import Any

from django.conf import settings

from fulfillment import circuit as circuits
from fulfillment import ledger
from fulfillment.clock import ShopNow, backoff_s, in_seconds, patience_s
from fulfillment.engine.attempt_keys import nothing_was_sent, refusal_of
from fulfillment.engine.budget import tries_spent
from fulfillment.engine.circuit_holds import ANSWERS_AGAIN, hold, release, was_answered
from fulfillment.engine.claim import Claim, Recorded
from fulfillment.engine.compensation import park_compensation, schedule_next_compensation, turn_back
from fulfillment.engine.database_trouble import goes_on
from fulfillment.engine.differing_answers import fix_anew, record_difference
from fulfillment.engine.journal import append_entry, move, record_of, save
from fulfillment.engine.launch import launch_of
from fulfillment.engine.pinned_plan import is_newer, is_pivot, step_of
from fulfillment.engine.progress import schedule_next
from fulfillment.errors import LAG, Busy, Changed, CircuitSignal, Differs, InDoubt, Rejected, StepError, Throttled
from fulfillment.ledger import LedgerEntry
from fulfillment.models import Saga, StepRecord, StepState
from fulfillment.step import Receipt
from orders.timeline import EntryKind


def succeed(saga: Saga, name: str, receipt: Receipt | None, compensating: bool) -> Recorded:
    """The step (or its compensation) is done, its money is in our ledger, and what comes next is scheduled; or the saga turns back, because of a cancel."""
    record = record_of(saga, name)
    goes_on(saga, record)
    if saga.held_by:
        release(saga, record, ANSWERS_AGAIN)
    saga.relaunches = 0
    recorded: dict[str, Any] = {
        "tries": record.tries,
        "compensation_tries": record.compensation_tries,
        "waits": 0,
        "claim": None,
        "outcome_at": ShopNow(),
    }
    recorded |= {"error_code": "", "error_message": ""}
    if compensating:
        _enter_refund(saga, record, receipt)
        move(saga, record, StepState.COMPENSATED, **recorded, compensation_receipt=receipt)
        schedule_next_compensation(saga)
        return Recorded(mine=True)
    if receipt and (amount := receipt.get("amount_minor")):
        ledger.enter(saga.order_id, name, LedgerEntry.Operation.CAPTURED, record.do_key, amount)
    move(saga, record, StepState.SUCCEEDED, **recorded, receipt=receipt)
    if saga.cancel_requested_at and is_pivot(saga, record):
        save(saga, cancel_requested_at=None)
        append_entry(saga, EntryKind.CANCEL, to_state="too_late")
    if saga.cancel_requested_at and is_newer(saga):
        save(saga, wake_at=ShopNow())  # a newer process turns it back
        return Recorded(mine=True)
    if saga.cancel_requested_at:
        turn_back(saga)
        return Recorded(mine=True, turned=launch_of(saga))
    schedule_next(saga)
    return Recorded(mine=True)


def _enter_refund(saga: Saga, record: StepRecord, receipt: Receipt | None) -> None:
    """Enter what a compensation gave back. A blind one may give back what was never known to be captured: then the capture is entered too."""
    amount = (receipt or {}).get("amount_minor") or 0
    if (receipt or {}).get("currency", saga.order.currency) != saga.order.currency:
        return  # of a charge in another currency, which was never entered
    if amount > ledger.remaining(saga.order_id, record.name):
        ledger.enter(saga.order_id, record.name, LedgerEntry.Operation.CAPTURED, record.do_key, amount)
    if amount:
        ledger.enter(saga.order_id, record.name, LedgerEntry.Operation.REFUNDED, record.compensation_key, amount)


def fail(saga: Saga, claim: Claim, error: StepError) -> Recorded:
    """A try has not succeeded: the state says how, the budget counts it, and the saga is due after a back-off; or waits before a circuit, or for a person."""
    if isinstance(error, Differs) and not is_newer(saga):  # else in doubt: newer code asks again under the same key, and judges for itself
        return record_difference(saga, claim, error)
    record, compensating = record_of(saga, claim.name), claim.compensating
    goes_on(saga, record)
    failed = _record_for_circuit(saga, claim, error)
    state = state_after(error, compensating)
    waits_only, doubt = isinstance(error, Busy | Throttled), isinstance(error, InDoubt)
    tries = claim.tries - (waits_only or not failed.spends)
    waits = record.waits + 1 if waits_only else 0
    counted: dict[str, Any] = {"compensation_tries": tries} if compensating else {"tries": tries}
    counted |= {"compensation_doubt": record.compensation_doubt or doubt} if compensating else {"doubt": record.doubt or doubt}
    counted |= refusal_of(error) if compensating else {}
    counted |= nothing_was_sent(claim, record) if error.code == LAG else {}
    error_columns: dict[str, Any] = {"error_code": error.code, "error_message": str(error), "detail": {"message": str(error)}}
    move(saga, record, state, **counted, waits=waits, claim=None, outcome_at=ShopNow(), **error_columns)
    if isinstance(error, Changed):
        fix_anew(saga, record, f"{record.compensation_key}:elsewhere", error.given_back_minor)
    if state is StepState.COMPENSATION_FAILED:
        saga.relaunches = 0
        return park_compensation(saga, record)
    if failed.circuit is not None:
        hold(saga, record, failed.circuit)
        return Recorded(mine=True)
    wait_s = max(_wait_s(saga, record, compensating, max(tries, waits)), _asked_to_wait_s(error))
    save(saga, relaunches=0, wake_at=in_seconds(wait_s))
    return Recorded(mine=True)


def _record_for_circuit(saga: Saga, claim: Claim, error: StepError) -> circuits.Failed:
    if error.signal is CircuitSignal.SUCCESS:
        was_answered(saga, claim)
        return circuits.Failed(spends=True, circuit=None)
    return circuits.failed(claim.circuit, claim.order, claim.saga, str(error), counts=error.signal is CircuitSignal.FAILURE)


def _asked_to_wait_s(error: StepError) -> float:
    """Seconds for which a provider has asked us to wait, or in which something may still land. Never longer than anything else may wait."""
    return min(error.retry_after_s, settings.PATIENCE_CAP_S)


def _wait_s(saga: Saga, record: StepRecord, compensating: bool, tries: int) -> float:
    """Seconds. A rejection waits for its errback. What is spent or cancelled is due at once. Everything else backs off."""
    if record.state == StepState.REJECTED:
        return patience_s(0)
    due = (saga.cancel_requested_at and not compensating) or tries_spent(step_of(saga, record.name), record, compensating)
    return 0.0 if due else backoff_s(tries)


def state_after(error: StepError, compensating: bool) -> StepState:
    """A rejected compensation is final too: only a person may end it otherwise."""
    if isinstance(error, Rejected):
        return StepState.COMPENSATION_FAILED if compensating else StepState.REJECTED
    if isinstance(error, InDoubt):
        return StepState.COMPENSATION_IN_DOUBT if compensating else StepState.IN_DOUBT
    return StepState.COMPENSATION_RETRY_WAIT if compensating else StepState.RETRY_WAIT
