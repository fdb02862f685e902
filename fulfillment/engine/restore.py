"""After the database has lost its last commits: each open saga goes on under a new epoch, and believes nothing of what it has not done yet.

What it has done since may be known to providers only. Whoever has read their listings says of each step what is there (``Shown``): where that is what the journal
says, or what it was about to do, the saga goes on, under the keys that it has always had; where it is not, a person decides.
"""

from collections.abc import Mapping
from enum import StrEnum

from fulfillment import keys
from fulfillment.clock import ShopNow, in_seconds, lease_s, saga_deadline
from fulfillment.engine.journal import find_locked, move, save
from fulfillment.engine.pinned_plan import is_local
from fulfillment.engine.position import border
from fulfillment.engine.progress import park
from fulfillment.engine.step_states import DONE, UNDONE
from fulfillment.engine.transition import transition
from fulfillment.models import Saga, StepRecord, StepState
from orders.attention import IncidentKind

EPOCHS = 1_000_000  # more than any saga will ever have: a message, or a worker, from before is fenced
CODE = "restored"
ON_THEIR_WAY = (StepState.PENDING, StepState.GRANTED, StepState.STARTED, StepState.RETRY_WAIT, StepState.IN_DOUBT)


class Shown(StrEnum):
    """What a provider lists under a step's key."""

    NOTHING = "nothing"
    WHOLE = "it, as it was asked for"
    OTHER = "it, given back or cancelled, wholly or in part"


def differs(record: StepRecord, shown: Shown) -> bool:
    """The journal says one thing and the provider another. What was made since is explained by a try; that it was given back since is not."""
    if record.state in DONE:
        return shown is not Shown.WHOLE
    if record.state in UNDONE:
        return shown is Shown.WHOLE
    return record.state in ON_THEIR_WAY and shown is Shown.OTHER


@transition
def restored(saga_id: int, shown: Mapping[str, Shown], wait_s: float) -> bool:
    """True: it goes on, looked at in ``wait_s`` seconds. False: it is a person's now, or was."""
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
    """It may have been called since the commits that are lost, and perhaps it is right now."""
    return record.state not in (*DONE, *UNDONE)


def _may_have_been_called(saga: Saga, record: StepRecord) -> None:
    """It, or its undo."""
    quiet_from = in_seconds(lease_s())
    if is_in_doubt(record):
        record.doubt, record.granted_at = True, record.granted_at or saga.opened_at
        StepRecord.objects.filter(pk=record.pk).update(granted_at=record.granted_at, doubt=True, asked_until=quiet_from)
    if record.undo_key or record.state in (*DONE, StepState.UNDO_PENDING):
        StepRecord.objects.filter(pk=record.pk).update(undo_doubt=True, undo_asked_until=quiet_from)


def _a_person_decides(saga: Saga, record: StepRecord, shown: Shown) -> None:
    was = record.get_state_display().lower()
    if not saga.is_backward:
        move(saga, record, StepState.IN_DOUBT, doubt=True, claim=None, error_code=CODE, asked_until=ShopNow())
    park(saga, IncidentKind.IN_DOUBT, record, CODE, f"after the database was restored: here it was {was}, the provider shows {shown}")
