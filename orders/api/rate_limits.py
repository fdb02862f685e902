"""Rate limits: so many requests of one client under one scope within a minute, counted for all web processes together.

The count is one step in Valkey, so two processes never take the same place. The window begins with its first request. Where the store does not answer, requests
pass: a limit protects the shop, and is not worth an order.

As ``orders.api.access``, DRF imports this module while it imports its own views.
"""

import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import redis
from django.conf import settings
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from redis.backoff import NoBackoff
from redis.retry import Retry
from rest_framework.exceptions import Throttled
from rest_framework.throttling import BaseThrottle

from orders import valkey_url
from orders.api.access import first_scope_of, scope_of

log = logging.getLogger(__name__)

WINDOW_S = 60
ANSWERS_WITHIN_S = 0.25
LEFT_ALONE_S = 5.0  # a store that has not answered is not asked for so long: each question might cost a client its time
COUNT = """
local taken = redis.call('INCR', KEYS[1])
local left_ms = redis.call('PTTL', KEYS[1])
if left_ms < 0 then
    left_ms = tonumber(ARGV[1])
    redis.call('PEXPIRE', KEYS[1], left_ms)
end
return {taken, left_ms}
"""


@dataclass(frozen=True, kw_only=True)
class Window:
    """``taken``: requests of this window, this one included. ``reset_s``: until it is over."""

    limit: int
    taken: int
    reset_s: int

    @property
    def remaining(self) -> int:
        return max(0, self.limit - self.taken)


class Store:
    """Shared by the threads of a process."""

    def __init__(self, url: str) -> None:
        client: Any = redis.Redis.from_url(
            valkey_url.for_client(url),
            socket_timeout=ANSWERS_WITHIN_S,
            socket_connect_timeout=ANSWERS_WITHIN_S,
            retry=Retry(NoBackoff(), 0),  # repeated, one request might count twice
        )
        self._count = client.register_script(COUNT)
        self._asked_again_at = 0.0

    def count(self, key: str, limit: int) -> Window | None:
        """None: the store does not answer, now or a moment ago."""
        if time.monotonic() < self._asked_again_at:
            return None
        try:
            taken, left_ms = self._count(keys=[f"shop:rate:{key}"], args=[WINDOW_S * 1000])
        except (redis.RedisError, OSError) as error:
            self._asked_again_at = time.monotonic() + LEFT_ALONE_S
            log.warning("rate limits are not in force for %g s: their store does not answer (%s)", LEFT_ALONE_S, type(error).__name__)
            return None
        return Window(limit=limit, taken=int(taken), reset_s=math.ceil(left_ms / 1000))


@cache
def store(url: str) -> Store:
    return Store(url)


class ClientAndScope(BaseThrottle):
    """Each scope has a count of its own: whoever reads too much can still place orders. What needs none counts too: OPTIONS, and a method that is 405."""

    def allow_request(self, request: Any, view: Any) -> bool:
        """Raises Throttled."""
        scope = scope_of(view, request.method) or first_scope_of(view)
        limit = settings.RATE_LIMITS_PER_MIN.get(scope, 0)
        if not limit or not settings.RATE_LIMIT_URL:
            return True
        window = store(settings.RATE_LIMIT_URL).count(f"{request.user.pk}:{scope}", limit)
        if window is None:
            return True
        request._request.shop_rate_limit = window
        if window.taken <= limit:
            return True
        raise Throttled(wait=window.reset_s, detail=f"A client may send {limit} requests of {scope} a minute. Nothing was done.")


class Headers:
    """Middleware: every answer to a request that was counted says what is left."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = self.get_response(request)
        window: Window | None = getattr(request, "shop_rate_limit", None)
        if window is not None:
            response.headers["RateLimit-Policy"] = f"{window.limit};w={WINDOW_S}"
            response.headers["RateLimit-Limit"] = str(window.limit)
            response.headers["RateLimit-Remaining"] = str(window.remaining)
            response.headers["RateLimit-Reset"] = str(window.reset_s)
        return response
