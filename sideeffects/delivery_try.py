"""One try of one delivery. It isolates the subscriber: an error that it raises changes the state of this delivery, and nothing else."""

import logging
import uuid

from django.conf import settings
from django.db import transaction

from orders.clock import doubled, jittered
from orders.database import CUT, OWN_DATABASE, is_our_trouble, sqlstate
from orders.events import Event, EventError, NewerVersion, Subscription
from orders.soft_limit import interruptible
from sideeffects import circuit, deliveries
from sideeffects.deliveries import Failure
from sideeffects.models import Delivery, DeliveryState, Subscriber

log = logging.getLogger(__name__)

CUT_BY_THE_DATABASE = 0.8  # of the time limit: the server ends a hanging statement before the worker gives up on it
HARD_AFTER_S = 5.0  # a task that ignores its time limit is killed this much later, times TIME_SCALE
LOST = "worker_lost"
INVALID, NEWER = "invalid_payload", "newer_version"
NOTHING = "nothing to deliver here"


def deliver(subscription: Subscription, fact_id: uuid.UUID) -> str:
    """Make one try. If our own database cannot even record it, no try is made, and the relay publishes the message again."""
    try:
        return _deliver(subscription, fact_id)
    except Exception as error:
        if not was_not_served(error):
            raise
        return f"waits for our own database ({type(error).__name__})"


def was_not_served(error: Exception) -> bool:
    """Whether our own database was the trouble. Then no try is spent. A statement that was cut counts for the subscriber: it took longer than it may."""
    return is_our_trouble(error) and sqlstate(error) != CUT


def _deliver(subscription: Subscription, fact_id: uuid.UUID) -> str:
    """A first try on our own rows is one transaction. Any other try is recorded as started first, so that a try that kills its worker is counted."""
    if not subscription.outside and (done := _first_try(subscription, fact_id)):
        return done
    started = deliveries.start(fact_id, subscription.name, _lease_s(subscription), _cut_s(subscription))
    if started is None:
        return NOTHING
    if started.state != DeliveryState.STARTED:
        return "waits: nobody is answered there"
    try:
        is_mine = _call_outside(subscription, started) if subscription.outside else _call_here(subscription, started)
    except Exception as error:
        return _failed(subscription, started, error)
    if started.is_first_since_a_failure:
        circuit.answered(started)
    return "delivered" if is_mine else "too late, somebody else owns it"


def _first_try(subscription: Subscription, fact_id: uuid.UUID) -> str:
    """The effect and "delivered" are one commit, and nothing is written before it. Empty: it is not the first try."""
    delivery: Delivery | None = None
    try:
        with transaction.atomic():
            delivery = deliveries.begin_first_try(fact_id, subscription.name, _cut_s(subscription))
            if delivery is None:
                return ""
            subscription.handler(_event(subscription, delivery), delivery)
            deliveries.write_first_success(delivery)
    except deliveries.HasARow:
        return NOTHING
    except Exception as error:
        if delivery is None:
            raise
        return _failed(subscription, Delivery(fact=delivery.fact, subscriber=subscription.name), error)
    return "delivered"


def _call_here(subscription: Subscription, started: Delivery) -> bool:
    """The effect is on our own rows. It commits together with "delivered"."""
    with transaction.atomic():
        deliveries.begin(started.fact_id, subscription.name, _cut_s(subscription))
        delivery = deliveries.mine(started)
        if delivery is not None:
            subscription.handler(_event(subscription, delivery), delivery)
            deliveries.record_success(delivery)
        return delivery is not None


def _call_outside(subscription: Subscription, started: Delivery) -> bool:
    """The effect is outside, and outside any transaction. It happens at least once, under a stable key. Only here the task's soft limit may interrupt."""
    event = _event(subscription, started)
    with interruptible():
        subscription.handler(event, started)
    return deliveries.record_success(started)


class _NotSubscribed(Exception):
    """The subscriber does not react to events of this type. No person needs to do anything."""


def _event(subscription: Subscription, delivery: Delivery) -> Event:
    """Raises InvalidPayload, NewerVersion, _NotSubscribed."""
    fact = delivery.fact
    wanted = subscription.event_class(fact.type)
    if wanted is not None:
        return wanted.from_json(fact.payload, fact.version)
    if Subscriber.objects.filter(name=subscription.name, types__has_key=fact.type).exists():
        raise NewerVersion(f"Newer code has subscribed {subscription.name} to {fact.type}")
    raise _NotSubscribed(fact.type)


def _cut_s(subscription: Subscription) -> float:
    return subscription.timeout_s * settings.TIME_SCALE * CUT_BY_THE_DATABASE


def _lease_s(subscription: Subscription) -> float:
    return (subscription.timeout_s * 2 + HARD_AFTER_S) * settings.TIME_SCALE


# --- when it fails --------------------------------------------------------------------------------------------------------


def _failed(subscription: Subscription, delivery: Delivery, error: Exception) -> str:
    if was_not_served(error):
        deliveries.record_failure(delivery, _not_served(delivery))
        return "waits for our own database"
    if isinstance(error, _NotSubscribed):
        deliveries.discard_unwanted(delivery)
        return f"{subscription.name} does not react to {error}"
    if isinstance(error, EventError):
        return _not_readable(delivery, error)
    tries = deliveries.tries_of(delivery)
    final = isinstance(error, subscription.final)
    spends = not (subscription.outside and _was_not_answered(subscription, delivery, error))
    name = type(error).__name__
    message = str(error) if final else f"{name} in try {tries}"
    failure = Failure(code=name, message=message, retry_in_s=None if final else _retry_in_s(subscription, tries), spends=spends)
    log.warning("%s failed with %s, try %d%s", subscription.name, name, tries, ", which is final" if final else "")
    deliveries.record_failure(delivery, failure)
    return f"{name}: {'dead letter' if final else 'tried again later'}"


def _not_readable(delivery: Delivery, error: EventError) -> str:
    """The handler was not called. What newer code has recorded waits for newer code, until the limit in time; what matches no schema is for a person."""
    is_newer = isinstance(error, NewerVersion)
    failure = Failure(
        code=NEWER if is_newer else INVALID,
        message=str(error),
        retry_in_s=_wait_s(delivery) if is_newer else None,
        spends=not is_newer,
        is_timed=True,
    )
    log.warning("%s cannot read its event: %s", delivery.subscriber, error)
    deliveries.record_failure(delivery, failure)
    return f"{type(error).__name__}: {'waits for newer code' if is_newer else 'dead letter'}"


def _was_not_answered(subscription: Subscription, started: Delivery, error: Exception) -> bool:
    """Whether the circuit is open now. An error about this one delivery is an answer of the service."""
    if not isinstance(error, (*subscription.final, *subscription.of_this_one)):
        return circuit.failed(started, type(error).__name__)
    if started.is_first_since_a_failure:
        circuit.answered(started)
    return False


def _not_served(delivery: Delivery) -> Failure:
    """It is tried again less and less often, without an end. Other parts notify a person that our database does not work."""
    message = "Our own database could not serve it; no try is spent"
    return Failure(code=OWN_DATABASE, message=message, retry_in_s=_wait_s(delivery), spends=False)


def _wait_s(delivery: Delivery) -> float:
    """Of a try that is not spent."""
    return jittered(doubled(settings.PATIENCE_S, delivery.unspent, settings.PATIENCE_CAP_S))


def after_loss(subscription: Subscription, tries: int) -> Failure:
    """A try that killed its worker is a try like any other."""
    return Failure(code=LOST, message=f"its worker was lost in try {tries}", retry_in_s=_retry_in_s(subscription, tries))


def _retry_in_s(subscription: Subscription, tries: int) -> float:
    """The wait doubles up to a cap. ``deliveries.write_failure`` ends the tries at their limit in time."""
    return jittered(doubled(subscription.backoff_s * settings.TIME_SCALE, tries - 1, settings.DELIVERY_BACKOFF_CAP_S))
