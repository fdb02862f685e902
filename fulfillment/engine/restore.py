"""Restore: after the database was restored from a backup, each open saga goes on under a new epoch, and takes every step that is not over as perhaps called.

What was done since the backup may be known only to providers. The caller has read their listings, and says of each step what they show (``Shown``). Where that is
what the journal says, or what it was about to do, the saga goes on, under the keys that it has always had. Everywhere else a person decides.
"""

from collections.abc import Mapping
from enum import StrEnum

from fulfillment import keys
from fulfillment.clock import ShopNow, in_seconds, lease_s, saga_deadline
from fulfillment.engine.escalation import park
from fulfillment.engine.journal import change, find_locked, move, save
from fulfillment.engine.pinned_plan import is_local
from fulfillment.engine.position import border
from fulfillment.engine.step_states import COMPENSATED, DONE
from fulfillment.engine.transition import transition
from fulfillment.models import Saga, StepRecord, StepState
from orders.incidents import IncidentKind

EPOCHS = 1_000_000  # more than any saga will ever have, so that every message and every worker from before is fenced
CODE = "restored"
ON_THEIR_WAY = (StepState.PENDING, StepState.SCHEDULED, StepState.STARTED, StepState.RETRY_WAIT, StepState.IN_DOUBT)


class Shown(StrEnum):
    """What a provider lists under a step's key."""

    NOTHING = "nothing"
    WHOLE = "it, as it was asked for"
    OTHER = "it, given back or cancelled, wholly or in part"


def differs(record: StepRecord, shown: Shown) -> bool:
    """The journal and the provider disagree. A try after the backup explains that something was made since. It does not explain that it was given back."""
    if record.state in DONE:
        return shown is not Shown.WHOLE
    if record.state in COMPENSATED:
        return shown is Shown.WHOLE
    return record.state in ON_THEIR_WAY and shown is Shown.OTHER


@transition
def restored(saga_id: int, shown: Mapping[str, Shown], wait_s: float) -> bool:
    """True: the saga goes on, and is due in ``wait_s`` seconds. False: a person decides about it, or it does not move."""
    saga = find_locked(saga_id)
    if saga is None or border(saga) is None:
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
    other = [record for record in saga.records.all() if not is_local(saga, record) and differs(record, shown[record.name])]
    for record in saga.records.all():
        if not is_local(saga, record):
            _may_have_been_called(saga, record)
    if other:
        _a_person_decides(saga, other[0], shown[other[0].name])
    return not other


def is_in_doubt(record: StepRecord) -> bool:
    """The step may have been called since the backup, or is being called right now."""
    return record.state not in (*DONE, *COMPENSATED)


def _may_have_been_called(saga: Saga, record: StepRecord) -> None:
    """Mark the step as perhaps called, and its compensation too where there may have been one."""
    quiet_from = in_seconds(lease_s())
    if is_in_doubt(record):
        change(record, scheduled_at=record.scheduled_at or saga.opened_at, doubt=True, asked_until=quiet_from)
    if record.compensation_key or record.state in (*DONE, StepState.COMPENSATION_PENDING):
        change(record, compensation_doubt=True, compensation_asked_until=quiet_from)


def _a_person_decides(saga: Saga, record: StepRecord, shown: Shown) -> None:
    was = record.get_state_display().lower()
    if not saga.is_backward:
        move(saga, record, StepState.IN_DOUBT, doubt=True, claim=None, error_code=CODE, asked_until=ShopNow())
    park(saga, IncidentKind.IN_DOUBT, record, CODE, f"after the database was restored: here it was {was}, the provider shows {shown}")
