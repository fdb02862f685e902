"""Idempotency keys: what a provider tells a repeated request from a new one by.

``<order>:<step>:<do|undo>:<attempt>:<nonce>``. Order numbers come from a sequence, and a database that was restored from a backup, or a replica that took over
without the last commits, issues them again: without the nonce, a new order would be answered with a stranger's charge. Keys of sagas from before the nonce end
with the attempt.
"""

import secrets
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fulfillment.models import Saga

ALPHABET = "abcdefghijklmnopqrstuvwxyz234567"
NONCE_LENGTH = 10  # 50 bits; the longest key, of an order number of 20 characters and a step's name of 40, has 80


def new_nonce() -> str:
    return "".join(secrets.choice(ALPHABET) for _ in range(NONCE_LENGTH))


def do_key(saga: "Saga", step: str) -> str:
    return _key(saga, f"{step}:do:1")


def undo_key(saga: "Saga", step: str, attempt: int | str) -> str:
    """``attempt``: its number; ``orphan``: of what landed after its undo."""
    return _key(saga, f"{step}:undo:{attempt}")


def _key(saga: "Saga", call: str) -> str:
    return ":".join(filter(None, (saga.order.number, call, saga.nonce)))
