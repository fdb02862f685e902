"""Rolling deploys: what this code does not serve is left to a process that does. That is no failure and counts as none. If nobody comes, a person is notified."""

from datetime import timedelta
from typing import Any

from django.conf import settings

from fulfillment.clock import ShopNow, in_seconds, patience_s, shop_now
from fulfillment.code_release import RELEASE
from fulfillment.engine.action import Action, ActionState
from fulfillment.engine.escalation import park
from fulfillment.engine.journal import append_entry, find_locked, save
from fulfillment.engine.launch import Launch, launch_of
from fulfillment.engine.pinned_plan import is_newer, step_of
from fulfillment.engine.position import current_action
from fulfillment.engine.transition import transition
from fulfillment.models import Saga, SagaState
from orders.clock import jittered
from orders.durability import may_be_lost
from orders.incidents import IncidentKind
from orders.models import Status
from orders.timeline import EntryKind

# --- a step that this code does not serve ----------------------------------------------------------------------------------


def nobody_came(saga: Saga) -> bool:
    """The saga has been left to others for so long that a deploy no longer explains it."""
    return saga.left_since is not None and _left_for_s(saga) > settings.UNKNOWN_STEP_AFTER_S


def adopt(saga: Saga) -> None:
    """From here on the saga is this code's to judge, as far as it knows the steps: no newer process has come, or a person has decided with this code.

    A failure whose status only newer code knows is shown as any other failure.
    """
    if is_newer(saga):
        save(saga, release=RELEASE, **({} if saga.failure in ("", *Status.values) else {"failure": Status.FAILED}))


def leave(saga: Saga, action: Action | None, by: int = RELEASE, **changes: Any) -> None:
    """Due again after half the time for which it has been left so far. So whoever comes finds it soon, and it keeps nobody else busy.

    ``by``: the release that has met the saga and does not serve it.
    """
    if saga.left_since is None:
        append_entry(saga, EntryKind.LEFT, name=action.name if action else "", detail={"release": by, "needs": saga.release})
    wait_s = min(max(_left_for_s(saga) / 2, settings.BACKOFF_S), settings.BACKOFF_CAP_S)
    due = {"left_since": saga.left_since or ShopNow(), "wake_at": in_seconds(jittered(wait_s))}
    save(saga, **(due | changes))


def drop(saga: Saga, action: Action, by: int = RELEASE) -> Launch | None:
    """A message has reached a process that does not serve it, and is gone. That launch does not count.

    The message is published again: now, where this code serves the step; else when the saga is due. If nobody has served it for too long, a person is notified.
    """
    if nobody_came(saga):
        park_unserved(saga, action, saga.release)
        return None
    may_be_lost()
    uncounted = max(saga.relaunches - 1, 0)
    if is_newer(saga) or step_of(saga, action.name) is None:
        leave(saga, action, by, launched_at=None, relaunches=uncounted)
        return None
    leave(saga, action, by, launched_at=ShopNow(), relaunches=uncounted, wake_at=in_seconds(patience_s(0)))
    return launch_of(saga)


@transition
def message_dropped(saga_id: int, epoch: int, task: str, by: int = RELEASE) -> Launch | None:
    """A worker of release ``by`` has met ``task`` ("payment", "compensate_payment"), unknown to its code.

    None: the saga does not wait for that task; or the task is published later.
    """
    saga = find_locked(saga_id)
    action = current_action(saga) if saga else None
    if saga is None or action is None or saga.epoch != epoch or action.state != ActionState.SCHEDULED:
        return None
    return drop(saga, action, by) if task == ("compensate_" if action.is_compensation else "") + action.name else None


def park_unserved(saga: Saga, action: Action, release: int) -> None:
    minutes = settings.UNKNOWN_STEP_AFTER_S / 60
    message = f"No process has served the step {action.name!r} for {minutes:g} min, as the plan of this order (release {release}) needs it"
    park(saga, IncidentKind.UNKNOWN_STEP, action, "unknown_step", message)


def _left_for_s(saga: Saga) -> float:
    return (shop_now() - saga.left_since) / timedelta(seconds=1) if saga.left_since else 0.0


# --- an end that this code does not know ------------------------------------------------------------------------------------


def may_end(saga: Saga, shown: str) -> bool:
    """Whether this code may close the saga, with its order shown so. Newer code may have a status of its own, before the end or as the end."""
    moves = Status.legal_moves().items()
    return not is_newer(saga) or any(saga.order.status == was and shown in targets for was, targets in moves)


def leave_what_follows(saga: Saga) -> None:
    """Only newer code knows what follows: the saga is due at once. What has been recorded stays."""
    if saga.left_since is None:
        append_entry(saga, EntryKind.LEFT, detail={"release": RELEASE, "needs": saga.release})
    save(saga, left_since=saga.left_since or ShopNow(), wake_at=ShopNow(), relaunches=0)


def left_at_its_end(saga: Saga) -> bool:
    """Nothing of the saga is left to do, and older code has left it to others to close it."""
    return saga.left_since is not None and saga.state in (SagaState.RUNNING, SagaState.COMPENSATING) and current_action(saga) is None
