"""The verbs: what a person decides about an order. Each names the version it has seen, a reason and who decides, leaves an audit entry, and twice is once.

A verb locks the saga, compares version and from-state, writes, raises the epoch and makes the saga due now, in one transaction that waits for the disk.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.contrib.auth.models import User
from django.db.models import Subquery

from fulfillment import engine, ledger
from fulfillment.engine import operator_actions
from fulfillment.errors import StepError
from fulfillment.models import Quarantine, Saga, StepRecord
from fulfillment.recovery import quarantine, unreadable_orders
from fulfillment.recovery.choices import choices, held_minor, version_of
from fulfillment.recovery.requests import (
    Answer,
    Request,
    audit_entry,
    audited,
    permission_for,
    refuse_what_is_not_legal,
    refuse_whom_it_is_not_for,
    repeated,
    stale,
)
from fulfillment.step import Receipt, Step
from fulfillment.talk import whole, with_provider_of
from orders import operators, refusals
from orders.attention import Incident, IncidentKind, IncidentState, resolve_incidents, unresolved
from orders.database import is_our_trouble
from orders.models import Order
from orders.money import money
from orders.operators import Actor, Refused
from orders.timeline import Kind, TimelineEntry

log = logging.getLogger(__name__)

STOPS = (
    *(IncidentKind.UNDO_EXHAUSTED, IncidentKind.IN_DOUBT, IncidentKind.STUCK, IncidentKind.UNKNOWN_STEP),
    *(IncidentKind.QUARANTINED, IncidentKind.PROVIDER_DOWN),
)
MOVES_MONEY = ("undone_by_hand", "close")  # by a person's word alone: above a limit, or when it is written off, a second one must agree
MOVES_NOTHING = ("assign", "snooze", "note", "close")


def decide(request: Request) -> Answer:
    """Do what ``request`` says. Raises Refused, once the refusal is in the audit log: no such order, a stale version, not legal as the order stands, not for this
    actor, or something is missing.
    """
    with refusals.recorded(request.actor, request.verb, request.order):
        return _decide_whatever_its_rows_say(request)


def _decide_whatever_its_rows_say(request: Request) -> Answer:
    if request.verb not in VERBS:
        raise Refused(f"There is no verb {request.verb!r}: choose one of {', '.join(sorted(VERBS))}.")
    refuse_whom_it_is_not_for(request.actor, request.verb)
    if Quarantine.objects.filter(order_id=Subquery(Order.objects.filter(number=request.order).values("pk"))).exists():
        return unreadable_orders.decide(request)
    try:
        found = _look_up(request) if request.verb in ("look_up", "it_happened") else None
        return _decide(request, found)
    except Exception as error:
        if isinstance(error, Refused) or is_our_trouble(error):
            raise
        log.exception("%s: what it says cannot be read", request.order)
        return unreadable_orders.decide(request)


@engine.transition
def _decide(request: Request, found: "LookedUp | None") -> Answer:
    saga = engine.locking(Saga.objects.filter(order__number=request.order)).first()
    if saga is None:
        raise Refused(f"There is no order {request.order} with a saga.")
    if version_of(saga.order_id) != request.version:
        return _repeated_or_stale(saga, request)
    _refuse_what_is_not_legal(saga, request)
    if first := _needs_a_second_person(saga, request):
        return first
    at = engine.standing(saga)
    about = at[0].name if at else ""
    _audit(saga, request, request.verb, about, found)
    VERBS[request.verb](saga, request, found)
    return Answer(outcome="done", sentence=_told(request, found))


def _told(request: Request, found: "LookedUp | None") -> str:
    if request.verb == "look_up" and found:
        return f"{request.order}: {found.sentence}"
    showed = f" {found.sentence[0].upper()}{found.sentence[1:]}." if found else ""
    follows = "" if request.verb in MOVES_NOTHING else " The sweep goes on from there within a second."
    return f"{request.order}: {request.verb.replace('_', ' ')} is recorded.{showed}{follows}"


# --- refusals ------------------------------------------------------------------------------------------------------------


def _repeated_or_stale(saga: Saga, request: Request) -> Answer:
    """A second press of the same button is answered as the first; a decision about an order that has moved on is refused."""
    entry = audit_entry(saga.order_id, request)
    if entry is not None and entry.code != request.verb:
        return Answer(
            outcome="proposed", sentence=f"{request.order}: you have proposed this already. A second person must ask for the same."
        )
    if entry is not None and all(entry.detail.get(name, "") == given for name, given in _given(saga, request).items()):
        return repeated(request)
    raise stale(saga.order_id, request, now=f"it is now: {saga.get_state_display()}; ")


def _refuse_what_is_not_legal(saga: Saga, request: Request) -> None:
    legal = {choice.verb: choice for choice in choices(saga, unresolved(order_id=saga.order_id).exists())}
    refuse_what_is_not_legal(request, legal, f"stands at “{saga.get_state_display()}”")
    _refuse_a_wrong_amount(saga, request)


def _refuse_a_wrong_amount(saga: Saga, request: Request) -> None:
    if request.verb not in MOVES_MONEY or request.amount_minor is None:
        return
    if request.amount_minor < 0:
        raise Refused("An amount is not negative.")
    if request.verb == "undone_by_hand":
        _refuse_a_wrong_refund(saga, _where(saga)[0], request.amount_minor)
        return
    left = ledger.remaining(saga.order_id)
    if request.amount_minor != left:
        raise Refused(f"{_both(saga, left)} of {request.order} is still captured: closing it writes off exactly that. Name this amount.")


def _refuse_a_wrong_refund(saga: Saga, record: StepRecord, amount_minor: int) -> None:
    """All of it was given back by hand, or this verb does not say what happened: a remainder would end as compensated, written off by nobody."""
    held = held_minor(saga, record)
    if held is None and amount_minor > saga.order.total_minor:
        raise Refused(f"{saga.order.number} is worth {_both(saga, saga.order.total_minor)} in all.")
    if held is not None and amount_minor > held:
        raise Refused(f"Only {_both(saga, held)} is still captured by {record.name}: no more can have been given back.")
    if held is not None and amount_minor < held:
        raise Refused(f"{_both(saga, held)} is still captured by {record.name}: name all of it, or close the order if a part stays.")


def _both(saga: Saga, minor: int) -> str:
    return f"{money(minor, saga.order.currency)} ({minor} minor units)"


def _needs_a_second_person(saga: Saga, request: Request) -> Answer | None:
    """The first one proposes; another one who asks for the same, while the same is at risk, does it."""
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
    _audit(saga, request, f"proposes_{request.verb}", incident.step, None)
    risk = f", with {money(at_risk, saga.order.currency)} at risk" if at_risk != amount else ""
    return Answer(
        outcome="proposed",
        sentence=f"{request.order}: {request.verb.replace('_', ' ')} of {shown} is proposed{risk}. A second person must ask for the same.",
    )


def _still_may(proposal: dict[str, Any], verb: str) -> bool:
    """Whether whoever has proposed it may decide so now. Older code has noted a name alone. An actor whom no user stands behind is the simulation's."""
    if "user" not in proposal:
        return False
    user = User.objects.filter(pk=proposal["user"]).first()
    return user is None or (operators.may_operate(user) and user.has_perm(permission_for(verb)))


def _audit(saga: Saga, request: Request, code: str, name: str, found: "LookedUp | None") -> None:
    detail = audited(request) | {name: given for name, given in _given(saga, request).items() if given}
    detail |= {"answer": found.sentence} if found else {}
    TimelineEntry.objects.create(
        order_id=saga.order_id, kind=Kind.OPERATOR, name=name, code=code, epoch=saga.epoch, actor=request.actor.name, detail=detail
    )


def _given(saga: Saga, request: Request) -> dict[str, str]:
    """What came with the verb, as the history keeps it."""
    return {
        "amount": "" if request.amount_minor is None else money(request.amount_minor, saga.order.currency),
        "evidence": request.evidence,
        "owner": request.owner,
        "until": request.until.isoformat() if request.until else "",
    }


# --- look it up ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class LookedUp:
    """The provider's answer; ``receipt`` None: nothing is there now."""

    receipt: Receipt | None
    sentence: str


def _look_up(request: Request) -> LookedUp | None:
    """Outside any transaction; a decision that will be refused, or was made before, asks nobody.

    Raises Refused: the provider does not answer; or it shows that what a person says has happened is undone, or is not what was asked for.
    """
    saga = Saga.objects.filter(order__number=request.order).select_related("order").prefetch_related("records", "order__lines").first()
    at = engine.standing(saga) if saga else None
    if saga is None or at is None or version_of(saga.order_id) != request.version:
        return None
    legal = {choice.verb: choice for choice in choices(saga, incident_is_open=False)}
    refuse_what_is_not_legal(request, legal, f"stands at “{saga.get_state_display()}”")
    step, plan = engine.step_of(saga, at[0].name), engine.planned(saga, at[0].name)
    if step is None:
        return LookedUp(None, f"nobody could be asked, because this code does not serve {at[0].name}")
    try:
        with with_provider_of(plan.get("role", ""), plan.get("gateway", "")):
            key, receipt, left = _found_under(step, saga.order, engine.do_keys(at[0]))
    except StepError as error:
        raise Refused(f"The provider could not be asked: {error} Nothing was done.") from None
    currency = saga.order.currency if plan.get("role") == "payments" else ""
    shown = _what_the_provider_shows(at[0].name, key, receipt, left, currency)
    if request.verb == "it_happened" and receipt:
        _refuse_what_is_not_whole(step, saga.order, receipt, left, shown)
    return LookedUp(receipt, shown)


def _found_under(step: Step, order: Order, keys: list[str]) -> tuple[str, Receipt | None, int | None]:
    """The key under which something is left, what is there, and how much; where nothing is left of any, the newest under which anything ever was."""
    found: list[tuple[str, Receipt | None, int | None]] = []
    for key in keys:
        receipt = step.resolve(order, key)
        found.append((key, receipt, step.left(order, key) if receipt else 0))
        if found[-1][2] != 0:
            return found[-1]
    return next((one for one in found if one[1]), found[0])


def _refuse_what_is_not_whole(step: Step, order: Order, receipt: Receipt, left: int | None, shown: str) -> None:
    """As the automatic path does it: what somebody has undone since, or what is not what was asked for, is not gone on with."""
    try:
        whole(step, order, receipt, left)
    except StepError as error:
        told = f"{shown[0].upper()}{shown[1:]}. {str(error).rstrip('.')}"
        raise Refused(f"{told}: the order would go on with what it does not have. Nothing was done.") from None


def _what_the_provider_shows(name: str, key: str, receipt: Receipt | None, left: int | None, currency: str) -> str:
    if receipt is None:
        return f"the provider shows no {name} under {key}"
    what = ", ".join(f"{field} {value}" for field, value in receipt.items())
    return f"the provider shows {name} under {key} ({what}); {_what_is_left(left, currency)}"


def _what_is_left(left: int | None, currency: str) -> str:
    """``currency`` empty: it is a thing, not money."""
    if left is None:
        return "whether it was undone cannot be asked"
    if left == 0:
        return "nothing of it is left"
    return f"{money(left, currency)} of it is left" if currency else "it has not been undone"


# --- what each verb does to a saga whose lock is held ----------------------------------------------------------------------


def _where(saga: Saga) -> tuple[StepRecord, bool]:
    at = engine.standing(saga)
    assert at is not None  # only then is any of these verbs legal
    return at


def _settle_incidents(saga: Saga, request: Request) -> None:
    """Those that stopped the saga; what reconciliation has found is settled by what it finds next."""
    resolve_incidents(saga.order_id, request.verb, request.reason, request.actor.name, kind__in=STOPS)


def _retry_now(saga: Saga, request: Request, found: LookedUp | None) -> None:
    operator_actions.due_now(saga)


def _retry(saga: Saga, request: Request, found: LookedUp | None) -> None:
    _settle_incidents(saga, request)
    record, undo = _where(saga)
    operator_actions.try_again(saga, record, undo)


def _look(saga: Saga, request: Request, found: LookedUp | None) -> None:
    """The audit entry holds the answer; nothing else changes."""


def _it_happened(saga: Saga, request: Request, found: LookedUp | None) -> None:
    _settle_incidents(saga, request)
    operator_actions.took_place(saga, _where(saga)[0], found.receipt if found else None, request.evidence)


def _start_undo(saga: Saga, request: Request, found: LookedUp | None) -> None:
    _settle_incidents(saga, request)
    operator_actions.due_now(saga)  # first, because a saga that moves is never without its next look
    operator_actions.undo_all(saga)


def _undone_by_hand(saga: Saga, request: Request, found: LookedUp | None) -> None:
    _settle_incidents(saga, request)
    operator_actions.undone_by_hand(saga, _where(saga)[0], request.amount_minor or 0, request.evidence)


def _skip(saga: Saga, request: Request, found: LookedUp | None) -> None:
    _settle_incidents(saga, request)
    operator_actions.do_without(saga, _where(saga)[0], request.evidence)


def _close(saga: Saga, request: Request, found: LookedUp | None) -> None:
    _settle_incidents(saga, request)
    operator_actions.close(saga, request.amount_minor or 0)


def _assign(saga: Saga, request: Request, found: LookedUp | None) -> None:
    unresolved(order_id=saga.order_id).update(owner=request.owner)


def _snooze(saga: Saga, request: Request, found: LookedUp | None) -> None:
    unresolved(order_id=saga.order_id).update(state=IncidentState.SNOOZED, snoozed_until=request.until)


VERBS: dict[str, Callable[[Saga, Request, LookedUp | None], None]] = {
    "retry_now": _retry_now,
    "retry": _retry,
    "look_up": _look,
    "it_happened": _it_happened,
    "it_did_not": _retry,
    "start_undo": _start_undo,
    "undone_by_hand": _undone_by_hand,
    "skip": _skip,
    "close": _close,
    "assign": _assign,
    "snooze": _snooze,
    "note": _look,
}


# --- the two safe buttons, without a version -------------------------------------------------------------------------------


def cancel(order_number: str, actor: str) -> str:
    """Record a cancel under the saga's row lock, to be honoured at the next step border.

    "accepted", "pending" (shipping is under way and decides), "undoing" (it failed, and is undone anyway), "too_late" (shipped, or ended otherwise); "unreadable"
    (nothing was recorded: a person must look). Raises Saga.DoesNotExist.
    """
    try:
        return _cancel(order_number, actor)
    except Exception as error:
        if isinstance(error, Saga.DoesNotExist) or is_our_trouble(error):
            raise
        log.exception("%s cannot be cancelled", order_number)
        return "unreadable"


@engine.transition
def _cancel(order_number: str, actor: str) -> str:
    saga = engine.locking(Saga.objects.filter(order__number=order_number)).get()
    return engine.request_cancel(saga, actor)


def retry_now(order_number: str, actor: Actor) -> str:
    """Make a saga that waits for its next try, or for its next look in quarantine, due now. Raises Saga.DoesNotExist; Refused: not for this actor.

    "due"; "held" (it waits before an open circuit, which decides), or "nothing_waits".
    """
    with refusals.recorded(actor, "retry_now", order_number):
        refuse_whom_it_is_not_for(actor, "retry_now")
    order_id = Subquery(Order.objects.filter(number=order_number).values("pk"))
    if waiting := Quarantine.objects.filter(order_id=order_id).first():
        quarantine.look_now(waiting)
        return "due"
    return _retry_now_of(order_number, actor)


@engine.transition
def _retry_now_of(order_number: str, actor: Actor) -> str:
    saga = engine.locking(Saga.objects.filter(order__number=order_number)).get()
    at = engine.border(saga)
    if at is None or (at[0].state not in engine.WAITING and not saga.held_by):
        return "nothing_waits"
    if saga.held_by:
        return "held"
    operator_actions.due_now(saga)
    engine.tell(saga, Kind.OPERATOR, name=at[0].name, code="retry_now", actor=actor.name, detail={"user": actor.user})
    return "due"
