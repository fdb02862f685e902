"""Operators: the persons who decide. An actor is a user of the shop whom an entry point has authenticated; an operator token is how a command line does it.

Nobody is believed by name. A page's session and an operator token are the two ways in (``of_user``, ``by_token``); everything behind them takes the actor as it is.
"""

from dataclasses import dataclass
from typing import ClassVar

from django.conf import settings
from django.contrib.auth.models import User
from django.db import models

from orders import tokens
from orders.clock import ShopNow

KIND = "op"
NAME_LENGTH = 80  # characters: what the journal's columns hold
UNKNOWN = "This operator token is not known here, or not any more."


class Refused(Exception):
    """Nothing was done; the message says why, and what to do."""


@dataclass(frozen=True, kw_only=True)
class Actor:
    """Who decides. ``user``: the number of the user, by which two persons are told apart; ``name``: as people read it; ``permissions``: like orders.cancel_order."""

    user: int
    name: str
    permissions: frozenset[str]

    def must_have(self, permission: str, to_do: str) -> None:
        """Raises Refused."""
        if permission not in self.permissions:
            raise Refused(f"{self.name} may not {to_do}: the permission {permission} is missing. Nothing was done.")


class OperatorToken(models.Model):
    """One token of one user, as ``orders.tokens`` makes it."""

    prefix = models.CharField(max_length=12, unique=True)
    digest = models.CharField(max_length=64)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="operator_tokens")
    made_at = models.DateTimeField(db_default=ShopNow())
    revoked_at = models.DateTimeField(null=True)

    class Meta:
        ordering: ClassVar = ["id"]

    def __str__(self) -> str:
        return f"{self.prefix} of {self.user}"


def of_user(user: User) -> Actor:
    """``user``: whoever has called is certain that it is they."""
    return Actor(user=user.pk, name=user.get_username()[:NAME_LENGTH], permissions=frozenset(user.get_all_permissions()))


def by_token(token: str) -> Actor:
    """Raises Refused, in the same words for a token that never was, one that was revoked, and one whose user may not log in any more."""
    known = OperatorToken.objects.select_related("user").filter(prefix=prefix_of(token), revoked_at=None).first()
    if known is None or not tokens.matches(token, known.digest) or not may_operate(known.user):
        raise Refused(UNKNOWN)
    return of_user(known.user)


def may_operate(user: User) -> bool:
    """Who may log in to the admin may have a token; an API client may not."""
    return user.is_active and user.is_staff


def issue(user: User) -> str:
    """A new token, to be shown once. Raises Refused: this user is nobody who decides."""
    if not may_operate(user):
        raise Refused(f"{user.get_username()} is no operator: only an active user with staff status has a token.")
    token = tokens.make(KIND)
    OperatorToken.objects.create(prefix=token.prefix, digest=token.digest, user=user)
    return token.secret


def revoke(prefix: str) -> bool:
    """From now on it opens nothing. False: there is no such token, or it was revoked before."""
    return bool(OperatorToken.objects.filter(prefix=prefix, revoked_at=None).update(revoked_at=ShopNow()))


def prefix_of(token: str) -> str:
    """What may be shown of it; empty: this is no operator token."""
    return tokens.prefix_of(KIND, token)
