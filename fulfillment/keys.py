"""Idempotency keys: what a provider tells a repeated request from a new one by.

``<order>:<step>:<do|undo>:<attempt>:<nonce>``. Order numbers come from a sequence, and a database that was restored from a backup, or a replica that took over
without the last commits, issues them again: without the nonce, a new order would be answered with a stranger's charge. Keys of sagas from before the nonce end
with the attempt.
"""

import secrets

ALPHABET = "abcdefghijklmnopqrstuvwxyz234567"
NONCE_LENGTH = 10  # 50 bits; the longest key, of an order number of 20 characters and a step's name of 40, has 80


def new_nonce() -> str:
    return "".join(secrets.choice(ALPHABET) for _ in range(NONCE_LENGTH))


def do_key(order: str, nonce: str, step: str) -> str:
    return _key(order, nonce, f"{step}:do:1")


def undo_key(order: str, nonce: str, step: str, attempt: int | str) -> str:
    """``attempt``: its number; ``orphan``: of what landed after its undo."""
    return _key(order, nonce, f"{step}:undo:{attempt}")


def _key(order: str, nonce: str, call: str) -> str:
    return ":".join(filter(None, (order, call, nonce)))
