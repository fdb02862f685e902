"""The script of a case, by which its order gets to its boundary: which card and address it is placed with, how it is made to turn back, and how it must end."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from django.conf import settings

from fulfillment.capabilities import Blind
from fulfillment.gateways import SANDBOXES, capabilities_of, chosen
from fulfillment.step import Kind, Step
from orders.models import Status
from tests.proofs.crash_matrix.cases import (
    FORGOTTEN,
    NONE,
    NOTHING_TAKEN,
    OTHER_AMOUNT,
    OTHER_CURRENCY,
    REFUNDED_OUTSIDE,
    REFUSED_ONCE,
    SCRIPTED,
    Case,
    first_of,
)
from tests.proofs.crash_matrix.proxy import FAULTS as PROXIED

ALWAYS = 99
GOOD_CARD = "tok_ok"
INCIDENT = "needs_attention"  # a person decides: an incident is open
FORGETFUL, PLAIN = "sandbox_forgetful", "sandbox"
REJECTED = {  # (role, is a compensation) → the card or the address with which the sandbox rejects it
    ("payments", False): {"token": "tok_declined"},
    ("payments", True): {"token": "tok_refund_declined"},
    ("carrier", False): {"postal_code": "00422"},
    ("carrier", True): {"postal_code": "00410"},
}
ANSWERED = {  # (fault, is a compensation) → the card whose charge, or refund, the sandbox answers so
    (OTHER_AMOUNT, False): "tok_takes_1",
    (OTHER_AMOUNT, True): "tok_refunds_1_first",
    (OTHER_CURRENCY, False): "tok_takes_idr",
    (NOTHING_TAKEN, False): "tok_takes_nothing",
}


@dataclass
class Script:
    """``holds``: faults armed to get there, which are not the case's own: (fault, step, direction, how often). ``provokes``: crash points of the same kind.

    ``cancel_at``: the step whose first try brings the cancel; empty: nobody cancels. ``ends``: every way in which it may end.
    ``closed_behind``: the step whose rejection says nothing about an earlier try, so that there must be a tombstone. ``is_retried``: once it waits for a
    person, that person lets it be tried again.
    ``refunded_at``: the step that is refunded outside while nobody knows that it took place, and of which a person then says that it happened.
    """

    ends: frozenset[str]
    token: str
    sku: str
    postal_code: str = "T12 X7YZ"
    pins: dict[str, str] = field(default_factory=dict)
    holds: list[tuple[str, str, str, int]] = field(default_factory=list)
    provokes: list[tuple[str, str]] = field(default_factory=list)
    cancel_at: str = ""
    closed_behind: str = ""
    is_retried: bool = False
    refunded_at: str = ""

    def body(self) -> dict[str, Any]:
        return {
            "reference": "prove",
            "currency": settings.SHOP_CURRENCY,
            "customer": {"email": "prove@example.com", "name": "Amara Okafor"},
            "lines": [{"sku": self.sku, "quantity": 1}],
            "payment": {"token": self.token},
            "shipping_address": {
                "name": "Amara Okafor",
                "line1": "12 Harbour Rd",
                "city": "Cork",
                "postal_code": self.postal_code,
                "country": "IE",
            },
        }


def script_of(case: Case, steps: Sequence[Step], token: str = GOOD_CARD, sku: str = "TENT-2P-GRN") -> Script:
    script = Script(ends=frozenset({Status.FULFILLED}), token=token, sku=sku)
    step = next(step for step in steps if step.name == case.step)
    if case.is_compensation:
        _turn_back(script, case, step, steps)
    if case.fault == FORGOTTEN:
        _reject(script, case, step)
    if case.fault == REFUSED_ONCE:
        script.token, script.is_retried = "tok_refund_declined_once", True
    if (case.fault, case.is_compensation) in ANSWERED:
        _answer_otherwise(script, case, step)
    if case.fault == REFUNDED_OUTSIDE:
        _refund_outside(script, step)
    _provoke(script, case, step)
    return script


def needs_proxy(case: Case, steps: Sequence[Step]) -> bool:
    """For its fault, or to get there."""
    return case.fault in PROXIED or bool(script_of(case, steps).holds)


def sandboxed_roles(steps: Sequence[Step]) -> list[str]:
    """The roles that the sandbox plays for new orders: there a rejection can be scripted by a test value."""
    return [role for role in dict.fromkeys(step.role for step in steps if step.role) if chosen(role) in SANDBOXES]


def _turn_back(script: Script, case: Case, step: Step, steps: Sequence[Step]) -> None:
    """By the carrier's rejection where that can be scripted; else by a cancel while the pivot is held.

    What is compensated at the pivot itself is perhaps there: it was done and never answered; or, where nothing else is wrong, it lands while it is being
    compensated.
    """
    pivot = next((step for step in steps if step.kind is Kind.PIVOT), steps[-1])
    if step is not pivot and pivot.role == "carrier" and pivot is first_of("carrier", steps) and "carrier" in sandboxed_roles(steps):
        script.postal_code, script.ends = "00422", frozenset({Status.failure_of(pivot.name)})
        return
    in_doubt = "late_landing" if case.fault == NONE else "timeout_applied"
    script.holds.append((in_doubt if step is pivot else "refused_503", pivot.name, "do", ALWAYS))
    script.cancel_at, script.ends = pivot.name, frozenset({Status.CANCELLED})
    if pivot.role and capabilities_of(pivot.role, chosen(pivot.role)).blind is Blind.WATCH:
        script.ends |= {INCIDENT}  # nobody can prove that the booking does not exist


def _reject(script: Script, case: Case, step: Step) -> None:
    script.pins[step.role] = FORGETFUL
    for name, value in REJECTED[step.role, case.is_compensation].items():
        setattr(script, name, value)
    script.ends = frozenset({INCIDENT if case.is_compensation else Status.failure_of(step.name)})
    script.closed_behind = "" if case.is_compensation else step.name


def _answer_otherwise(script: Script, case: Case, step: Step) -> None:
    """What our ledger can hold is given back as what it was; for what it cannot hold, a person gets an incident."""
    script.token = ANSWERED[case.fault, case.is_compensation]
    if not case.is_compensation:
        script.ends = frozenset({Status.failure_of(step.name) if case.fault == OTHER_AMOUNT else INCIDENT})


def _refund_outside(script: Script, step: Step) -> None:
    """Nobody hears of the charge until the person was refused; asked again then, its provider says that it was made, and shows that it was given back."""
    script.pins[step.role] = PLAIN
    script.holds.append(("timeout_applied", step.name, "do", ALWAYS))
    script.refunded_at, script.ends = step.name, frozenset({Status.failure_of(step.name)})


def _provoke(script: Script, case: Case, step: Step) -> None:
    """An errback needs a worker that was lost; the sweep needs something to be due."""
    needs_errback = case.boundary == "failed"
    needs_sweep = case.boundary == "sweep" and (step.local or case.fault in (NONE, "slow", *SCRIPTED))
    if needs_errback or needs_sweep:
        where = "before_outcome_commit" if step.local else "after_start"
        script.provokes.append((f"{where}.{case.direction}.{step.name}", "raise" if needs_sweep and step.local else "kill"))
