"""An honest operator of the simulation: what goes with a verb, once the person has seen to it that it is true."""

from typing import Any

from fulfillment import engine, ledger
from fulfillment.models import Saga
from tests.proofs.simulation.invariants import TOTAL_MINOR
from tests.proofs.simulation.oddities import HOME
from tests.proofs.simulation.provider import Provider

# What the simulation's operator may press.
OPERATORS = ("retry", "it_happened", "it_did_not", "start_undo", "undone_by_hand", "close", "retry_now")


def what_an_operator_gives(verb: str, saga: Saga, provider: Provider) -> dict[str, Any] | None:
    """What goes with the verb, once the person has seen to it that it is true; None: it would not be."""
    at = engine.standing(saga)
    assert at is not None
    record, what = at.record, "label" if at.name == "shipping" else "charge"
    effect = provider.known(what, record.do_key)
    if verb == "it_happened":
        is_careless = provider.oddities.happen  # and believes an old mail: the provider is asked before that counts
        return {"evidence": "seen at the provider"} if effect is not None and (effect.open_minor or is_careless) else None
    if verb == "it_did_not":
        return {} if effect is None else None
    if verb == "undone_by_hand":
        if record.name == "inventory":
            return None
        held = ledger.remaining(saga.order_id, record.name)  # all of it is back, whoever has given it back
        given_back = held if held or what == "label" or effect is None or effect.currency != HOME else effect.open_minor
        _leave_a_tombstone(provider, record.do_key)
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


def _leave_a_tombstone(provider: Provider, key: str) -> None:
    """A person has called the provider: what was under the key is gone, and nothing comes any more, of its compensation neither."""
    provider.tombs.add(key)
    for effect in provider.effects:
        if effect.key == key:
            effect.open_minor = 0
    step = key.split(":")[:2]
    provider.air = [flying for flying in provider.air if flying.key.split(":")[:2] != step]
