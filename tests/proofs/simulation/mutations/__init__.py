"""Mutations: engines that are broken on purpose, one rule each (mutation testing): a proof that finds nothing wrong with them would prove nothing. The names are
the model's.

Each is a context in which the engine of this process breaks its rule; tests run the simulation in it and must see a breach.
"""

import contextlib
from collections.abc import Callable

from tests.proofs.simulation.mutations.answers import (
    a_word_is_enough,
    answers_believed,
    part_is_all,
    refusal_ends_it_at_once,
    repeated_answer_believed,
    without_keys_at_once,
)
from tests.proofs.simulation.mutations.clocks import (
    deadlines_not_moved,
    jumps_not_noticed,
    look_up_by_the_clock,
    lost_time_counts,
    swept_until_now,
    takes_over_by_the_clock,
)
from tests.proofs.simulation.mutations.endings import closing_keeps_the_stock, closing_writes_nothing_off, dirty_connection_kept
from tests.proofs.simulation.mutations.fencing import (
    blind_compensation_by_look_up,
    epoch_does_not_wait,
    fence_off,
    intent_not_first,
    key_per_try,
    outcome_without_claim,
    scheduled_is_not_called,
    unavailable_is_not_done,
    window_from_start,
)
from tests.proofs.simulation.mutations.progress import (
    compensation_blocks_ignored,
    event_in_its_own_commit,
    probe_does_not_wait,
    scheduled_without_wake_at,
    withdraws_anything_scheduled,
)

MUTATIONS: dict[str, Callable[[], contextlib.AbstractContextManager[None]]] = {
    "fence off": fence_off,
    "outcome without claim": outcome_without_claim,
    "intent not committed first": intent_not_first,
    "key minted per try": key_per_try,
    "scheduled read as not called": scheduled_is_not_called,
    "unavailable read as not done": unavailable_is_not_done,
    "epoch raised without waiting": epoch_does_not_wait,
    "window counted from start": window_from_start,
    "blind compensation by look-up alone": blind_compensation_by_look_up,
    "anything scheduled is withdrawn": withdraws_anything_scheduled,
    "probe that does not wait": probe_does_not_wait,
    "scheduled without wake_at": scheduled_without_wake_at,
    "compensation_blocks ignored": compensation_blocks_ignored,
    "event in its own commit": event_in_its_own_commit,
    "jumps not noticed": jumps_not_noticed,
    "deadlines not moved": deadlines_not_moved,
    "lost time counts": lost_time_counts,
    "taken over by the clock": takes_over_by_the_clock,
    "looked up by the clock": look_up_by_the_clock,
    "sweep believed after its heartbeat": swept_until_now,
    "answers believed": answers_believed,
    "part is all": part_is_all,
    "repeated answer believed": repeated_answer_believed,
    "a word is enough": a_word_is_enough,
    "refusal ends it at once": refusal_ends_it_at_once,
    "asked again at once without keys": without_keys_at_once,
    "closing writes nothing off": closing_writes_nothing_off,
    "closing keeps the stock": closing_keeps_the_stock,
    "dirty connection kept": dirty_connection_kept,
}
