"""Requests: what a person asks for, what is answered, and what every operator action needs, whatever the order's rows say."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from fulfillment.clock import shop_now
from fulfillment.recovery.choices import NEEDS_NO_REASON, Choice, version_of
from orders.operators import Actor, Refused
from orders.text import REFUSED, has_card_number

# By a person's word alone: the amount must be the ledger's, and a second person may have to agree.
MOVES_MONEY = ("undone_by_hand", "close")
LONGEST = {"owner": 80, "evidence": 300}  # characters: what the journal's columns hold


@dataclass(frozen=True, kw_only=True)
class Request:
    """A decision. ``actor``: who was authenticated by the entry point. ``version``: the number of the last timeline entry that they have seen.

    ``amount_minor``: in minor units of the order's currency.
    """

    order: str
    verb: str
    version: int
    actor: Actor
    reason: str = ""
    evidence: str = ""
    amount_minor: int | None = None
    owner: str = ""
    until: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What became of a request: ``done``; ``repeated``: it was done before, by this very request; or ``proposed``: a second person must agree."""

    outcome: str
    sentence: str


def repeated(request: Request) -> Answer:
    sentence = f"{request.order}: {request.verb.replace('_', ' ')} was done already. Nothing was done twice."
    return Answer(outcome="repeated", sentence=sentence)


def stale(order_id: int, request: Request, now: str = "") -> Refused:
    """``now``: where the order stands, in words."""
    versions = f"{now}version {version_of(order_id)}, not {request.version}"
    return Refused(f"{request.order} has changed while you were looking ({versions}). Nothing was done.")


def permission_for(verb: str) -> str:
    return f"fulfillment.decide_{verb}"


def require_permission(actor: Actor, verb: str) -> None:
    """Raises Refused: the actor lacks the permission. Each operator action has one of its own."""
    actor.must_have(permission_for(verb), f"decide {verb.replace('_', ' ')}")


def refuse_a_card_number(*texts: str) -> None:
    """Raises Refused: a person has typed the number of a payment card."""
    if any(map(has_card_number, texts)):
        raise Refused(f"{REFUSED['card_number']} It was not kept: name the charge by its id at the provider.")


def refuse_what_is_not_legal(request: Request, legal: Mapping[str, Choice], where: str) -> None:
    """Raises Refused: the action is not legal as the order stands, or lacks what it needs. ``where``: where the order stands, in words."""
    if request.verb not in legal:
        raise Refused(f"{request.order} {where}: {request.verb} is not legal now. Legal: {', '.join(sorted(legal))}.")
    if not request.reason and request.verb not in NEEDS_NO_REASON:
        raise Refused(f"{request.verb} needs a reason.")
    given = {"evidence": request.evidence, "amount": request.amount_minor is not None, "owner": request.owner, "until": request.until}
    if missing := [name for name in legal[request.verb].needs if not given[name]]:
        raise Refused(f"{request.verb} needs {' and '.join(missing)}.")
    if long := [f"{name} has more than {most} characters" for name, most in LONGEST.items() if len(getattr(request, name)) > most]:
        raise Refused(f"{' and '.join(long).capitalize()}.")
    refuse_a_card_number(request.reason, request.evidence, request.owner)
    if request.until is not None and request.until <= shop_now():
        raise Refused("Snooze until when? That instant has passed.")
