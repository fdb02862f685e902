"""The "Why?" sentence: where an order stands, since when, what happens next, and what a person may decide. Every state has one, and the journal alone says it.

``answer`` is what is answered. ``waits`` and ``states`` say what a saga waits for, ``endings`` how it has ended, ``unreadable`` what can be said where nothing can
be read.
"""

import logging
from datetime import datetime, timedelta
from typing import Any

from fulfillment import engine
from fulfillment.clock import ShopNow
from fulfillment.explanation import waits
from fulfillment.explanation.answer import THE_SWEEP, WITH_A_PERSON, Explanation
from fulfillment.explanation.endings import closed
from fulfillment.explanation.states import PUBLIC, PUBLIC_COMPENSATION, PUBLIC_END, plain
from fulfillment.explanation.unreadable import nobody_can_work_on
from fulfillment.models import Quarantine, Saga, SagaState, StepRecord, StepState
from fulfillment.recovery import choices, version_of
from orders.database import is_our_trouble, kept_apart
from orders.incidents import Incident
from orders.models import Order

__all__ = ["LATE_AFTER_S", "Explanation", "explain"]

log = logging.getLogger(__name__)

LATE_AFTER_S = 10.0  # the sweep comes once a second, and a spare takes over within five


def explain(order: Order) -> Explanation:
    """Why ``order`` is where it is. Costs a fixed number of queries, whatever its state. It has an answer also where the order's rows cannot be read."""
    waiting = Quarantine.objects.filter(order_id=order.pk).first()
    if waiting is not None:
        return nobody_can_work_on(order, waiting, "")
    try:
        with kept_apart():
            return _explain(order)
    except Exception as error:
        if is_our_trouble(error):
            raise
        log.warning("%s: what it says cannot be read: %s", order.number, type(error).__name__)
        return nobody_can_work_on(order, None, type(error).__name__)


def _explain(order: Order) -> Explanation:
    saga = Saga.objects.filter(order=order).annotate(now=ShopNow()).select_related("order").prefetch_related("records").first()
    if saga is None:
        sentence = "The order has no saga: it was not placed through the shop."
        return Explanation(sentence=sentence, public=sentence, since=order.placed_at, next_at=None)
    incidents = tuple(incident for incident in order.incidents.all() if incident.is_open)
    known: dict[str, Any] = {"version": version_of(order.pk), "choices": tuple(choices(saga, bool(incidents))), "incidents": incidents}
    at = engine.standing(saga)
    if engine.left_at_its_end(saga):
        known |= {"since": saga.left_since, "next_at": saga.wake_at, "blocked_on": waits.blocked_on_release(saga)}
        return Explanation(sentence=waits.left_at_its_end(saga), public=PUBLIC_END, **known)
    if at is None:
        return _of_a_closed_saga(saga, incidents, known)
    return _of_an_open_saga(saga, saga.now, at.record, at.is_compensation, incidents, known)


def _of_a_closed_saga(saga: Saga, incidents: tuple[Incident, ...], known: dict[str, Any]) -> Explanation:
    open_matter = "".join(f" {incident.sentence}" for incident in incidents)
    outside = closed(saga, inside=False)
    blocked, public = ("a person", f"{outside} {WITH_A_PERSON}") if incidents else ("", outside)
    known |= {"history_pruned_at": saga.history_pruned_at, "since": saga.closed_at, "next_at": None}
    return Explanation(sentence=closed(saga) + open_matter, public=public, blocked_on=blocked, **known)


def _of_an_open_saga(
    saga: Saga, now: datetime, record: StepRecord, compensating: bool, incidents: tuple[Incident, ...], known: dict[str, Any]
) -> Explanation:
    if saga.state == SagaState.NEEDS_ATTENTION:
        sentence, public, blocked = waits.waits_for_a_person(saga, record, compensating, incidents), WITH_A_PERSON, "a person"
    else:
        silent_s = waits.silent_for_s(record, compensating)
        sentence, blocked = waits.moving(saga, record, compensating, silent_s), waits.blocked(saga, record)
        public = PUBLIC_COMPENSATION if compensating else PUBLIC.get(record.state, plain("{name} is being worked on."))(record)
        if (saga.held_by or silent_s or waits.is_asked_for_anew(saga, record)) and not compensating:
            public = PUBLIC[StepState.RETRY_WAIT](record)
    next_at = saga.wake_at
    if next_at is not None and now - next_at > timedelta(seconds=LATE_AFTER_S):
        sentence += f" It was due at {next_at:%H:%M:%S} UTC, and the sweep has not come to it since: `manage.py doctor` says why."
        next_at, blocked = None, THE_SWEEP
    return Explanation(sentence=sentence, public=public, since=_since(saga, record), next_at=next_at, blocked_on=blocked, **known)


def _since(saga: Saga, record: StepRecord) -> datetime | None:
    """When something last happened to the order. A try as the probe of a provider that is out does not count."""
    if saga.held_by and saga.held_at:
        return saga.held_at
    instants = (record.scheduled_at, record.started_at, record.outcome_at, record.compensation_scheduled_at)
    return max((instant for instant in instants if instant is not None), default=None)
