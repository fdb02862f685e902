"""Second approval (the four-eyes principle): where a person's word alone moves much money, a second person must ask for the same before it is done."""

from typing import Any

from django.conf import settings
from django.contrib.auth.models import User

from fulfillment import engine
from fulfillment.models import Saga
from fulfillment.recovery.action_table import STOPS
from fulfillment.recovery.decision_entries import record_decision
from fulfillment.recovery.requests import MOVES_MONEY, Answer, Request, permission_for
from orders import operators
from orders.incidents import Incident, unresolved
from orders.money import money
from orders.operators import Refused


def needs_a_second_person(saga: Saga, request: Request) -> Answer | None:
    """The first person proposes, and this answers so. None: no second person is needed, or this one is the second, asks for the same, and the same is at risk.

    Raises Refused: they have proposed it themselves, or no incident is open.
    """
    if request.verb not in MOVES_MONEY:
        return None
    amount, at_risk = request.amount_minor or 0, engine.at_risk_minor(saga)
    if max(amount, at_risk) <= (0 if request.verb == "close" else settings.SECOND_PERSON_ABOVE_MINOR):
        return None
    incident = unresolved(order_id=saga.order_id, kind__in=STOPS).first()
    if incident is None:
        raise Refused(f"{request.order} has no open incident under which two persons could agree.")
    asked = {"verb": request.verb, "amount_minor": amount, "at_risk_minor": at_risk}
    proposal = incident.proposal or {}
    is_proposed = asked.items() <= proposal.items() and _still_may(proposal, request.verb)
    if is_proposed and proposal["user"] != request.actor.user:
        return None
    shown = money(amount, saga.order.currency)
    if is_proposed:
        raise Refused(f"You have proposed this yourself: a second person must agree to {shown}.")
    by = {"user": request.actor.user, "actor": request.actor.name, "reason": request.reason}
    Incident.objects.filter(pk=incident.pk).update(proposal=asked | by)
    record_decision(saga, request, f"proposes_{request.verb}", incident.step, None)
    risk = f", with {money(at_risk, saga.order.currency)} at risk" if at_risk != amount else ""
    return Answer(
        outcome="proposed",
        sentence=f"{request.order}: {request.verb.replace('_', ' ')} of {shown} is proposed{risk}. A second person must ask for the same.",
    )


def _still_may(proposal: dict[str, Any], verb: str) -> bool:
    """Whether the person who has proposed it may still decide so. Older code has noted only a name. An actor without a user is the simulation's."""
    if "user" not in proposal:
        return False
    user = User.objects.filter(pk=proposal["user"]).first()
    return user is None or (operators.may_operate(user) and user.has_perm(permission_for(verb)))
