"""The keys of attempts: an attempt is one idempotency key and one amount, however often it is tried. What is only in doubt keeps its key.

What its provider has refused for good is over. It keeps a row of its own (``PastAttempt``), so that whatever still lands of it has an owner. What is scheduled next
is another attempt, under a new key.
"""

from datetime import timedelta
from typing import Any

from fulfillment import keys
from fulfillment.clock import ShopNow, lease_s
from fulfillment.engine.action import Action
from fulfillment.engine.claim import Claim
from fulfillment.engine.pinned_plan import step_of
from fulfillment.errors import OUR_OWN, Rejected, StepError
from fulfillment.models import PastAttempt, Saga, StepRecord


def was_refused(action: Action) -> bool:
    """The provider has refused the action's current attempt for good."""
    return action.refused_at is not None


def refusal_of(error: StepError) -> dict[str, Any]:
    """The columns that say so, where a try has failed and its provider has refused the attempt for good."""
    return {"refused_at": ShopNow()} if isinstance(error, Rejected) and error.code not in OUR_OWN else {}


def nothing_was_sent(claim: Claim, action: Action) -> dict[str, Any]:
    """The columns of a try that has sent nothing: the instant until which earlier tries may be on their way is as it was before."""
    quiet_s, until = claim.own_quiet_s, action.asked_until
    return {"asked_until": None if quiet_s is None or until is None else until - timedelta(seconds=lease_s() + quiet_s)}


def scheduled_compensation(saga: Saga, action: Action, amount_minor: int | None) -> dict[str, Any]:
    """The columns of the attempt to compensate that is scheduled now. None to change: it is the current one. A changed amount, or a refusal, makes the next one.

    After a refusal the provider is asked first what is left, because an earlier try may have landed.
    """
    if was_refused(action):
        _keep(action, amount_minor=action.amount_minor)
        return next_compensation(saga, action, amount_minor) | {"refused_at": None, "doubt": True}
    if action.key and amount_minor == action.amount_minor:
        return {}
    return next_compensation(saga, action, amount_minor)


def next_compensation(saga: Saga, action: Action, amount_minor: int | None) -> dict[str, Any]:
    """The columns of the next attempt to compensate, or of the first: key and amount are fixed together."""
    number = action.attempt + bool(action.key)
    key = keys.compensation_key(saga.order.number, saga.nonce, action.name, number)
    return {"attempt": number, "key": key, "amount_minor": amount_minor}


def next_do(saga: Saga, action: Action) -> dict[str, Any]:
    """The columns of the next attempt at a step that was rejected. Nobody has been asked under its key, and the key's window begins now."""
    step = step_of(saga, action.name)
    _keep(action, refused_at=action.outcome_at, amount_minor=step.asks_minor(saga.order) if step else None)
    number = action.attempt + 1
    key = keys.do_key(saga.order.number, saga.nonce, action.name, number)
    return {"attempt": number, "key": key, "scheduled_at": ShopNow(), "asked_until": None}


def entry_detail(attempt: dict[str, Any]) -> dict[str, str]:
    """What the history says of this attempt."""
    number = attempt.get("attempt") or 1
    return {"message": f"attempt {number}, under a new key"} if number > 1 else {}


def do_keys(record: StepRecord) -> list[str]:
    """Every key under which the step was asked for, the newest first. Whatever the provider has under one of them is ours."""
    past = [attempt.key for attempt in record.past_attempts.all() if not attempt.compensating] if record.do_attempt > 1 else []
    return [record.do_key, *reversed(past)]


def _keep(action: Action, **refused: Any) -> None:
    PastAttempt.objects.create(
        record=action.record,
        compensating=action.is_compensation,
        attempt=action.attempt,
        key=action.key,
        code=action.error_code,
        message=action.error_message,
        started_at=action.started_at,
        asked_until=action.asked_until,
        **({"refused_at": action.refused_at} | refused),
    )
