"""Database trouble: our own database could not serve a step, because a lock timed out or no connection was left. That spends no try and no deadline.

The step is put off: it is tried again soon, then less and less often. If it lasts, a person is notified. The saga does not wait for that person: it goes on when
the database does.
"""

import uuid
from datetime import timedelta

from fulfillment.clock import backoff_s, in_seconds, shop_now
from fulfillment.engine.action import STEP_STATES, Action, ActionState
from fulfillment.engine.budget import give_time, try_given_back
from fulfillment.engine.escalation import open_saga_incident
from fulfillment.engine.journal import because, locking, move, save
from fulfillment.engine.position import current_action
from fulfillment.engine.transition import transition
from fulfillment.errors import OWN_DATABASE
from fulfillment.models import Saga, StepRecord
from orders.database import wait_for_locks
from orders.durability import may_be_lost
from orders.incidents import IncidentKind, resolve_incidents

BRIEFLY_S = 0.05
MESSAGES = {True: "Another session holds rows or tables that it needs", False: "Our own database could not be reached"}


@transition
def put_off(saga_id: int, epoch: int, name: str, compensating: bool, claim: uuid.UUID | None, is_held: bool) -> bool:
    """The step where this saga stands is tried later. One that was scheduled stays scheduled. One that ``claim`` has started is in doubt, and its try is given back.

    ``is_held``: a lock timed out. Returns False where somebody else owns the step, or holds its rows: then the sweep comes to it when it is due.
    """
    saga = locking(Saga.objects.filter(pk=saga_id, epoch=epoch), skip_locked=True).first()
    action = current_action(saga) if saga else None
    if saga is None or action is None or (action.name, action.is_compensation) != (name, compensating):
        return False
    if (action.state, action.claim) != ((ActionState.STARTED, claim) if claim else (ActionState.SCHEDULED, action.claim)):
        return False
    may_be_lost()
    relaunches = saga.relaunches + (claim is not None)
    wait = timedelta(seconds=backoff_s(relaunches + 1))
    begun = saga.launched_at if claim is None else action.started_at
    if not saga.held_by:  # else the release gives back all of it
        give_time(saga, wait + ((shop_now() - begun) if begun else timedelta(0)))
    _mark(saga, action, MESSAGES[is_held])
    save(saga, relaunches=relaunches, wake_at=in_seconds(wait.total_seconds()), launched_at=None)
    return True


def _mark(saga: Saga, action: Action, message: str) -> None:
    """One line of history, however often it is put off."""
    why = because(OWN_DATABASE, message)
    if action.state == ActionState.STARTED:
        move(saga, action, ActionState.IN_DOUBT, claim=None, **why, **try_given_back(action))
    elif action.error_code != OWN_DATABASE:
        move(saga, action, ActionState.SCHEDULED, **why)


def is_put_off(action: Action) -> bool:
    """The action waits for our own database, and has not been started since."""
    return action.error_code == OWN_DATABASE and action.state != ActionState.STARTED


def waiting_for_our_database() -> int:
    """How many sagas are put off right now."""
    put_off = StepRecord.objects.filter(error_code=OWN_DATABASE).exclude(state__in=STEP_STATES[ActionState.STARTED])
    return put_off.filter(saga__wake_at__isnull=False).values("saga").distinct().count()


def wait_briefly_if_held(action: Action) -> None:
    """Rows that kept this step waiting before are waited for only briefly: many orders that need one row must not keep the workers from the others."""
    if action.error_code == OWN_DATABASE:
        wait_for_locks(BRIEFLY_S)


def open_database_incident(saga: Saga, action: Action, at_risk_minor: int) -> None:
    """A person is notified, and the saga goes on all the same: ``goes_on`` resolves the incident."""
    message = f"it waits for our own database: {action.error_message}; it goes on by itself when that is over"
    open_saga_incident(saga, IncidentKind.STUCK, action, OWN_DATABASE, message, at_risk_minor)


def goes_on(saga: Saga, action: Action) -> None:
    """Our own database has served the step: its incident is resolved."""
    if action.error_code == OWN_DATABASE:
        resolve_incidents(saga.order_id, "went_on", "Our own database has served it", "engine", kind=IncidentKind.STUCK, code=OWN_DATABASE)
