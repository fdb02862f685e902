"""Decisions: an operator action is done once, if it is legal as the order stands now, under the version that the person has seen, and is in the audit log.

One transaction, which waits for the disk, locks the saga, compares the version, writes, raises the epoch and makes the saga due now. The sweep does the rest.
"""

import logging

from django.db.models import Subquery

from fulfillment import engine
from fulfillment.models import Quarantine, Saga
from fulfillment.recovery import unreadable_orders
from fulfillment.recovery.action_table import VERBS
from fulfillment.recovery.choices import choices, version_of
from fulfillment.recovery.decision_entries import decision_entry, given, record_decision
from fulfillment.recovery.provider_lookup import ASKED_BEFORE, LookedUp, look_up
from fulfillment.recovery.requests import Answer, Request, refuse_what_is_not_legal, repeated, require_permission, stale
from fulfillment.recovery.second_approval import needs_a_second_person
from fulfillment.recovery.stated_amounts import refuse_a_wrong_amount
from orders import refusals
from orders.database import is_our_trouble
from orders.incidents import unresolved
from orders.models import Order
from orders.operators import Refused

log = logging.getLogger(__name__)

MOVES_NOTHING = ("assign", "snooze", "note", "close")


def decide(request: Request) -> Answer:
    """Do what ``request`` says.

    Raises Refused, once the refusal is in the audit log: there is no such order, the version is stale, the action is not legal as the order stands, it is not for
    this actor, or something is missing.
    """
    with refusals.recorded(request.actor, request.verb, request.order):
        return _decide_whatever_its_rows_say(request)


def _decide_whatever_its_rows_say(request: Request) -> Answer:
    if request.verb not in VERBS:
        raise Refused(f"There is no verb {request.verb!r}: choose one of {', '.join(sorted(VERBS))}.")
    require_permission(request.actor, request.verb)
    if Quarantine.objects.filter(order_id=Subquery(Order.objects.filter(number=request.order).values("pk"))).exists():
        return unreadable_orders.decide(request)
    try:
        found = look_up(request) if request.verb in ASKED_BEFORE else None
        return _decide(request, found)
    except Exception as error:
        if isinstance(error, Refused) or is_our_trouble(error):
            raise
        log.exception("%s: what it says cannot be read", request.order)
        return unreadable_orders.decide(request)


@engine.transition
def _decide(request: Request, found: LookedUp | None) -> Answer:
    saga = engine.locking(Saga.objects.filter(order__number=request.order)).first()
    if saga is None:
        raise Refused(f"There is no order {request.order} with a saga.")
    if version_of(saga.order_id) != request.version:
        return _repeated_or_stale(saga, request)
    _refuse_what_is_not_legal(saga, request)
    if first := needs_a_second_person(saga, request):
        return first
    at = engine.standing(saga)
    about = at.name if at else ""
    record_decision(saga, request, request.verb, about, found)
    VERBS[request.verb](saga, request, found)
    return Answer(outcome="done", sentence=_sentence(request, found))


def _sentence(request: Request, found: LookedUp | None) -> str:
    if request.verb == "look_up" and found:
        return f"{request.order}: {found.sentence}"
    showed = f" {found.sentence[0].upper()}{found.sentence[1:]}." if found else ""
    follows = "" if request.verb in MOVES_NOTHING else " The sweep goes on from there within a second."
    return f"{request.order}: {request.verb.replace('_', ' ')} is recorded.{showed}{follows}"


def _repeated_or_stale(saga: Saga, request: Request) -> Answer:
    """A second press of the same button is answered as the first. A decision about an order that has moved on is refused."""
    entry = decision_entry(saga.order_id, request)
    if entry is not None and entry.code != request.verb:
        return Answer(
            outcome="proposed", sentence=f"{request.order}: you have proposed this already. A second person must ask for the same."
        )
    if entry is not None and all(entry.detail.get(name, "") == value for name, value in given(saga, request).items()):
        return repeated(request)
    raise stale(saga.order_id, request, now=f"it is now: {saga.get_state_display()}; ")


def _refuse_what_is_not_legal(saga: Saga, request: Request) -> None:
    legal = {choice.verb: choice for choice in choices(saga, unresolved(order_id=saga.order_id).exists())}
    refuse_what_is_not_legal(request, legal, f"stands at “{saga.get_state_display()}”")
    refuse_a_wrong_amount(saga, request)
