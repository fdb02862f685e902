"""Attempting: an attempt is one key, and one amount, however often it is tried. What its provider has refused for good is over: it keeps a row of its own, so that
whatever lands of it after all has an owner, and what is granted next is another attempt, under a new key. What is only in doubt keeps its key.
"""

from datetime import timedelta
from typing import Any

from fulfillment import keys
from fulfillment.clock import ShopNow, lease_s
from fulfillment.engine.claim import Claim
from fulfillment.engine.pinned_plan import step_of
from fulfillment.errors import OUR_OWN, Rejected, StepError
from fulfillment.models import PastAttempt, Saga, StepRecord, StepState


def was_refused(record: StepRecord, undo: bool) -> bool:
    """The provider's last word about the attempt where the record stands was no."""
    return record.undo_refused_at is not None if undo else record.state == StepState.REJECTED and record.error_code not in OUR_OWN


def refusal_of(error: StepError) -> dict[str, Any]:
    """The columns of an undo whose try has failed, where that is its provider's last word about this attempt."""
    return {"undo_refused_at": ShopNow()} if isinstance(error, Rejected) and error.code not in OUR_OWN else {}


def nothing_was_sent(claim: Claim, record: StepRecord) -> dict[str, Any]:
    """The columns of a try that has asked for nothing: until when others may be on their way is as it was before it."""
    column, quiet_s = ("undo_asked_until", claim.undo_quiet_s) if claim.undo else ("asked_until", claim.quiet_s)
    until = getattr(record, column)
    return {column: None if quiet_s is None or until is None else until - timedelta(seconds=lease_s() + quiet_s)}


def granted_undo(saga: Saga, record: StepRecord, amount_minor: int | None) -> dict[str, Any]:
    """The columns of the attempt that is granted now: the one that it has; or the next, where the amount has changed, or the provider has refused that one.

    After a refusal the provider is asked first what is left: an earlier try may have landed.
    """
    if was_refused(record, undo=True):
        _keep(record, undo=True, refused_at=record.undo_refused_at)
        return next_undo(saga, record, amount_minor) | {"undo_refused_at": None, "undo_doubt": True}
    if record.undo_key and amount_minor == record.undo_amount_minor:
        return {}
    return next_undo(saga, record, amount_minor)


def next_undo(saga: Saga, record: StepRecord, amount_minor: int | None) -> dict[str, Any]:
    """The columns of the next attempt at an undo, or of the first: key and amount are fixed together."""
    number = record.undo_attempt + bool(record.undo_key)
    key = keys.undo_key(saga.order.number, saga.nonce, record.name, number)
    return {"undo_attempt": number, "undo_key": key, "undo_amount_minor": amount_minor}


def next_do(saga: Saga, record: StepRecord) -> dict[str, Any]:
    """The columns of the next attempt at a step that was rejected: a key that nobody has been asked under, and whose window begins now."""
    step = step_of(saga, record.name)
    _keep(record, undo=False, refused_at=record.settled_at, amount_minor=step.asks_minor(saga.order) if step else None)
    number = record.do_attempt + 1
    key = keys.do_key(saga.order.number, saga.nonce, record.name, number)
    return {"do_attempt": number, "do_key": key, "granted_at": ShopNow(), "asked_until": None}


def told_of(attempt: dict[str, Any]) -> dict[str, str]:
    """For the history."""
    number = attempt.get("do_attempt") or attempt.get("undo_attempt") or 1
    return {"message": f"attempt {number}, under a new key"} if number > 1 else {}


def do_keys(record: StepRecord) -> list[str]:
    """Every key under which the step was asked for, the newest first: whatever lies under one of them is ours."""
    past = [attempt.key for attempt in record.past_attempts.all() if not attempt.undo] if record.do_attempt > 1 else []
    return [record.do_key, *reversed(past)]


def _keep(record: StepRecord, *, undo: bool, **refused: Any) -> None:
    known = {"amount_minor": record.undo_amount_minor} if undo else {}
    PastAttempt.objects.create(
        record=record,
        undo=undo,
        attempt=record.undo_attempt if undo else record.do_attempt,
        key=record.undo_key if undo else record.do_key,
        code=record.error_code,
        message=record.error_message,
        started_at=record.started_at,
        asked_until=record.undo_asked_until if undo else record.asked_until,
        **(known | refused),
    )
