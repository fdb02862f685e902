"""Scripted cases: histories that are known to hurt, written step by step. Most were found by the model, as the shortest way to a breach of a broken rule."""

from tests.proofs.simulation.scripted_cases.closings import closed_with_a_parcel_that_has_left, closed_with_what_the_bank_keeps
from tests.proofs.simulation.scripted_cases.lost_workers import (
    cancelled_before_an_open_circuit,
    killed_when_its_order_is_fulfilled,
    landing_after_a_blind_compensation,
    late_outcome_after_a_lost_turn_back,
    probe_that_is_lost_with_the_database,
    started_and_lost_before_an_open_circuit,
    taken_over_after_the_key_is_forgotten,
    unavailable_after_a_charge,
)
from tests.proofs.simulation.scripted_cases.refusals import (
    a_part_is_given_back_and_then_the_refund_is_refused,
    a_refund_in_doubt_is_unavailable_and_then_refused,
    a_refund_in_the_air_without_keys,
    a_refused_refund_is_tried_again,
    a_refused_refund_lands_after_all,
)
from tests.proofs.simulation.scripted_cases.wrong_answers import (
    a_blind_refund_of_a_part,
    a_charge_of_another_amount,
    a_refund_of_a_part,
    refunded_by_support_before_a_person_says_that_it_happened,
    refunded_by_support_before_it_is_asked_for_again,
    refunded_in_part_by_support_before_its_compensation,
)
from tests.proofs.simulation.scripted_cases.wrong_clocks import (
    set_forward_before_a_process_that_has_just_begun,
    set_forward_under_a_try_while_nobody_sweeps,
    set_forward_under_a_worker,
    set_forward_while_a_charge_is_in_the_air,
    set_forward_while_it_waits,
    set_forward_while_nobody_sweeps,
)
from tests.proofs.simulation.simulator import ScriptedCase

SCRIPTED_CASES = {
    "late outcome after a lost turn back": ScriptedCase("tombstone", late_outcome_after_a_lost_turn_back),
    "landing after a blind compensation": ScriptedCase("tombstone", landing_after_a_blind_compensation),
    "unavailable after a charge": ScriptedCase("tombstone", unavailable_after_a_charge),
    "cancelled before an open circuit": ScriptedCase("tombstone", cancelled_before_an_open_circuit),
    "probe that is lost with the database": ScriptedCase("tombstone", probe_that_is_lost_with_the_database),
    "started and lost before an open circuit": ScriptedCase("tombstone", started_and_lost_before_an_open_circuit),
    "taken over after the key is forgotten": ScriptedCase("tombstone", taken_over_after_the_key_is_forgotten),
    "killed when its order is fulfilled": ScriptedCase("tombstone", killed_when_its_order_is_fulfilled),
    "a charge of another amount": ScriptedCase("tombstone", a_charge_of_another_amount),
    "a refund of a part": ScriptedCase("tombstone", a_refund_of_a_part),
    "a blind refund of a part": ScriptedCase("burn", a_blind_refund_of_a_part),
    "refunded by support before it is asked for again": ScriptedCase("tombstone", refunded_by_support_before_it_is_asked_for_again),
    "refunded by support before a person says that it happened": ScriptedCase(
        "tombstone", refunded_by_support_before_a_person_says_that_it_happened
    ),
    "refunded in part by support before its compensation": ScriptedCase("tombstone", refunded_in_part_by_support_before_its_compensation),
    "a refused refund is tried again": ScriptedCase("tombstone", a_refused_refund_is_tried_again),
    "a refused refund lands after all": ScriptedCase("watch", a_refused_refund_lands_after_all),
    "a part is given back, and then the refund is refused": ScriptedCase("burn", a_part_is_given_back_and_then_the_refund_is_refused),
    "a refund in doubt is unavailable, and then refused": ScriptedCase("forgetful", a_refund_in_doubt_is_unavailable_and_then_refused),
    "a refund in the air without keys": ScriptedCase("keyless", a_refund_in_the_air_without_keys),
    "closed with what the bank keeps": ScriptedCase("tombstone", closed_with_what_the_bank_keeps),
    "closed with a parcel that has left": ScriptedCase("tombstone", closed_with_a_parcel_that_has_left),
    "set forward under a worker": ScriptedCase("keyless", set_forward_under_a_worker),
    "set forward while it waits": ScriptedCase("tombstone", set_forward_while_it_waits),
    "set forward while a charge is in the air": ScriptedCase("keyless", set_forward_while_a_charge_is_in_the_air),
    "set forward before a process that has just begun": ScriptedCase("keyless", set_forward_before_a_process_that_has_just_begun),
    "set forward while nobody sweeps": ScriptedCase("tombstone", set_forward_while_nobody_sweeps),
    "set forward under a try while nobody sweeps": ScriptedCase("tombstone", set_forward_under_a_try_while_nobody_sweeps),
}
