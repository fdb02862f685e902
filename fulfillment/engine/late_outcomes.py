"""Late outcomes: what a worker learns after it was taken over moves nothing. It is kept as history; an effect that belongs to nobody is an incident."""

from fulfillment import keys, ledger
from fulfillment.engine import public_events
from fulfillment.engine.action import DONE, Action, ActionState
from fulfillment.engine.claim import Claim
from fulfillment.ledger import LedgerEntry
from fulfillment.models import StepRecord
from fulfillment.step import Receipt
from orders.incidents import IncidentKind, open_incident
from orders.money import money
from orders.timeline import EntryKind, HistoryRow


def came_too_late(claim: Claim, learned: ActionState, receipt: Receipt | None = None) -> None:
    """One line of history is written. A refund under an attempt that was refused meanwhile is entered in our ledger. For an effect that belongs to nobody now, a
    person is notified.
    """
    record = StepRecord.objects.select_related("saga__order").get(saga_id=claim.saga, name=claim.name)
    action = Action(record, claim.compensating)
    succeeded = learned is ActionState.SUCCEEDED
    entered = _enter_what_was_refused(claim, action, receipt) if succeeded and claim.compensating else 0
    detail = {"message": f"{money(entered, record.saga.order.currency)} was given back after all, and is entered"} if entered else {}
    HistoryRow.objects.create(
        order_id=claim.order_id, kind=EntryKind.LATE, name=claim.name, to_state=action.named(learned), epoch=claim.epoch, detail=detail
    )
    if succeeded and not claim.compensating and (why := _belongs_to_nobody(claim, action)):
        _open_late_incident(claim, record, IncidentKind.ORPHAN_PAYMENT, "late", why, record.saga.order.total_minor)


def _belongs_to_nobody(claim: Claim, step: Action) -> str:
    """Why it belongs to nobody. Empty: what took place is the step's."""
    compensation = Action(step.record, True)
    compensated_something = any((compensation.receipt or {}).values())
    if compensation.state in (ActionState.SUCCEEDED, ActionState.LEFT_OUT) and not compensated_something:
        return "it took place after its undo had ended; the next reconciliation undoes it"
    if claim.key != step.key and step.state in DONE and (step.receipt or {}).get("found_under") != claim.key:
        return f"it took place under {claim.key}, which was refused, and again under {step.key}"
    return ""


def _enter_what_was_refused(claim: Claim, action: Action, receipt: Receipt | None) -> int:
    """Enter a refund that took place although its attempt was refused meanwhile. Returns minor units: at most what our ledger still counts as captured.

    What had been given back under another key by then was given back twice: a person is notified. The next reconciliation says whether the provider shows it so.
    """
    known, currency = receipt or {}, action.record.saga.order.currency
    is_current = claim.key == action.key and action.refused_at is None
    if is_current or known.get("found_compensated") or known.get("currency", currency) != currency:
        return 0
    given: int = known.get("amount_minor") or 0
    entered = min(given, ledger.remaining(claim.order_id, claim.name))
    ledger.enter(claim.order_id, claim.name, LedgerEntry.Operation.REFUNDED, claim.key, entered)
    if entered:
        attempt = keys.attempt_of(claim.key)
        public_events.step_compensated(action.record.saga, action, {"amount_minor": entered}, attempt=attempt)
    if given > entered and action.state == ActionState.SUCCEEDED and not (action.receipt or {}).get("found_compensated"):
        why = f"it was refused, given back after all, and given back again under {action.key}"
        _open_late_incident(claim, action.record, IncidentKind.MISMATCH, "refunded_twice", why, given - entered)
    return entered


def _open_late_incident(claim: Claim, record: StepRecord, kind: IncidentKind, code: str, message: str, amount_minor: int) -> None:
    order = record.saga.order
    open_incident(
        kind,
        subject=order.number,
        order_id=order.pk,
        step=claim.name,
        code=code,
        message=message,
        currency=order.currency,
        amount_minor=amount_minor,
        epoch=claim.epoch,
    )
