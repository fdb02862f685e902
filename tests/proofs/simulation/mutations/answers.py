"""What is believed of answers, and how often is asked."""

import contextlib
from collections.abc import Iterator
from contextlib import contextmanager

from fulfillment import provider_call
from fulfillment.engine import compensation_end
from fulfillment.recovery import provider_lookup
from tests.proofs.simulation.mutations.replacement import replacing

# --- answers ---------------------------------------------------------------------------------------------------------------


def answers_believed() -> contextlib.AbstractContextManager[None]:
    """Whatever was taken counts as what was asked for."""
    return replacing(provider_call, as_asked=lambda step, order, receipt: receipt)


@contextmanager
def part_is_all() -> Iterator[None]:
    """Whatever was given back counts as all of it, and the ledger is not asked when the walk ends."""
    with (
        replacing(provider_call, as_scheduled=lambda compensation, given_back: given_back),
        replacing(compensation_end, _with_money_that_remains=lambda saga: None),
    ):
        yield


def repeated_answer_believed() -> contextlib.AbstractContextManager[None]:
    """What a provider answers from memory counts as what it shows now."""
    return replacing(provider_call, _still_there=lambda step, order, key, receipt: receipt)


def a_word_is_enough() -> contextlib.AbstractContextManager[None]:
    """A person's word counts, whatever the provider shows."""
    return replacing(provider_lookup, _refuse_what_is_not_whole=lambda *shown: None)


# --- attempts --------------------------------------------------------------------------------------------------------------


def refusal_ends_it_at_once() -> contextlib.AbstractContextManager[None]:
    """What was refused counts as never to land, so that the next attempt need not wait."""
    return replacing(provider_call, _await_what_nobody_sees=lambda claim, capabilities: None)


def without_keys_at_once() -> contextlib.AbstractContextManager[None]:
    """A compensation in doubt is asked for again as soon as nothing is shown."""
    return replacing(provider_call, _await_what_was_tried=lambda claim, capabilities: None)
