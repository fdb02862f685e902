"""The engine: every transition of a saga is one transaction, fenced, and written down in the history. It never calls a provider and never publishes a message.

Each transition takes the saga's row lock, checks the fencing token (``claim`` says what that is), and writes state and history together.
docs/semantics.md lists the transitions; tests/proofs/model searches them.

Read in this order. ``creation`` opens a saga. ``tries`` starts a step and records its outcome, ``outcomes`` writes it, ``local_steps`` does both at once on our
own rows; ``hot_path`` does the same in one statement each, where nothing is unusual. ``progress`` schedules the next step, ``compensation`` goes back.
``resumption`` is what an errback and the sweep do, ``lost_messages`` a part of it by the page, ``cancellation`` a cancel, ``operator_actions`` a person,
``restore`` a restored backup. ``circuit_holds``, ``circuit_probes``, ``database_trouble``, ``rolling_deploys`` and ``backlog`` are the five reasons to wait;
``budget`` says for how long. ``escalation`` stops a saga and notifies a person. ``public_events`` records what the world is told. Below them: ``attempt_keys``,
``claim``, ``launch``, ``position``, ``pinned_plan``, ``action`` and ``journal``, which has the rows.

Note: who writes the journal. The engine alone creates and writes rows of ``Saga``, ``StepRecord`` and ``PastAttempt``, also in its statements
(``fulfillment/queries.sql``), except for instants and launch counts that recovery moves, and for a customer's name that erasure replaces; nobody deletes one.
tests/architecture/test_layout.py names each exception, by file and column.

Note: what may be lost. A transaction whose loss only repeats something idempotent does not wait for the disk: a start, or an outcome that says Unavailable or
InDoubt. Everything else waits: whatever raises the epoch, schedules, records a success or a rejection, or answers a person.
"""

from fulfillment.engine.action import Action, ActionState, current
from fulfillment.engine.attempt_keys import do_keys, was_refused
from fulfillment.engine.backlog import move_up, move_up_all, postpone, postpone_all
from fulfillment.engine.cancellation import can_be_cancelled, cancel_outcome, request_cancel
from fulfillment.engine.circuit_holds import open_circuit_incident, sentence_with_waiting
from fulfillment.engine.circuit_probes import probe
from fulfillment.engine.claim import Claim, Recorded
from fulfillment.engine.creation import open_saga
from fulfillment.engine.database_trouble import is_put_off, put_off, waiting_for_our_database
from fulfillment.engine.escalation import at_risk_minor
from fulfillment.engine.journal import append_entry, locking
from fulfillment.engine.launch import Launch, launch_of, run_name
from fulfillment.engine.local_steps import run_local
from fulfillment.engine.lost_messages import WOKEN, relaunch_all, wake_lost
from fulfillment.engine.pinned_plan import is_local, is_newer, planned, step_of
from fulfillment.engine.position import current_action, pivot_succeeded, standing
from fulfillment.engine.public_events import step_compensated
from fulfillment.engine.restore import Shown, differs, is_in_doubt, restored
from fulfillment.engine.resumption import chain_stopped, could_not_start, inspect_saga
from fulfillment.engine.rolling_deploys import left_at_its_end, message_dropped
from fulfillment.engine.transition import transition
from fulfillment.engine.tries import may_record, record_failure, record_success, start

__all__ = [
    "WOKEN",
    "Action",
    "ActionState",
    "Claim",
    "Launch",
    "Recorded",
    "Shown",
    "append_entry",
    "at_risk_minor",
    "can_be_cancelled",
    "cancel_outcome",
    "chain_stopped",
    "could_not_start",
    "current",
    "current_action",
    "differs",
    "do_keys",
    "inspect_saga",
    "is_in_doubt",
    "is_local",
    "is_newer",
    "is_put_off",
    "launch_of",
    "left_at_its_end",
    "locking",
    "may_record",
    "message_dropped",
    "move_up",
    "move_up_all",
    "open_circuit_incident",
    "open_saga",
    "pivot_succeeded",
    "planned",
    "postpone",
    "postpone_all",
    "probe",
    "put_off",
    "record_failure",
    "record_success",
    "relaunch_all",
    "request_cancel",
    "restored",
    "run_local",
    "run_name",
    "sentence_with_waiting",
    "standing",
    "start",
    "step_compensated",
    "step_of",
    "transition",
    "waiting_for_our_database",
    "wake_lost",
    "was_refused",
]
