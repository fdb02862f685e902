"""Audit: each decision leaves one entry in the order's history, with who, why and what was given. A repeated request is recognised by it."""

from typing import Any

from fulfillment.models import Saga
from fulfillment.recovery.provider_lookup import LookedUp
from fulfillment.recovery.requests import Request
from orders.money import money
from orders.timeline import EntryKind, HistoryRow, TimelineEntry


def decision_detail(request: Request) -> dict[str, Any]:
    """What the entry keeps of every request."""
    return {"user": request.actor.user, "verb": request.verb, "version": request.version, "reason": request.reason}


def decision_entry(order_id: int, request: Request) -> TimelineEntry | None:
    """The entry that this request has left before: the same action, by the same person, about the same version. None: it is the first."""
    same = {f"detail__{name}": value for name, value in decision_detail(request).items() if name != "reason"}
    return TimelineEntry.objects.filter(order_id=order_id, kind=EntryKind.OPERATOR, **same).order_by("id").first()


def record_decision(saga: Saga, request: Request, code: str, name: str, found: LookedUp | None) -> None:
    """Write the entry. ``name``: the step; ``found``: what the provider has shown."""
    detail = decision_detail(request) | {name: value for name, value in given(saga, request).items() if value}
    detail |= {"answer": found.sentence} if found else {}
    HistoryRow.objects.create(
        order_id=saga.order_id, kind=EntryKind.OPERATOR, name=name, code=code, epoch=saga.epoch, actor=request.actor.name, detail=detail
    )


def given(saga: Saga, request: Request) -> dict[str, str]:
    """What came with the request, as the history keeps it."""
    return {
        "amount": "" if request.amount_minor is None else money(request.amount_minor, saga.order.currency),
        "evidence": request.evidence,
        "owner": request.owner,
        "until": request.until.isoformat() if request.until else "",
    }
