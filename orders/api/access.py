"""Who asks, and whether their token may: ``Authorization: Bearer`` or ``Token``, and a scope for every method of every route.

DRF imports this module while it imports its own views, so nothing here may import those (or drf_canon, which does).
"""

from enum import StrEnum
from typing import Any

from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed, PermissionDenied
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from orders import client_tokens
from orders.client_tokens import NotRecognized

SCHEMES = ("bearer", "token")
REALM = 'Bearer realm="api"'
WRITTEN = "Send one header: Authorization: Bearer YOUR-TOKEN"


class Reason(StrEnum):
    """Why a request is answered 401, for machines. The last three: only to whoever has the whole token."""

    MISSING = "missing"
    MALFORMED = "malformed"
    UNKNOWN = "unknown"
    EXPIRED = "expired"
    REVOKED = "revoked"
    INACTIVE = "inactive"


class LacksScope(PermissionDenied):
    """``scope``: the one that the token would need."""

    def __init__(self, prefix: str, scope: str) -> None:
        super().__init__(
            f"The token {prefix} lacks the scope {scope}. Nothing was done. Whoever runs the shop can rotate it with this scope."
        )
        self.scope = scope
        self.auth_header = f'Bearer error="insufficient_scope", scope="{scope}"'  # RFC 6750


class TokenRefused(AuthenticationFailed):
    def __init__(self, sentence: str, reason: Reason) -> None:
        super().__init__(sentence)
        self.reason = reason


def challenge(reason: str) -> str:
    """``WWW-Authenticate``. Whoever has sent no token is not told that one is wrong (RFC 6750, 3.1)."""
    return REALM if reason in (Reason.MISSING, Reason.MALFORMED) else f'{REALM}, error="invalid_token"'


class ClientTokenAuthentication(BaseAuthentication):
    """``request.user`` is the client, ``request.auth`` its token."""

    def authenticate(self, request: Request) -> tuple[Any, Any] | None:
        words = [word for word in request.META.get("HTTP_AUTHORIZATION", "").split(" ") if word]  # other white space is part of a word
        if not words:
            return None
        if len(words) != 2 or words[0].lower() not in SCHEMES:
            raise TokenRefused(WRITTEN, Reason.MALFORMED)
        try:
            token = client_tokens.recognize(words[1])
        except NotRecognized as why:
            raise TokenRefused(str(why), Reason(why.reason)) from None
        return token.client, token

    def authenticate_header(self, request: Request) -> str:
        return REALM


class HasScope(BasePermission):
    """A view names the scope of each of its methods: ``scopes = {"GET": Scope.ORDERS_READ}``. A method that it serves without one is closed to everybody."""

    def has_permission(self, request: Request, view: Any) -> bool:
        """Raises LacksScope."""
        scope = scope_of(view, request.method or "")
        if scope is None:
            return request.method == "OPTIONS" or not hasattr(view, (request.method or "").lower())  # the latter is answered 405
        token: Any = request.auth  # a ClientToken
        if scope in token.scopes:
            return True
        raise LacksScope(token.prefix, scope)


def scope_of(view: Any, method: str) -> str | None:
    """None: the view names none for this method."""
    scope = getattr(view, "scopes", {}).get("GET" if method == "HEAD" else method)
    return None if scope is None else str(scope)


def first_scope_of(view: Any) -> str:
    """Of whichever of its methods comes first; empty: it names none."""
    return str(next(iter(getattr(view, "scopes", {}).values()), ""))
