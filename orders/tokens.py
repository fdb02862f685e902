"""Secret tokens: 256 random bits behind a visible prefix, like ``op_1a2b3c4d_…``. A token is shown once.

Only its digest is stored. So many random bits need no slow one.
"""

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass

PREFIX = re.compile(r"(?P<kind>[a-z]+)_[0-9a-f]{8}", re.ASCII)
TOKEN = re.compile(rf"(?P<prefix>{PREFIX.pattern})_[\w-]{{43}}", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class NewToken:
    """``secret``: the whole token, which nobody stores. ``prefix``: its visible beginning, by which people name it."""

    secret: str
    prefix: str
    digest: str


def make(kind: str) -> NewToken:
    """``kind``: small letters with which the token begins; they say what it is for."""
    prefix = f"{kind}_{secrets.token_hex(4)}"
    secret = f"{prefix}_{secrets.token_urlsafe(32)}"
    return NewToken(secret=secret, prefix=prefix, digest=_digest(secret))


def prefix_of(kind: str, secret: str) -> str:
    """What may be shown of it; empty: this is no token of this kind."""
    found = TOKEN.fullmatch(secret)
    return found["prefix"] if found and found["kind"] == kind else ""


def is_prefix(kind: str, text: str) -> bool:
    """Whether a token of this kind might be named so."""
    found = PREFIX.fullmatch(text)
    return found is not None and found["kind"] == kind


def matches(secret: str, digest: str) -> bool:
    return hmac.compare_digest(_digest(secret), digest)


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
