"""Recovery: the sweep, and what a person may decide. None of it publishes: the sweep returns what to launch, and a decision only makes the saga due now.

The sweep. ``sweep`` finds what is due, ``inspection`` works on one saga, ``containment`` keeps its trouble from the others, ``sweep_memory`` is what one sweep
remembers, and ``heartbeat`` shows that it is at work. ``quarantine`` holds the sagas that nobody can work on. ``queue_probes`` distinguish loss from backlog,
``circuits`` inspects providers that are out, ``clock_jumps`` moves open sagas with a clock that has jumped.

A person. ``choices`` says what is legal, ``requests`` what is asked and answered, ``decisions`` does it. ``action_table`` is what each action does;
``provider_lookup``, ``stated_amounts``, ``second_approval`` and ``decision_entries`` are what a decision needs before. ``safe_actions`` need no version,
``bulk_retries`` retries many orders, and ``unreadable_orders`` are decided without reading them. ``incident_groups`` shows what one cause has brought about.

``manage.py recover --restored`` is elsewhere: ``fulfillment.reconciliation.restored`` and ``fulfillment.engine.restore``.

``reconciliations`` says what became of the last reconciliation, and ``releases`` which releases run.
"""

from fulfillment.recovery.action_table import VERBS
from fulfillment.recovery.bulk_retries import work as work_off_batches
from fulfillment.recovery.choices import Choice, choices, version_of
from fulfillment.recovery.circuits import launch_probes
from fulfillment.recovery.clock_jumps import Jump, move_with_the_clock
from fulfillment.recovery.containment import ClockHasJumped, Due, contained
from fulfillment.recovery.decisions import decide
from fulfillment.recovery.heartbeat import HEARTBEAT_EVERY, reconciliation_is_due, record_heartbeat, sweep_age_s
from fulfillment.recovery.incident_groups import Group, amounts, awake, groups, snoozed
from fulfillment.recovery.inspection import inspect_saga, postpone, relaunch, wake_lost
from fulfillment.recovery.quarantine import ROWS_LOCKED, held_since, locked_count
from fulfillment.recovery.queue_probes import QUEUES, probes
from fulfillment.recovery.reconciliations import (
    last_reconciliation,
    not_compared_for_s,
    reconciliation_begins,
    reconciliation_ended,
    reconciliation_exited,
    reconciliation_failed,
)
from fulfillment.recovery.requests import Answer, Request
from fulfillment.recovery.safe_actions import can_be_cancelled, cancel, cancel_outcome, retry_now
from fulfillment.recovery.sweep import anything_due, due, not_published
from fulfillment.recovery.sweep_memory import Memory
from orders.operators import Refused

__all__ = [
    "HEARTBEAT_EVERY",
    "QUEUES",
    "ROWS_LOCKED",
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
    "anything_due",
    "awake",
    "can_be_cancelled",
    "cancel",
    "cancel_outcome",
    "choices",
    "contained",
    "decide",
    "due",
    "groups",
    "held_since",
    "inspect_saga",
    "last_reconciliation",
    "launch_probes",
    "locked_count",
    "move_with_the_clock",
    "not_compared_for_s",
    "not_published",
    "postpone",
    "probes",
    "reconciliation_begins",
    "reconciliation_ended",
    "reconciliation_exited",
    "reconciliation_failed",
    "reconciliation_is_due",
    "record_heartbeat",
    "relaunch",
    "retry_now",
    "snoozed",
    "sweep_age_s",
    "version_of",
    "wake_lost",
    "work_off_batches",
]
