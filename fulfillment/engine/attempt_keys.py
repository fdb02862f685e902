"""The keys of attempts: an attempt is one idempotency key and one amount, however often it is tried. What is only in doubt keeps its key.

What its provider has refused for good is over. It keeps a row of its own (``PastAttempt``), so that whatever still lands of it has an owner. What is scheduled next
is another attempt, under a new key.
"""

from datetime import timedelta
from typing import Any

from fulfillment import keys
from fulfillment.clock import ShopNow, lease_s
from fulfillment.engine.claim import Claim
from fulfillment.engine.pinned_plan import step_of
from fulfillment.errors import OUR_OWN, Rejected, StepError
from fulfillment.models import PastAttempt, Saga, StepRecord, StepState


def was_refused(record: StepRecord, compensating: bool) -> bool:
    """The provider has refused the record's current attempt for good."""
    return (
        record.compensation_refused_at is not None
        if compensating
        else record.state == StepState.REJECTED and record.error_code not in OUR_OWN
    )


def refusal_of(error: StepError) -> dict[str, Any]:
    """The columns that say so, where a try to compensate has failed and its provider has refused the attempt for good."""
    return {"compensation_refused_at": ShopNow()} if isinstance(error, Rejected) and error.code not in OUR_OWN else {}


def nothing_was_sent(claim: Claim, record: StepRecord) -> dict[str, Any]:
    """The columns of a try that has sent nothing: the instant until which earlier tries may be on their way is as it was before."""
    column, quiet_s = ("compensation_asked_until", claim.compensation_quiet_s) if claim.compensating else ("asked_until", claim.quiet_s)
    until = getattr(record, column)
    return {column: None if quiet_s is None or until is None else until - timedelta(seconds=lease_s() + quiet_s)}


def scheduled_compensation(saga: Saga, record: StepRecord, amount_minor: int | None) -> dict[str, Any]:
    """The columns of the attempt to compensate that is scheduled now. None to change: it is the current one. A changed amount, or a refusal, makes the next one.

    After a refusal the provider is asked first what is left, because an earlier try may have landed.
    """
    if was_refused(record, compensating=True):
        _keep(record, compensating=True, refused_at=record.compensation_refused_at)
        return next_compensation(saga, record, amount_minor) | {"compensation_refused_at": None, "compensation_doubt": True}
    if record.compensation_key and amount_minor == record.compensation_amount_minor:
        return {}
    return next_compensation(saga, record, amount_minor)


def next_compensation(saga: Saga, record: StepRecord, amount_minor: int | None) -> dict[str, Any]:
    """The columns of the next attempt to compensate, or of the first: key and amount are fixed together."""
    number = record.compensation_attempt + bool(record.compensation_key)
    key = keys.compensation_key(saga.order.number, saga.nonce, record.name, number)
    return {"compensation_attempt": number, "compensation_key": key, "compensation_amount_minor": amount_minor}


def next_do(saga: Saga, record: StepRecord) -> dict[str, Any]:
    """The columns of the next attempt at a step that was rejected. Nobody has been asked under its key, and the key's window begins now."""
    step = step_of(saga, record.name)
    _keep(record, compensating=False, refused_at=record.outcome_at, amount_minor=step.asks_minor(saga.order) if step else None)
    number = record.do_attempt + 1
    key = keys.do_key(saga.order.number, saga.nonce, record.name, number)
    return {"do_attempt": number, "do_key": key, "scheduled_at": ShopNow(), "asked_until": None}


def entry_detail(attempt: dict[str, Any]) -> dict[str, str]:
    """What the history says of this attempt."""
    number = attempt.get("do_attempt") or attempt.get("compensation_attempt") or 1
    return {"message": f"attempt {number}, under a new key"} if number > 1 else {}


def do_keys(record: StepRecord) -> list[str]:
    """Every key under which the step was asked for, the newest first. Whatever the provider has under one of them is ours."""
    past = [attempt.key for attempt in record.past_attempts.all() if not attempt.compensating] if record.do_attempt > 1 else []
    return [record.do_key, *reversed(past)]


def _keep(record: StepRecord, *, compensating: bool, **refused: Any) -> None:
    known = {"amount_minor": record.compensation_amount_minor} if compensating else {}
    PastAttempt.objects.create(
        record=record,
        compensating=compensating,
        attempt=record.compensation_attempt if compensating else record.do_attempt,
        key=record.compensation_key if compensating else record.do_key,
        code=record.error_code,
        message=record.error_message,
        started_at=record.started_at,
        asked_until=record.compensation_asked_until if compensating else record.asked_until,
        **(known | refused),
    )
