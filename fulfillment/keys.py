"""Idempotency keys: by its key a provider distinguishes a repeated request from a new one. No two orders ever have the same key, whatever happens to the database.

A key is ``<order>:<step>:<do|compensate>:<attempt>:<nonce>``. Order numbers come from a sequence. A database that was restored from a backup, or a replica that took
over without the last commits, issues them again: without the nonce, a new order would get the answer to a stranger's charge. The nonce begins with the issuer, so
that another system in the same account of a provider is not taken for us. Keys of sagas from before the nonce end with the attempt.

Never change this form: stored keys and providers' lists keep the old one, and ``KEY`` must still read them.
"""

import functools
import re
import secrets
from typing import NamedTuple

from django.db import models

ALPHABET = "abcdefghijklmnopqrstuvwxyz234567"
ISSUER_LENGTH = 3
NONCE_LENGTH = 10  # the issuer, and 35 random bits; the longest key (20 characters of order number, 40 of a step's name) has 80
KEY = re.compile(rf"(?P<order>[^:\s]+):[^:\s]+:(?:do|compensate):(?:\d+|orphan):(?P<nonce>[{ALPHABET}]{{{NONCE_LENGTH}}})")


class KeyIssuer(models.Model):
    """Who issues keys: one row, drawn once. A backup and a replica of this database have the same."""

    name = models.CharField(max_length=ISSUER_LENGTH)

    def __str__(self) -> str:
        return self.name


class Issued(NamedTuple):
    """What one of our keys says: the order that it was issued for, and the nonce of that order's saga."""

    order: str
    nonce: str


def new_nonce() -> str:
    return issuer() + _drawn(NONCE_LENGTH - ISSUER_LENGTH)


@functools.cache
def issuer() -> str:
    return KeyIssuer.objects.get_or_create(pk=1, defaults={"name": _drawn(ISSUER_LENGTH)})[0].name


def issued(key: str) -> Issued | None:
    """What the key says. None: it does not have our form, or is another system's."""
    found = KEY.fullmatch(key)
    return Issued(found["order"], found["nonce"]) if found and found["nonce"].startswith(issuer()) else None


def attempt_of(key: str) -> int:
    """The number of the attempt that one of our keys was issued for. 0: it was issued for an effect that landed after its compensation."""
    number = key.split(":")[3]
    return int(number) if number.isdecimal() else 0


def do_key(order: str, nonce: str, step: str, attempt: int = 1) -> str:
    return _key(order, nonce, f"{step}:do:{attempt}")


def compensation_key(order: str, nonce: str, step: str, attempt: int | str) -> str:
    """``attempt``: its number; or ``orphan``, for an effect that landed after its compensation."""
    return _key(order, nonce, f"{step}:compensate:{attempt}")


def _key(order: str, nonce: str, call: str) -> str:
    return ":".join(filter(None, (order, call, nonce)))


def _drawn(length: int) -> str:
    return "".join(secrets.choice(ALPHABET) for _ in range(length))
