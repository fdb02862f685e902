"""One try of one delivery. It isolates the subscriber: an error that it raises changes the state of this delivery, and nothing else."""

import logging
import uuid

from django.conf import settings
from django.db import transaction

from orders.clock import doubled, jittered
from orders.database import CUT, OWN_DATABASE, is_our_trouble, sqlstate
from orders.events import OrderFulfilled, Subscription
from orders.soft_limit import interruptible
from sideeffects import circuit, deliveries
from sideeffects.deliveries import Failure
from sideeffects.models import Delivery, DeliveryState

log = logging.getLogger(__name__)

CUT_BY_THE_DATABASE = 0.8  # of the time limit: the server ends a hanging statement before the worker gives up on it
HARD_AFTER_S = 5.0  # a task that ignores its time limit is killed this much later, times TIME_SCALE
LOST = "worker_lost"
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
            subscription.handler(_fact(subscription, delivery), delivery)
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
            subscription.handler(_fact(subscription, delivery), delivery)
            deliveries.record_success(delivery)
        return delivery is not None


def _call_outside(subscription: Subscription, started: Delivery) -> bool:
    """The effect is outside, and outside any transaction. It happens at least once, under a stable key. Only here the task's soft limit may interrupt."""
    with interruptible():
        subscription.handler(_fact(subscription, started), started)
    return deliveries.record_success(started)


def _fact(subscription: Subscription, delivery: Delivery) -> OrderFulfilled:
    return subscription.fact.from_json(delivery.fact.payload)


def _cut_s(subscription: Subscription) -> float:
    return subscription.timeout_s * settings.TIME_SCALE * CUT_BY_THE_DATABASE


def _lease_s(subscription: Subscription) -> float:
    return (subscription.timeout_s * 2 + HARD_AFTER_S) * settings.TIME_SCALE


# --- when it fails --------------------------------------------------------------------------------------------------------


def _failed(subscription: Subscription, delivery: Delivery, error: Exception) -> str:
    if was_not_served(error):
        deliveries.record_failure(delivery, _not_served(delivery))
        return "waits for our own database"
    tries = deliveries.tries_of(delivery)
    final = isinstance(error, subscription.final)
    spends = not (subscription.outside and _was_not_answered(subscription, delivery, error))
    name = type(error).__name__
    message = str(error) if final else f"{name} in try {tries}"
    failure = Failure(code=name, message=message, retry_in_s=None if final else _retry_in_s(subscription, tries), spends=spends)
    log.warning("%s failed with %s, try %d%s", subscription.name, name, tries, ", which is final" if final else "")
    deliveries.record_failure(delivery, failure)
    return f"{name}: {'dead letter' if final else 'tried again later'}"


def _was_not_answered(subscription: Subscription, started: Delivery, error: Exception) -> bool:
    """Whether the circuit is open now. An error about this one delivery is an answer of the service."""
    if not isinstance(error, (*subscription.final, *subscription.of_this_one)):
        return circuit.failed(started, type(error).__name__)
    if started.is_first_since_a_failure:
        circuit.answered(started)
    return False


def _not_served(delivery: Delivery) -> Failure:
    """It is tried again less and less often, without an end. Other parts notify a person that our database does not work."""
    wait_s = jittered(doubled(settings.PATIENCE_S, delivery.unspent, settings.PATIENCE_CAP_S))
    return Failure(code=OWN_DATABASE, message="Our own database could not serve it; no try is spent", retry_in_s=wait_s, spends=False)


def after_loss(subscription: Subscription, tries: int) -> Failure:
    """A try that killed its worker is a try like any other."""
    return Failure(code=LOST, message=f"its worker was lost in try {tries}", retry_in_s=_retry_in_s(subscription, tries))


def _retry_in_s(subscription: Subscription, tries: int) -> float:
    """The wait doubles up to a cap. ``deliveries.write_failure`` ends the tries at their limit in time."""
    return jittered(doubled(subscription.backoff_s * settings.TIME_SCALE, tries - 1, settings.DELIVERY_BACKOFF_CAP_S))
