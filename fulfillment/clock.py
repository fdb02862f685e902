"""How long the engine waits before somebody looks again: leases, patience, back-off. All are seconds, already multiplied by TIME_SCALE."""

from typing import Any

from django.conf import settings

from orders.clock import ShopNow, doubled, in_seconds, jittered, shop_now

__all__ = ["ShopNow", "backoff_s", "in_seconds", "lease_s", "patience_s", "saga_deadline", "shop_now"]


def lease_s() -> float:
    """A step started longer ago than this has lost its worker."""
    return float(settings.LEASE_S)


def patience_s(relaunches: int) -> float:
    """How long a granted step may wait for its start before its message is published again; doubles with each relaunch."""
    return doubled(settings.PATIENCE_S, relaunches, settings.PATIENCE_CAP_S)


def backoff_s(tries: int) -> float:
    """The wait after try number ``tries``: doubles, capped, jittered."""
    return jittered(doubled(settings.BACKOFF_S, tries - 1, settings.BACKOFF_CAP_S))


def saga_deadline() -> Any:
    """When a saga that opens, or goes on, now is to have passed its pivot; an expression for a write."""
    return in_seconds(settings.SAGA_DEADLINE_S)
