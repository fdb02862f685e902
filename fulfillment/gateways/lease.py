"""The lease of the work at hand: a worker past it may have been taken over, and sends nothing any more."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Self

from fulfillment.errors import InDoubt


@dataclass(frozen=True)
class Lease:
    """When the work began, on both clocks, and for how many seconds it may send."""

    started_monotonic: float
    started_wall: float
    seconds: float

    @classmethod
    def begin(cls, seconds: float) -> Self:
        """A lease that begins now."""
        return cls(time.monotonic(), time.time(), seconds)

    def expired(self) -> bool:
        """By either clock: the monotonic one may stand still while the machine sleeps, the wall clock may be set back."""
        return max(time.monotonic() - self.started_monotonic, time.time() - self.started_wall) >= self.seconds


current_lease: ContextVar[Lease | None] = ContextVar("current_lease", default=None)


@contextmanager
def leased(lease: Lease) -> Iterator[None]:
    """Calls in the block are sent only while ``lease`` lasts."""
    token = current_lease.set(lease)
    try:
        yield
    finally:
        current_lease.reset(token)


def check_lease() -> None:
    """Called immediately before sending. Raises InDoubt "past_lease" if the current lease is over; without a lease nothing is checked."""
    lease = current_lease.get()
    if lease is not None and lease.expired():
        raise InDoubt(
            "The worker held this step longer than its lease, so nothing was sent; whoever took over asks instead.",
            code="past_lease",
            provider_failed=False,
        )
