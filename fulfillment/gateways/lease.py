"""The lease of a worker: once it is over, another worker may have taken over, so this one sends nothing any more."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Self

from fulfillment.errors import CircuitSignal, InDoubt


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
        """Whether it is over by either clock. The monotonic clock may stop while the machine sleeps, and the wall clock may be set back."""
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
    """Called immediately before sending. Raises InDoubt "past_lease": the current lease is over. Without a lease nothing is checked."""
    lease = current_lease.get()
    if lease is not None and lease.expired():
        raise InDoubt(
            "The worker held this step longer than its lease, so nothing was sent; whoever took over asks instead.",
            code="past_lease",
            signal=CircuitSignal.IGNORED,
        )
