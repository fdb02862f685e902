"""One try of a step or of its compensation: it starts once, under a claim, and only that claim may record its outcome.

``start`` claims the step, ``record_success`` and ``record_failure`` record what became of it and schedule what comes next. Between them lies the provider call.
The fencing token: see ``claim``.
"""

import time
from dataclasses import replace

from django.conf import settings

from fulfillment import circuit as circuits
from fulfillment.clock import in_seconds, lease_s
from fulfillment.crashpoints import ANY, crash_point
from fulfillment.engine import hot_path
from fulfillment.engine.action import STEP_STATES, ActionState
from fulfillment.engine.budget import return_time_past_lease
from fulfillment.engine.claim import Claim, Recorded, action_of
from fulfillment.engine.database_trouble import wait_briefly_if_held
from fulfillment.engine.journal import locked
from fulfillment.engine.late_outcomes import came_too_late
from fulfillment.engine.outcomes import fail, state_after, succeed
from fulfillment.engine.transition import transition
from fulfillment.errors import Changed, Differs, Rejected, StepError
from fulfillment.models import PastAttempt, Saga, StepRecord
from fulfillment.step import Receipt
from orders.clock_watch import ClockWatch
from orders.durability import may_be_lost

watch = ClockWatch(settings.CLOCK_TOLERANCE_S)  # this process's own: what was asked before is past only if it has seen it pass


def start(saga_id: int, epoch: int, name: str, compensating: bool, order: str = ANY) -> Claim | None:
    """Claim the scheduled step for this process. None: the message is a duplicate or of an older epoch; or a cancel was requested; or its circuit is open.

    ``order`` is what the message calls it, for crash points.
    Raises UnknownStep, and starts nothing: this code does not serve the step as the plan needs it.
    """
    crash_point("before_start", order, name, compensating=compensating)
    asked = time.monotonic()
    claim = _start(saga_id, epoch, name, compensating)
    if claim is None:
        return None
    if claim.started_at is not None:
        watch.saw(asked, claim.started_at)
    crash_point("after_start", claim.order, name, compensating=compensating)
    return replace(claim, watched_s=watch.calm_s)


def _start(saga_id: int, epoch: int, name: str, compensating: bool) -> Claim | None:
    started = hot_path.start(saga_id, epoch, name, compensating)
    if started is None or started.refused_quiet_s is None or started.refused_quiet_s >= -lease_s():
        return started
    latest = in_seconds(lease_s())  # written by a clock that was ahead
    PastAttempt.objects.filter(record__saga=saga_id, record__name=name, asked_until__gt=latest).update(asked_until=latest)
    return replace(started, refused_quiet_s=-lease_s())


def record_success(claim: Claim, receipt: Receipt | None) -> Recorded:
    """Record what the provider call has achieved, and schedule what comes next, in one commit. If somebody else owns the step: one line of history."""
    recorded = Recorded(mine=True) if hot_path.record_success(claim, receipt) else _record_success(claim, receipt)
    crash_point("after_outcome_commit", claim.order, claim.name, compensating=claim.compensating)
    return recorded


@transition
def _record_success(claim: Claim, receipt: Receipt | None) -> Recorded:
    saga = _fenced(claim)
    if saga is None:
        came_too_late(claim, ActionState.SUCCEEDED, receipt)
        return Recorded(mine=False)
    return_time_past_lease(saga)
    if claim.troubled:
        circuits.answered(claim.circuit, claim.saga)
    recorded = succeed(saga, action_of(saga, claim), receipt, claim.tries)
    crash_point("before_outcome_commit", claim.order, claim.name, compensating=claim.compensating)
    return recorded


def record_failure(claim: Claim, error: StepError) -> Recorded:
    """Record that a try was rejected, unavailable or in doubt. A rejection is final; the others are tried again after a back-off.

    If somebody else owns the step: one line of history.
    """
    recorded = _record_failure(claim, error)
    crash_point("after_outcome_commit", claim.order, claim.name, compensating=claim.compensating)
    return recorded


@transition
def _record_failure(claim: Claim, error: StepError) -> Recorded:
    if not isinstance(error, Rejected | Changed | Differs):
        may_be_lost()
    saga = _fenced(claim)
    if saga is None:
        took_place = isinstance(error, Differs) and not claim.compensating
        came_too_late(claim, ActionState.SUCCEEDED if took_place else state_after(error))
        return Recorded(mine=False)
    return_time_past_lease(saga)
    recorded = fail(saga, claim, error)
    crash_point("before_outcome_commit", claim.order, claim.name, compensating=claim.compensating)
    return recorded


def may_record(claim: Claim) -> bool:
    """Whether the fencing token holds, as the journal is now. Without a lock: it may be lost a moment later."""
    started = STEP_STATES[ActionState.STARTED][claim.compensating]
    mine = StepRecord.objects.filter(saga_id=claim.saga, saga__epoch=claim.epoch, name=claim.name, state=started, claim=claim.claim)
    return mine.exists()


def _fenced(claim: Claim) -> Saga | None:
    """The locked saga, if the fencing token holds: the saga still has this epoch, and the record still has this claim. None: somebody else owns the step."""
    saga = locked(claim.saga)
    action = action_of(saga, claim)
    mine = saga.epoch == claim.epoch and action.state == ActionState.STARTED and action.claim == claim.claim
    wait_briefly_if_held(action)
    return saga if mine else None
