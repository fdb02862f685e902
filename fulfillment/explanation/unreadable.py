"""Unreadable orders: an order that no process can work on is explained from plain columns alone. Its saga, its plan and its receipts are never read."""

from fulfillment.explanation.answer import THE_SWEEP, WHOEVER_HOLDS_IT, WITH_A_PERSON, Explanation
from fulfillment.models import Quarantine
from fulfillment.recovery import ROWS_LOCKED, unreadable_orders, version_of
from orders.incidents import Incident, IncidentKind
from orders.models import Order


def nobody_can_work_on(order: Order, waiting: Quarantine | None, wrong: str) -> Explanation:
    """``waiting`` None: it is not in quarantine, and ``wrong`` names the error that reading it has raised."""
    incidents = tuple(incident for incident in order.incidents.all() if incident.is_open)
    reasons = "".join(f"{_beside(incident, waiting)} " for incident in incidents)
    if waiting is not None:
        reasons += _why_it_waits(waiting)
    else:
        reasons += f"This code cannot read what the journal says about it ({wrong})."
    follows = "Someone has to look." if incidents else "If that goes on, a person is notified."
    return Explanation(
        sentence=f"{reasons} {follows}",
        public=WITH_A_PERSON if incidents else "It takes longer than usual.",
        since=waiting.first_at if waiting else order.placed_at,
        next_at=waiting.inspect_at if waiting else None,
        blocked_on="a person" if incidents else WHOEVER_HOLDS_IT if _is_held(waiting) else THE_SWEEP,
        version=version_of(order.pk),
        choices=tuple(unreadable_orders.choices_of(waiting, bool(incidents))),
        incidents=incidents,
    )


def _beside(incident: Incident, waiting: Quarantine | None) -> str:
    """The sentence of an incident, without its reason where the quarantine has a newer one."""
    return incident.without_reason if waiting is not None and incident.kind == IncidentKind.QUARANTINED else incident.sentence


def _is_held(waiting: Quarantine | None) -> bool:
    """Nothing is wrong with the order: somebody else holds its rows."""
    return waiting is not None and waiting.code == ROWS_LOCKED


def _why_it_waits(waiting: Quarantine) -> str:
    often = "once" if waiting.failures == 1 else f"{waiting.failures} times"
    at = f"{waiting.last_at:%H:%M:%S}"
    if _is_held(waiting):
        held = f"at the last inspection, at {at}, somebody else held rows that it needs"
        return (
            f"The sweep could not work on it {often}; {held}. It goes on by itself when they let go; `manage.py doctor` names them (locks)."
        )
    return f"The sweep has failed on it {often}, last at {at} ({waiting.code}), and inspects it again by itself."
