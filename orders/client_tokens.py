"""Tokens of API clients: what each may do, until when, and whether it opens something now.

A client is a user of the shop without staff status. What a token may do never changes: a rotation makes a token that may do something else.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, ClassVar

from django.conf import settings
from django.contrib.auth.models import User
from django.contrib.postgres.fields import ArrayField
from django.core.exceptions import ValidationError
from django.db import DatabaseError, IntegrityError, models, transaction
from django.db.models import Prefetch, Q, QuerySet

from orders import tokens
from orders.clients import ClientSettings
from orders.clock import ShopNow, in_seconds
from orders.database import is_our_trouble, sqlstate
from orders.operators import NAME_LENGTH, Refused

log = logging.getLogger(__name__)

KIND = "api"
USE_IS_NOTED_EVERY = timedelta(minutes=5)
DAY_S, HOUR_S = 86_400.0, 3600.0
NEVER = 0  # days: a token that does not end by itself
OVERLAP_H = 24
MOST_DAYS = 36_500  # nobody means more, and no calendar ends before


class Scope(models.TextChoices):
    """What a token may do. Every route of the API names one for each of its methods."""

    ORDERS_READ = "orders:read", "read orders"
    ORDERS_WRITE = "orders:write", "place orders"
    ORDERS_CANCEL = "orders:cancel", "cancel orders"
    PRODUCTS_READ = "products:read", "read the catalogue"


class NotRecognized(Exception):
    """This token opens nothing; the message says why. ``reason``: in a word, for machines."""

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


class ClientToken(models.Model):
    """One token of one client, as ``orders.tokens`` makes it. ``lifetime_days``: a rotation gives the next token the same; 0: it does not end by itself.

    ``last_used_at`` is at most ``USE_IS_NOTED_EVERY`` older than the last use.
    """

    prefix = models.CharField(max_length=12, unique=True)
    digest = models.CharField(max_length=64)
    client = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="client_tokens")
    scopes = ArrayField(models.CharField(max_length=20, choices=Scope))
    lifetime_days = models.PositiveIntegerField(default=NEVER)
    made_at = models.DateTimeField(db_default=ShopNow())
    expires_at = models.DateTimeField(null=True)
    revoked_at = models.DateTimeField(null=True)
    last_used_at = models.DateTimeField(null=True)

    class Meta:
        ordering: ClassVar = ["-id"]
        default_permissions: ClassVar = ["view"]
        permissions: ClassVar = [
            ("rotate_clienttoken", "Can rotate the tokens of an API client"),
            ("revoke_clienttoken", "Can revoke the tokens of an API client"),
        ]

    def __str__(self) -> str:
        return f"{self.prefix} of {self.client}"


@dataclass(frozen=True, kw_only=True)
class Issued:
    """``secret`` is shown once, to whoever has asked for it. ``token``: what is stored."""

    secret: str
    token: Any


def known() -> "QuerySet[Any]":
    """Tokens with their clients. Each has ``now``, the database's instant at which it was read."""
    return ClientToken.objects.select_related("client").annotate(now=ShopNow())


def clients() -> "QuerySet[User]":
    """Every client by name, with its tokens, the newest first."""
    users = User.objects.filter(Q(client_tokens__isnull=False) | Q(shop_settings__isnull=False)).distinct()
    return users.order_by("username").prefetch_related(prefetched("client_tokens"))


def prefetched(lookup: str) -> "Prefetch[Any]":
    """``lookup``: the way from a row to the tokens of its client."""
    return Prefetch(lookup, known())


def why_not(token: Any) -> str:
    """Why a token (of ``known``) opens nothing now; empty: it does."""
    return _end_of(token)[1]


def _end_of(token: Any) -> tuple[str, str]:
    """In a word and in words."""
    if token.revoked_at is not None:
        return "revoked", f"revoked {token.revoked_at:%Y-%m-%d %H:%M:%S} UTC"
    if token.expires_at is not None and token.expires_at <= token.now:
        return "expired", f"expired {token.expires_at:%Y-%m-%d %H:%M:%S} UTC"
    if token.client.is_staff:
        return "inactive", "its client is an operator"
    return ("", "") if token.client.is_active else ("inactive", "its client is not active")


def recognize(secret: str) -> Any:
    """The token whose secret this is, and that it was used now. Raises NotRecognized: whoever has the whole secret learns why, and nobody else learns anything."""
    prefix = tokens.prefix_of(KIND, secret)
    token = known().filter(prefix=prefix).first() if prefix else None
    if token is None or not tokens.matches(secret, token.digest):
        raise NotRecognized("This token is not known here.", "unknown")
    reason, why = _end_of(token)
    if reason:
        raise NotRecognized(f"The token {prefix} opens nothing any more: {why}.", reason)
    _note_use(token)
    return token


def _note_use(token: Any) -> None:
    """Rarely, and never at the cost of the request: whoever holds the row is not waited for, and a database that takes no writes can still be read."""
    if token.last_used_at is not None and token.now - token.last_used_at < USE_IS_NOTED_EVERY:
        return
    try:
        with transaction.atomic():
            free = ClientToken.objects.filter(pk=token.pk).select_for_update(skip_locked=True)
            ClientToken.objects.filter(pk__in=free.values("pk")).update(last_used_at=ShopNow())
    except DatabaseError as error:
        if not is_our_trouble(error):
            raise
        log.warning("the use of %s was not noted (%s)", token.prefix, sqlstate(error) or "no connection")


def unsaved(name: str) -> User:
    """A client that is not stored yet. Raises Refused: there is a user of this name, or a client cannot have this name."""
    client = User(username=User.normalize_username(name))
    client.set_unusable_password()
    try:
        client.full_clean()
    except ValidationError as wrong:
        if any(fault.code == "unique" for fault in wrong.error_dict.get("username", [])):
            raise _taken(client.username) from None
        raise Refused(f"{' '.join(wrong.messages)} Nothing was done.") from None
    if tokens.is_prefix(KIND, client.username):
        raise Refused("This name is written like the prefix of a token: whoever revokes one might mean the other. Nothing was done.")
    if len(client.username) > NAME_LENGTH:
        raise Refused(f"The name of a client has at most {NAME_LENGTH} characters. Nothing was done.")
    return client


def _taken(name: str) -> Refused:
    return Refused(f"There is a client or an operator called {name} already. Nothing was done.")


@transaction.atomic
def add(name: str, scopes: Sequence[str] = tuple(Scope), lifetime_days: int = NEVER, *, unique_references: bool = False) -> Issued:
    """A new client with its first token. Raises Refused, as ``unsaved`` does."""
    client = unsaved(name)
    try:
        with transaction.atomic():
            client.save()
    except IntegrityError:
        raise _taken(name) from None  # since a moment ago
    ClientSettings.objects.create(client=client, unique_references=unique_references)
    return issue(client, scopes, lifetime_days)


@transaction.atomic
def rotate(name: str, overlap_h: int = OVERLAP_H, scopes: Sequence[str] = (), lifetime_days: int | None = None) -> Issued:
    """A new token. The older ones go on working for ``overlap_h`` hours, unless they end earlier.

    Without ``scopes`` and ``lifetime_days`` the new one has those of the newest. Raises Refused: there is no such client.
    """
    client = User.objects.select_for_update().filter(username=name, is_staff=False).first()
    if client is None:
        raise Refused(f"There is no API client {name}. Nothing was done.")
    newest = client.client_tokens.first()
    end = in_seconds(min(overlap_h * HOUR_S, MOST_DAYS * DAY_S))
    ending_later = client.client_tokens.filter(Q(expires_at=None) | Q(expires_at__gt=end), revoked_at=None)
    ending_later.update(expires_at=end)
    before = (newest.scopes, newest.lifetime_days) if newest else (list(Scope), NEVER)
    return issue(client, scopes or before[0], before[1] if lifetime_days is None else lifetime_days)


def revoke(which: str) -> list[str]:
    """``which``: the prefix of one token; if there is no such token, a client's name, as in ``revoke_all``. Raises Refused."""
    one = ClientToken.objects.filter(prefix=which)
    return _revoke(one, which) if one.exists() else revoke_all(which)


@transaction.atomic
def revoke_all(name: str) -> list[str]:
    """Of this client, also what a rotation makes in the same instant. The prefixes of those that open nothing from now on. Raises Refused: there are none."""
    User.objects.select_for_update().filter(username=name).first()  # as a rotation does: its token is seen by the next statement
    return _revoke(ClientToken.objects.filter(client__username=name), name)


def _revoke(found: "QuerySet[ClientToken]", which: str) -> list[str]:
    ends = dict(found.values_list("prefix", "revoked_at"))
    prefixes = [prefix for prefix, revoked_at in ends.items() if revoked_at is None]
    if not ends:
        raise Refused(f"Neither a token nor a client with tokens is called {which}. Nothing was done.")
    if not prefixes:
        raise Refused(f"{which} was revoked before, and opens nothing. Nothing was done.")
    ClientToken.objects.filter(prefix__in=prefixes).update(revoked_at=ShopNow())
    log.info("client tokens revoked: %s", ", ".join(prefixes))
    return prefixes


def issue(client: User, scopes: Sequence[str] = tuple(Scope), lifetime_days: int = NEVER) -> Issued:
    """One more token of this client. Raises Refused: who decides as an operator has an operator token; or the token would outlive everybody."""
    if lifetime_days > MOST_DAYS:
        raise Refused(f"A token lives {MOST_DAYS} days at most, or 0: until it is revoked. Nothing was done.")
    if client.is_staff:
        raise Refused(f"{client.get_username()} is an operator, and no API client. Nothing was done.")
    new = tokens.make(KIND)
    made = ClientToken.objects.create(
        prefix=new.prefix,
        digest=new.digest,
        client=client,
        scopes=[scope.value for scope in Scope if scope in scopes],
        lifetime_days=lifetime_days,
        expires_at=in_seconds(lifetime_days * DAY_S) if lifetime_days else None,
    )
    log.info("client token issued: %s of %r", new.prefix, client.get_username())
    return Issued(secret=new.secret, token=known().get(pk=made.pk))
