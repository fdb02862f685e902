"""How long the engine waits: leases, patience, back-off. All are seconds, and already multiplied by TIME_SCALE."""

from typing import Any

from django.conf import settings

from orders.clock import ShopNow, doubled, in_seconds, jittered, shop_now

__all__ = ["ShopNow", "backoff_s", "furthest_s", "in_seconds", "lease_s", "patience_s", "saga_deadline", "shop_now"]


def lease_s() -> float:
    """Seconds. A step that was started longer ago has lost its worker."""
    return float(settings.LEASE_S)


def patience_s(relaunches: int) -> float:
    """Seconds for which a scheduled step may wait for its start before its message is published again. They double with each relaunch."""
    return doubled(settings.PATIENCE_S, relaunches, settings.PATIENCE_CAP_S)


def backoff_s(tries: int) -> float:
    """Seconds to wait after try number ``tries``: exponential back-off, capped and jittered."""
    return jittered(doubled(settings.BACKOFF_S, tries - 1, settings.BACKOFF_CAP_S))


def furthest_s() -> float:
    """Seconds. No rule lets anything wait for longer. An instant that is further away was written by a clock that was ahead."""
    return 2 * max(settings.LEASE_S, settings.PATIENCE_CAP_S, settings.BACKOFF_CAP_S)


def saga_deadline() -> Any:
    """The instant by which a saga that is opened, or goes on, now is to have passed its pivot. An expression for a write."""
    return in_seconds(settings.SAGA_DEADLINE_S)
