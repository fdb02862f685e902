"""The engine: open, start, settle, turn back, take over, park. It never calls a provider and never publishes.

The only writer of a saga's and a step's states, fences, keys, receipts and budgets. Recovery moves instants (when a saga is looked at; all of them with a clock
that has jumped) and counts launches; whoever tells of something adds to the history.

Each transition takes the saga's row lock, checks the fence (``epoch``, and for a settle ``claim``), and writes state and history in one transaction.
docs/semantics.md lists the transitions; tests/proofs/model searches them.
Read ``opening``, ``trying``, ``walking``, ``attempting``, ``waking``, ``leaving``, ``putting_off``, ``deciding`` in this order;
``holding`` and ``probing`` are what happens before an open circuit.

Note: what may be lost. A transaction whose loss only repeats something idempotent (a start; a settle that says Unavailable or InDoubt) does not wait for the disk.
Everything else does: whatever raises the epoch, grants, settles a success or a rejection, or answers a person.
"""

from fulfillment.engine.attempt_keys import do_keys, was_refused
from fulfillment.engine.attempts import may_settle, run_local, settle_failure, settle_success, start
from fulfillment.engine.backlog import postpone, postpone_all
from fulfillment.engine.circuit_holds import tell_of
from fulfillment.engine.circuit_probes import probe
from fulfillment.engine.claim import Claim, Settled
from fulfillment.engine.creation import open_saga
from fulfillment.engine.database_trouble import is_put_off, put_off, waiting_for_our_database
from fulfillment.engine.journal import locking, tell
from fulfillment.engine.launch import Launch, launch_of, run_name
from fulfillment.engine.pinned_plan import is_local, is_newer, planned, step_of
from fulfillment.engine.position import border, pivot_succeeded, standing
from fulfillment.engine.progress import at_risk_minor, left_at_its_end
from fulfillment.engine.restore import Shown, differs, is_in_doubt, restored
from fulfillment.engine.resumption import chain_stopped, could_not_start, look, request_cancel
from fulfillment.engine.rolling_deploys import message_dropped
from fulfillment.engine.step_states import GRANTED, STARTED, WAITING
from fulfillment.engine.transition import transition

__all__ = [
    "GRANTED",
    "STARTED",
    "WAITING",
    "Claim",
    "Launch",
    "Settled",
    "Shown",
    "at_risk_minor",
    "border",
    "chain_stopped",
    "could_not_start",
    "differs",
    "do_keys",
    "is_in_doubt",
    "is_local",
    "is_newer",
    "is_put_off",
    "launch_of",
    "left_at_its_end",
    "locking",
    "look",
    "may_settle",
    "message_dropped",
    "open_saga",
    "pivot_succeeded",
    "planned",
    "postpone",
    "postpone_all",
    "probe",
    "put_off",
    "request_cancel",
    "restored",
    "run_local",
    "run_name",
    "settle_failure",
    "settle_success",
    "standing",
    "start",
    "step_of",
    "tell",
    "tell_of",
    "transition",
    "waiting_for_our_database",
    "was_refused",
]
