"""The outcome of a try: what a success, a rejection or a failure writes, and what is scheduled next, all in the caller's transaction."""

from typing import Any

from django.conf import settings

from fulfillment import circuit as circuits
from fulfillment import ledger
from fulfillment.clock import ShopNow, backoff_s, in_seconds, patience_s
from fulfillment.engine import public_events
from fulfillment.engine.action import Action, ActionState
from fulfillment.engine.attempt_keys import nothing_was_sent, refusal_of
from fulfillment.engine.budget import tries_spent
from fulfillment.engine.circuit_holds import ANSWERS_AGAIN, hold, release, was_answered
from fulfillment.engine.claim import Claim, Recorded, action_of
from fulfillment.engine.compensation import park_compensation, turn_back
from fulfillment.engine.database_trouble import goes_on
from fulfillment.engine.differing_answers import fix_anew, record_difference
from fulfillment.engine.journal import append_entry, because, move, save
from fulfillment.engine.launch import launch_of
from fulfillment.engine.pinned_plan import is_newer, is_pivot
from fulfillment.engine.position import cancel_is_due
from fulfillment.engine.progress import schedule_next
from fulfillment.errors import LAG, Busy, Changed, CircuitSignal, Differs, InDoubt, Rejected, StepError, Throttled
from fulfillment.ledger import LedgerEntry
from fulfillment.models import Saga
from fulfillment.step import Receipt
from orders.timeline import EntryKind


def succeed(saga: Saga, action: Action, receipt: Receipt | None, tries: int) -> Recorded:
    """The action is done, its money is in our ledger, and what comes next is scheduled; or the saga turns back, because of a cancel."""
    goes_on(saga, action)
    if saga.held_by:
        release(saga, action, ANSWERS_AGAIN)
    saga.relaunches = 0
    (_enter_given_back if action.is_compensation else _enter_capture)(saga, action, receipt or {})
    over: dict[str, Any] = {"tries": tries, "waits": 0, "claim": None, "outcome_at": ShopNow(), "error_code": "", "error_message": ""}
    move(saga, action, ActionState.SUCCEEDED, **over, receipt=receipt)
    (public_events.step_compensated if action.is_compensation else public_events.step_succeeded)(saga, action, receipt)
    if cancel_is_due(saga):
        return _meet_cancel(saga, action)
    schedule_next(saga)
    return Recorded(mine=True)


def _meet_cancel(saga: Saga, step: Action) -> Recorded:
    """The step has succeeded, and a cancel is recorded. After the pivot it was too late. Else the saga turns back."""
    if is_pivot(saga, step):
        save(saga, cancel_requested_at=None)
        append_entry(saga, EntryKind.CANCEL, to_state="too_late")
        schedule_next(saga)
        return Recorded(mine=True)
    if is_newer(saga):
        save(saga, wake_at=ShopNow())  # a newer process turns it back
        return Recorded(mine=True)
    turn_back(saga)
    return Recorded(mine=True, turned=launch_of(saga))


def _enter_capture(saga: Saga, action: Action, receipt: Receipt) -> None:
    if amount := receipt.get("amount_minor"):
        ledger.enter(saga.order_id, action.name, LedgerEntry.Operation.CAPTURED, action.key, amount)


def _enter_given_back(saga: Saga, action: Action, receipt: Receipt) -> None:
    """Enter what a compensation gave back. A blind one may give back what was never known to be captured: then the capture is entered too."""
    amount = receipt.get("amount_minor") or 0
    if receipt.get("currency", saga.order.currency) != saga.order.currency:
        return  # of a charge in another currency, which was never entered
    if amount > ledger.remaining(saga.order_id, action.name):
        ledger.enter(saga.order_id, action.name, LedgerEntry.Operation.CAPTURED, action.forward.key, amount)
    if amount:
        ledger.enter(saga.order_id, action.name, LedgerEntry.Operation.REFUNDED, action.key, amount)


def fail(saga: Saga, claim: Claim, error: StepError) -> Recorded:
    """A try has not succeeded: the state says how, the budget counts it, and the saga is due after a back-off; or waits before a circuit, or for a person."""
    if isinstance(error, Differs) and not is_newer(saga):  # else in doubt: newer code asks again under the same key, and judges for itself
        return record_difference(saga, claim, error)
    action = action_of(saga, claim)
    goes_on(saga, action)
    failed = _record_for_circuit(saga, claim, error)
    state = state_after(error)
    waits_only = isinstance(error, Busy | Throttled)
    tries = claim.tries - (waits_only or not failed.spends)
    waits = action.waits + 1 if waits_only else 0
    counted: dict[str, Any] = {"tries": tries, "waits": waits, "doubt": action.doubt or isinstance(error, InDoubt), **refusal_of(error)}
    counted |= nothing_was_sent(claim, action) if error.code == LAG else {}
    move(saga, action, state, **counted, claim=None, outcome_at=ShopNow(), **because(error.code, str(error)))
    if isinstance(error, Changed):
        fix_anew(saga, action, f"{action.key}:elsewhere", error.given_back_minor)
    if state is ActionState.REJECTED and action.is_compensation:
        saga.relaunches = 0
        return park_compensation(saga, action)
    if failed.circuit is not None:
        hold(saga, action, failed.circuit)
        return Recorded(mine=True)
    wait_s = max(_wait_s(saga, action, max(tries, waits)), _asked_to_wait_s(error))
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


def _wait_s(saga: Saga, action: Action, tries: int) -> float:
    """Seconds. A rejection waits for its errback. What is spent or cancelled is due at once. Everything else backs off."""
    if action.state == ActionState.REJECTED:
        return patience_s(0)
    return 0.0 if cancel_is_due(saga) or tries_spent(saga, action) else backoff_s(tries)


def state_after(error: StepError) -> ActionState:
    """A rejected compensation is final too: only a person may end it otherwise."""
    if isinstance(error, Rejected):
        return ActionState.REJECTED
    return ActionState.IN_DOUBT if isinstance(error, InDoubt) else ActionState.RETRY_WAIT
