"""Recovery: the sweep, its probes, and what a person may decide. None of it publishes: the sweep returns what to launch, and a verb only makes the saga due now.

``sweeping`` finds what is due, ``containing`` keeps the trouble of one saga from the others, ``quarantine`` is where those are on which nobody can work,
``circuits`` looks after providers that are out, ``probes`` tell loss from backlog, ``choices`` says what may be decided about an order, ``verbs`` does it,
``bulk`` does it to many, as a set that was previewed, ``grouping`` shows what one cause has brought about, ``reconciliations`` says what became of the last
one.
"""

from fulfillment.recovery.bulk import work as work_off_batches
from fulfillment.recovery.choices import Choice, choices, version_of
from fulfillment.recovery.circuits import probes as circuit_probes
from fulfillment.recovery.containment import ClockHasJumped, Due, Memory, contained
from fulfillment.recovery.decisions import VERBS, cancel, decide, retry_now
from fulfillment.recovery.incident_groups import Group, amounts, awake, groups, snoozed
from fulfillment.recovery.jumps import Jump, move_with_the_clock
from fulfillment.recovery.probes import probe_came_out, probe_not_sent, probes_due, tell_of_unserved_queues, unanswered_for_s
from fulfillment.recovery.quarantine import HELD_BY_SOMEBODY, held_by_somebody, held_since
from fulfillment.recovery.reconciliations import (
    last_reconciliation,
    not_compared_for_s,
    reconciliation_begins,
    reconciliation_ended,
    reconciliation_exited,
    reconciliation_failed,
)
from fulfillment.recovery.requests import Answer, Request
from fulfillment.recovery.sweep import BEAT_EVERY, beat, due, look, not_published, postpone, reconciliation_is_due, sweep_age_s
from orders.operators import Refused

__all__ = [
    "BEAT_EVERY",
    "HELD_BY_SOMEBODY",
    "VERBS",
    "Answer",
    "Choice",
    "ClockHasJumped",
    "Due",
    "Group",
    "Jump",
    "Memory",
    "Refused",
    "Request",
    "amounts",
    "awake",
    "beat",
    "cancel",
    "choices",
    "circuit_probes",
    "contained",
    "decide",
    "due",
    "groups",
    "held_by_somebody",
    "held_since",
    "last_reconciliation",
    "look",
    "move_with_the_clock",
    "not_compared_for_s",
    "not_published",
    "postpone",
    "probe_came_out",
    "probe_not_sent",
    "probes_due",
    "reconciliation_begins",
    "reconciliation_ended",
    "reconciliation_exited",
    "reconciliation_failed",
    "reconciliation_is_due",
    "retry_now",
    "snoozed",
    "sweep_age_s",
    "tell_of_unserved_queues",
    "unanswered_for_s",
    "version_of",
    "work_off_batches",
]
