"""Restore: after the database was restored from a backup, each open saga goes on under a new epoch, and takes every step that is not over as perhaps called.

What was done since the backup may be known only to providers. The caller has read their listings, and says of each step what they show (``Shown``). Where that is
what the journal says, or what it was about to do, the saga goes on, under the keys that it has always had. Everywhere else a person decides.
"""

from collections.abc import Mapping
from enum import StrEnum

from fulfillment import keys
from fulfillment.clock import ShopNow, in_seconds, lease_s, saga_deadline
from fulfillment.engine.action import DONE, Action, ActionState, current
from fulfillment.engine.escalation import park
from fulfillment.engine.journal import change, find_locked, move, save
from fulfillment.engine.pinned_plan import is_local
from fulfillment.engine.position import current_action, steps
from fulfillment.engine.transition import transition
from fulfillment.models import Saga, StepRecord
from orders.incidents import IncidentKind

EPOCHS = 1_000_000  # more than any saga will ever have, so that every message and every worker from before is fenced
CODE = "restored"


class Shown(StrEnum):
    """What a provider lists under a step's key."""

    NOTHING = "nothing"
    WHOLE = "it, as it was asked for"
    OTHER = "it, given back or cancelled, wholly or in part"


def differs(record: StepRecord, shown: Shown) -> bool:
    """The journal and the provider disagree. A try after the backup explains that something was made since. It does not explain that it was given back."""
    action = current(record)
    if action.state in DONE:
        return (shown is Shown.WHOLE) == action.is_compensation
    return not action.is_compensation and action.state not in (ActionState.REJECTED, None) and shown is Shown.OTHER


@transition
def restored(saga_id: int, shown: Mapping[str, Shown], wait_s: float) -> bool:
    """True: the saga goes on, and is due in ``wait_s`` seconds. False: a person decides about it, or it does not move."""
    saga = find_locked(saga_id)
    if saga is None or current_action(saga) is None:
        return False
    saga.epoch += EPOCHS
    save(
        saga,
        epoch=saga.epoch,
        nonce=keys.new_nonce(),
        launched_at=None,
        relaunches=0,
        deadline_at=saga_deadline(),
        wake_at=in_seconds(wait_s),
    )
    called = [step for step in steps(saga) if not is_local(saga, step)]
    other = [step for step in called if differs(step.record, shown[step.name])]
    for step in called:
        _may_have_been_called(saga, step, Action(step.record, True))
    if other:
        _a_person_decides(saga, other[0], shown[other[0].name])
    return not other


def is_in_doubt(record: StepRecord) -> bool:
    """The step may have been called since the backup, or is being called right now."""
    return current(record).state not in DONE


def _may_have_been_called(saga: Saga, step: Action, compensation: Action) -> None:
    """Mark the step as perhaps called, and its compensation too where there may have been one."""
    quiet_from = in_seconds(lease_s())
    if is_in_doubt(step.record):
        change(step, scheduled_at=step.scheduled_at or saga.opened_at, doubt=True, asked_until=quiet_from)
    if compensation.key or step.state in DONE or compensation.state == ActionState.PENDING:
        change(compensation, doubt=True, asked_until=quiet_from)


def _a_person_decides(saga: Saga, step: Action, shown: Shown) -> None:
    was = step.record.get_state_display().lower()
    if not saga.is_backward:
        move(saga, step, ActionState.IN_DOUBT, doubt=True, claim=None, error_code=CODE, asked_until=ShopNow())
    park(saga, IncidentKind.IN_DOUBT, step, CODE, f"after the database was restored: here it was {was}, the provider shows {shown}")
