"""The engine: open, start, settle, turn back, take over. The only writer of the journal; it never calls a provider and never publishes.

Each transition takes the saga's row lock, checks the fence (``epoch``, and for a settle ``claim``), and writes state and history in one transaction.
docs/semantics.md lists the transitions; tests/model searches them. Read ``opening``, ``trying``, ``walking``, ``waking`` in this order.

Note: what may be lost. A transaction whose loss only repeats something idempotent (a start; a settle that says Unavailable or InDoubt) does not wait for the disk.
Everything else does: whatever raises the epoch, grants, settles a success or a rejection, or answers a person.
"""

from fulfillment.engine.journal import (
    WAITING,
    Claim,
    Launch,
    Settled,
    border,
    launch_of,
    locking,
)
from fulfillment.engine.opening import open_saga
from fulfillment.engine.trying import run_local, settle_failure, settle_success, start
from fulfillment.engine.waking import chain_stopped, look, meet_cancel, request_cancel

__all__ = [
    "WAITING",
    "Claim",
    "Launch",
    "Settled",
    "border",
    "chain_stopped",
    "launch_of",
    "locking",
    "look",
    "meet_cancel",
    "open_saga",
    "request_cancel",
    "run_local",
    "settle_failure",
    "settle_success",
    "start",
]
