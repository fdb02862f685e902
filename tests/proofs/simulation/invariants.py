"""What must hold, after every move and at rest; which change is legal, says the model; and what an honest operator answers."""

import functools
from typing import Any

from fulfillment import engine, ledger
from fulfillment.card import Card
from fulfillment.models import Saga, SagaState
from tests.proofs.model.saga_journal import transition as legal
from tests.proofs.simulation.journal import Seen
from tests.proofs.simulation.oddities import HOME
from tests.proofs.simulation.provider import Provider

# What the simulation's operator may press.
OPERATORS = ("retry", "it_happened", "it_did_not", "start_undo", "undone_by_hand", "close", "retry_now")
TOTAL_MINOR = 100  # of every order
FAILED = ("payment_failed", "inventory_failed", "shipping_failed", "failed", "cancelled")


@functools.cache
def transition(before: tuple[Any, ...], after: tuple[Any, ...], card: Card) -> str | None:
    """The model's name of this change; None: it knows none."""
    name: str | None = legal(before, after, card.rejection_ends_doubt)
    return name


def always(seen: Seen, provider: Provider) -> str:
    """The first invariant that does not hold right now; empty if all do."""
    for key, times in provider.effects_ever.items():
        if times > 1:
            return f"{times} effects under one key ({key.split(':', 1)[1]})"
    for effect in provider.effects:
        if effect.given_back > effect.amount:
            return f"{effect.given_back} of {effect.amount} was given back ({effect.what})"
    if seen.events > 1:
        return "order.fulfilled was told twice"
    if seen.state == SagaState.COMPENSATED and any(
        record["state"] not in ("undone", "undone_by_hand", "not_needed") for record in seen.records
    ):
        return "compensated while an undo is open"
    if seen.state == SagaState.COMPENSATED and seen.captured_minor:
        return f"compensated while our ledger says that {seen.captured_minor} is captured"
    if seen.status in FAILED and seen.state not in (SagaState.COMPENSATED, SagaState.CLOSED_BY_OPERATOR):
        return f"shown as {seen.status} while its saga is {seen.state}"
    if not SagaState(seen.state).is_final and seen.wake_at is None and not seen.incidents:
        return "nobody will look, and nobody was told"
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
    if seen.events != events:
        return f"{seen.state}, but order.fulfilled was told {seen.events} times"
    if set(filter(None, seen.reservations.split(","))) - {reservations} or (due and not seen.reservations):
        return f"{seen.state}, but reservations are {seen.reservations or 'missing'}"
    return ""


def _closed(seen: Seen, provider: Provider, labels: int) -> str:
    """A person has closed it as it was: all money is given back or written off, and its stock has left with the parcel or is back. What came later was told."""
    if seen.events:
        return "closed, and told as fulfilled"
    if seen.captured_minor:
        return f"closed, and our ledger says that {seen.captured_minor} is neither given back nor written off"
    has_left = any((record["name"], record["state"]) == ("shipping", "undo_failed") for record in seen.records)
    if set(filter(None, seen.reservations.split(","))) - {"consumed" if has_left else "released"}:
        return f"closed, and reservations are {seen.reservations}, while its parcel {'has left' if has_left else 'has not left'}"
    if seen.incidents:
        return ""
    held = sum(effect.open_minor for effect in provider.effects if effect.what == "charge")
    if held > seen.written_off_minor:
        return f"closed, the provider holds {held}, {seen.written_off_minor} is written off, and nobody was told"
    return "closed, a parcel is on its way whose stock was given back, and nobody was told" if labels and not has_left else ""


def _open(provider: Provider, what: str) -> int:
    return sum(effect.what == what and effect.open_minor > 0 for effect in provider.effects)


def what_an_operator_gives(verb: str, saga: Saga, provider: Provider) -> dict[str, Any] | None:
    """What goes with the verb, once the person has seen to it that it is true; None: it would not be."""
    at = engine.standing(saga)
    assert at is not None
    record, what = at[0], "label" if at[0].name == "shipping" else "charge"
    effect = provider.known(what, record.do_key)
    if verb == "it_happened":
        looks_away = provider.oddities.happen  # and believes an old mail: the provider is asked before that counts
        return {"evidence": "seen at the provider"} if effect is not None and (effect.open_minor or looks_away) else None
    if verb == "it_did_not":
        return {} if effect is None else None
    if verb == "undone_by_hand":
        if record.name == "inventory":
            return None
        held = ledger.remaining(saga.order_id, record.name)  # all of it is back, whoever has given it back
        given_back = held if held or what == "label" or effect is None or effect.currency != HOME else effect.open_minor
        _close_the_door(provider, record.do_key)
        return {"evidence": "the provider has confirmed it", "amount_minor": given_back}
    if verb == "close":
        left = ledger.remaining(saga.order_id)
        return {"amount_minor": left} if _is_all_there_is(provider, left) else None
    return {}


def _is_all_there_is(provider: Provider, left: int) -> bool:
    """The provider holds what our ledger says, and nothing more can come."""
    return not provider.air and left == sum(
        effect.open_minor if effect.currency == HOME else TOTAL_MINOR + 1 for effect in provider.effects if effect.what == "charge"
    )


def _close_the_door(provider: Provider, key: str) -> None:
    """A person has called the provider: what was under the key is gone, and nothing comes any more, of its undo neither."""
    provider.tombs.add(key)
    for effect in provider.effects:
        if effect.key == key:
            effect.open_minor = 0
    step = key.split(":")[:2]
    provider.air = [flying for flying in provider.air if flying.key.split(":")[:2] != step]
