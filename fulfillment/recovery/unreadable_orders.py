"""Unreadable orders: a person may decide about an order that no process can work on. Nothing here reads its saga, its plan or its receipts.

``retry`` means that the sweep inspects it now. Until its rows can be read again, money is moved by hand, and written down as a note.
"""

from django.db import transaction

from fulfillment.models import Quarantine
from fulfillment.recovery import quarantine
from fulfillment.recovery.choices import Choice, always_legal, version_of
from fulfillment.recovery.decision_entries import decision_detail, decision_entry
from fulfillment.recovery.requests import Answer, Request, refuse_what_is_not_legal, repeated, stale
from orders.incidents import IncidentKind, IncidentState, resolve_incidents, unresolved
from orders.models import Order
from orders.operators import Refused
from orders.timeline import EntryKind, HistoryRow


def choices_of(held: Quarantine | None, incident_is_open: bool) -> list[Choice]:
    """The actions that are legal. ``held`` None: it is not in quarantine, because the sweep has not met it yet, or has nothing more to do with it."""
    found = [Choice(verb="retry", label="Inspect it again now")] if held else []
    return found + always_legal(incident_is_open)


@transaction.atomic
def decide(request: Request) -> Answer:
    """Do what ``request`` says, if it is legal. Raises Refused: there is no such order, the version is stale, or the action is not legal."""
    order_id = Order.objects.filter(number=request.order).values_list("pk", flat=True).first()
    if order_id is None:
        raise Refused(f"There is no order {request.order}.")
    held = Quarantine.objects.select_for_update().filter(order_id=order_id).first()
    if version_of(order_id) != request.version:
        if decision_entry(order_id, request) is None:
            raise stale(order_id, request)
        return repeated(request)
    legal = {choice.verb: choice for choice in choices_of(held, unresolved(order_id=order_id).exists())}
    refuse_what_is_not_legal(request, legal, "cannot be worked on by any process")
    _audit(order_id, request)
    _do(order_id, held, request)
    follows = " is inspected again within a second" if request.verb == "retry" else f": {request.verb} is recorded"
    return Answer(outcome="done", sentence=f"{request.order}{follows}.")


def _audit(order_id: int, request: Request) -> None:
    detail = decision_detail(request)
    detail |= {"owner": request.owner} if request.owner else {}
    detail |= {"until": request.until.isoformat()} if request.until else {}
    HistoryRow.objects.create(order_id=order_id, kind=EntryKind.OPERATOR, code=request.verb, actor=request.actor.name, detail=detail)


def _do(order_id: int, held: Quarantine | None, request: Request) -> None:
    if request.verb == "retry" and held:
        resolve_incidents(order_id, request.verb, request.reason, request.actor.name, kind=IncidentKind.QUARANTINED)
        quarantine.inspect_now(held)
    elif request.verb == "assign":
        unresolved(order_id=order_id).update(owner=request.owner)
    elif request.verb == "snooze":
        unresolved(order_id=order_id).update(state=IncidentState.SNOOZED, snoozed_until=request.until)
