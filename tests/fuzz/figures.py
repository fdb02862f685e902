"""What a fuzzer has met: its requests by the status of their answer, and its failures. A run that has sent too little has failed."""

import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

CLOSED = "closed without an answer"
PROGRESS_EVERY = 500
LONGEST = 6000  # letters of a failure


@dataclass(frozen=True)
class Told:
    """``statuses``: how many requests were answered with each. ``failures``: what no client may meet, with the input that brings it about."""

    statuses: Counter[str]
    failures: list[str] = field(default_factory=list)


@dataclass
class Figures:
    statuses: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)

    @property
    def requests(self) -> int:
        """Each of them was answered, or its connection was closed in order."""
        return self.statuses.total()

    @property
    def answers(self) -> int:
        return self.requests - self.statuses[CLOSED]

    def __str__(self) -> str:
        """As the last line of a run has it."""
        statuses = ", ".join(f"{status}: {times:,}" for status, times in sorted(self.statuses.items()))
        return f"{self.requests:,} requests ({statuses}), {len(self.failures)} failures"


def collect(rounds: Iterable[Iterable[Told]], wanted: int, say: Callable[[str], None]) -> Figures:
    """Whole rounds, until there were ``wanted`` requests. A round that sends nothing is the last one."""
    figures, begun, shown = Figures(), time.monotonic(), 0
    for one_round in rounds:
        before = figures.requests
        for told in one_round:
            figures.statuses += told.statuses
            figures.failures += told.failures
            for failure in told.failures:
                say(failure[:LONGEST])
            if figures.requests // PROGRESS_EVERY > shown:
                shown = figures.requests // PROGRESS_EVERY
                say(_progress(figures, wanted, time.monotonic() - begun))
        if figures.requests >= wanted or figures.requests == before:
            break
    return figures


def _progress(figures: Figures, wanted: int, took_s: float) -> str:
    left_s = took_s / figures.requests * max(wanted - figures.requests, 0)
    return f"{figures.requests:,} of {wanted:,} requests, {len(figures.failures)} failures, {took_s:.0f} s (about {left_s:.0f} s left)"


def shortcomings(figures: Figures, wanted: int, logged: int, odd_lines: list[str]) -> list[str]:
    """Why the run has failed. ``logged``: answers in the server's own log, which has one line for each."""
    found = [f"{len(figures.failures)} failures"] if figures.failures else []
    if figures.requests < wanted:
        found.append(f"only {figures.requests:,} of {wanted:,} requests were sent")
    if logged < figures.answers:
        found.append(f"only {logged:,} of {figures.answers:,} answers are in the server's log")
    return [*found, *(f"in a log: {line}" for line in odd_lines)]
