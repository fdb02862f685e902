"""Leave: what this code does not serve is left to a process that does, as in a rolling deploy. It is no failure and counts as none; in the end a person is told."""

from datetime import timedelta
from typing import Any

from django.conf import settings

from fulfillment.clock import ShopNow, in_seconds, patience_s, shop_now
from fulfillment.engine.journal import find_locked, save, tell
from fulfillment.engine.launch import Launch, launch_of
from fulfillment.engine.pinned_plan import is_newer, step_of
from fulfillment.engine.position import border
from fulfillment.engine.progress import park
from fulfillment.engine.step_states import GRANTED
from fulfillment.engine.transition import transition
from fulfillment.models import Saga, StepRecord
from fulfillment.release import RELEASE
from orders.attention import IncidentKind
from orders.clock import jittered
from orders.durability import may_be_lost
from orders.models import Status
from orders.timeline import Kind


def nobody_came(saga: Saga) -> bool:
    """It has been left to others for so long that a deploy no longer explains it."""
    return saga.left_since is not None and _left_for_s(saga) > settings.UNKNOWN_STEP_AFTER_S


def adopt(saga: Saga) -> None:
    """No newer process has come, or a person has decided with this code: from here on it is this code's to judge, as far as it knows the steps.

    A failure that has a status of its own only in newer code is shown as any other.
    """
    if is_newer(saga):
        save(saga, release=RELEASE, **({} if saga.failure in ("", *Status.values) else {"failure": Status.FAILED}))


def leave(saga: Saga, record: StepRecord | None, by: int = RELEASE, **changes: Any) -> None:
    """Due again after half the time for which it has been left so far, so that whoever comes finds it soon, and nobody else is kept busy by it.

    ``by``: the release that has met it and does not serve it.
    """
    if saga.left_since is None:
        tell(saga, Kind.LEFT, name=record.name if record else "", detail={"release": by, "needs": saga.release})
    wait_s = min(max(_left_for_s(saga) / 2, settings.BACKOFF_S), settings.BACKOFF_CAP_S)
    due = {"left_since": saga.left_since or ShopNow(), "wake_at": in_seconds(jittered(wait_s))}
    save(saga, **(due | changes))


def drop(saga: Saga, record: StepRecord, by: int = RELEASE) -> Launch | None:
    """Its message has reached a process that does not serve it, and is gone: that launch was none. It is published again: now, where we serve it; else when due.

    Where nobody has served it for too long a person is told.
    """
    if nobody_came(saga):
        park_unserved(saga, record, saga.release)
        return None
    may_be_lost()
    uncounted = max(saga.relaunches - 1, 0)
    if is_newer(saga) or step_of(saga, record.name) is None:
        leave(saga, record, by, launched_at=None, relaunches=uncounted)
        return None
    leave(saga, record, by, launched_at=ShopNow(), relaunches=uncounted, wake_at=in_seconds(patience_s(0)))
    return launch_of(saga)


@transition
def message_dropped(saga_id: int, epoch: int, task: str, by: int = RELEASE) -> Launch | None:
    """A worker of release ``by`` has met ``task`` ("payment", "undo_payment"), which its code does not serve. None: the saga does not wait for that, or later."""
    saga = find_locked(saga_id)
    at = border(saga) if saga else None
    if saga is None or at is None or saga.epoch != epoch or at[0].state not in GRANTED:
        return None
    record, undo = at
    return drop(saga, record, by) if task == ("undo_" if undo else "") + record.name else None


def park_unserved(saga: Saga, record: StepRecord, release: int) -> None:
    minutes = settings.UNKNOWN_STEP_AFTER_S / 60
    message = f"No process has served the step {record.name!r} for {minutes:g} min, as the plan of this order (release {release}) needs it"
    park(saga, IncidentKind.UNKNOWN_STEP, record, "unknown_step", message)


def _left_for_s(saga: Saga) -> float:
    return (shop_now() - saga.left_since) / timedelta(seconds=1) if saga.left_since else 0.0
