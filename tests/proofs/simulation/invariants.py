"""What must hold, after every move and at rest; which change is legal, says the model."""

import functools
from typing import Any

from fulfillment.capabilities import Capabilities
from fulfillment.models import SagaState
from tests.proofs.model.saga_journal import transition as legal
from tests.proofs.simulation.journal import Seen
from tests.proofs.simulation.oddities import HOME
from tests.proofs.simulation.provider import Provider

TOTAL_MINOR = 100  # of every order
ONCE = ("order.created", "payment.failed", "inventory.failed", "shipment.failed", "order.fulfilled", "order.failed", "order.cancelled")
FAILED = ("payment_failed", "inventory_failed", "shipping_failed", "failed", "cancelled")


@functools.cache
def transition(before: tuple[Any, ...], after: tuple[Any, ...], capabilities: Capabilities) -> str | None:
    """The model's name of this change; None: it knows none."""
    name: str | None = legal(before, after, capabilities.rejection_ends_doubt)
    return name


def always(seen: Seen, provider: Provider) -> str:
    """The first invariant that does not hold right now; empty if all do."""
    for key, times in provider.effects_ever.items():
        if times > 1:
            return f"{times} effects under one key ({key.split(':', 1)[1]})"
    for effect in provider.effects:
        if effect.given_back > effect.amount:
            return f"{effect.given_back} of {effect.amount} was given back ({effect.what})"
    for type_ in ONCE:
        if seen.told(type_) > 1:
            return f"{type_} was recorded twice"
    if seen.state == SagaState.COMPENSATED and any(
        record["state"] not in ("compensated", "compensated_by_hand", "not_needed") for record in seen.records
    ):
        return "compensated while a compensation is open"
    if seen.state == SagaState.COMPENSATED and seen.captured_minor:
        return f"compensated while our ledger says that {seen.captured_minor} is captured"
    if seen.status in FAILED and seen.state not in (SagaState.COMPENSATED, SagaState.CLOSED_BY_OPERATOR):
        return f"shown as {seen.status} while its saga is {seen.state}"
    if not SagaState(seen.state).is_final and seen.wake_at is None and not seen.incidents:
        return "there is neither a wake-up nor an incident"
    return ""


def at_rest(seen: Seen, provider: Provider, answered: set[str]) -> str:
    """Once nothing moves any more: paid and shipped, or neither; or a person knows."""
    charged, labels = _open(provider, "charge"), _open(provider, "label")
    if seen.state == SagaState.COMPLETED:
        if "accepted" in answered:
            return "a cancel was accepted, and the order was fulfilled all the same"
        return _differs(seen, provider, charged, labels, due=1, reservations="consumed", events=1)
    if seen.state == SagaState.COMPENSATED:
        return _differs(seen, provider, charged, labels, due=0, reservations="released", events=0)
    if seen.state == SagaState.NEEDS_ATTENTION:
        return "shipped for free" if labels and not charged and not seen.incidents else ""
    if seen.state == SagaState.CLOSED_BY_OPERATOR:
        return _closed(seen, provider, labels)
    return f"stranded as {seen.state}"


def _differs(seen: Seen, provider: Provider, charged: int, labels: int, *, due: int, reservations: str, events: int) -> str:
    if (charged, labels) != (due, due):
        return f"{seen.state}, but {charged} charges and {labels} labels are open"
    if any(0 < effect.open_minor < effect.amount for effect in provider.effects):
        return f"{seen.state}, with a charge that is partly refunded"
    taken = [(effect.open_minor, effect.currency) for effect in provider.effects if effect.what == "charge" and effect.open_minor]
    if taken != [(TOTAL_MINOR, HOME)] * due:
        return f"{seen.state}, and the customer has paid {taken}"
    if seen.captured_minor != TOTAL_MINOR * due:
        return f"{seen.state}, and our ledger says that {seen.captured_minor} is captured"
    if seen.told("order.fulfilled") != events:
        return f"{seen.state}, but order.fulfilled was recorded {seen.told('order.fulfilled')} times"
    if wrong := _told_wrongly(seen):
        return wrong
    if set(filter(None, seen.reservations.split(","))) - {reservations} or (due and not seen.reservations):
        return f"{seen.state}, but reservations are {seen.reservations or 'missing'}"
    return ""


def _told_wrongly(seen: Seen) -> str:
    """What the public events say of an order that has ended, and is not so."""
    ends = [type_ for type_, _ in seen.facts if type_ in ("order.fulfilled", "order.failed", "order.cancelled")]
    due = (
        "order.fulfilled"
        if seen.state == SagaState.COMPLETED
        else "order.cancelled"
        if seen.saga["failure"] == "cancelled"
        else "order.failed"
    )
    if ends != [due]:
        return f"{seen.state}, and the world is told {' and '.join(ends) or 'nothing'}, not {due}"
    if seen.told("order.created") != 1:
        return "nobody was told of the order"
    told = sum(fact["amount_minor"] for type_, fact in seen.facts if type_ == "payment.refunded" and fact["currency"] == HOME)
    entered = sum(entry["amount_minor"] for entry in seen.ledger if entry["operation"] == "refunded")
    if told != entered:
        return f"{seen.state}, the world is told of {told} given back, and our ledger has {entered}"
    return ""


def _closed(seen: Seen, provider: Provider, labels: int) -> str:
    """Closed by a person as it was: its money is given back or written off, and its stock has left with the parcel or is back. What came later is an incident."""
    if wrong := _told_wrongly(seen):
        return wrong
    if seen.captured_minor:
        return f"closed, and our ledger says that {seen.captured_minor} is neither given back nor written off"
    has_left = any((record["name"], record["state"]) == ("shipping", "compensation_failed") for record in seen.records)
    if set(filter(None, seen.reservations.split(","))) - {"consumed" if has_left else "released"}:
        return f"closed, and reservations are {seen.reservations}, while its parcel {'has left' if has_left else 'has not left'}"
    if seen.incidents:
        return ""
    held = sum(effect.open_minor for effect in provider.effects if effect.what == "charge")
    if held > seen.written_off_minor:
        return f"closed, the provider holds {held}, {seen.written_off_minor} is written off, and there is no incident"
    return "closed, a parcel is on its way whose stock was given back, and there is no incident" if labels and not has_left else ""


def _open(provider: Provider, what: str) -> int:
    return sum(effect.what == what and effect.open_minor > 0 for effect in provider.effects)
