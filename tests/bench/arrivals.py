"""Open-loop load: a request is due by the clock, whether those before it are answered or not.

It is timed from the instant at which it was due. So a server that stands still for a second is seen in every request of that second, and not in one alone
(coordinated omission).
"""

import http.client
import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

SENDERS = 24  # each has a connection that it keeps; more requests than these are never under way
ANSWERED_WITHIN_S = 30.0
Request = tuple[str, dict[str, str], bytes]  # path, headers, body


@dataclass(frozen=True, kw_only=True)
class Target:
    """``request()`` makes the next one, a POST."""

    port: int
    request: Callable[[], Request]


@dataclass(frozen=True, kw_only=True)
class Answered:
    """``took_s``, ``late_s``: from the instant at which it was due, until the answer and until it was sent. ``status``: 0 is no answer."""

    took_s: float
    late_s: float
    status: int


def by_the_clock(per_s: float, seconds: float, seed: str) -> list[float]:
    """When each is due, in seconds from the start: as clients come who do not know each other (a Poisson process)."""
    rng = random.Random(seed)
    due = [rng.expovariate(per_s)]
    while due[-1] < seconds:
        due.append(due[-1] + rng.expovariate(per_s))
    return due[:-1]


def send(target: Target, due: Sequence[float], senders: int = SENDERS) -> list[Answered]:
    """One request at each instant of ``due``; returns when all are answered."""
    load = _Load(target, due)
    threads = [threading.Thread(target=load.work, daemon=True) for _ in range(senders)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return load.answered


class _Load:
    def __init__(self, target: Target, due: Sequence[float]) -> None:
        self.answered: list[Answered] = []
        self._target = target
        self._next, self._left = threading.Lock(), iter(due)
        self._begun = time.monotonic()

    def work(self) -> None:
        """The senders take turns: each comes to wait for the next that is due."""
        connection = http.client.HTTPConnection("127.0.0.1", self._target.port, timeout=ANSWERED_WITHIN_S)
        while (due := self._take()) is not None:
            time.sleep(max(0.0, self._begun + due - time.monotonic()))
            late_s = self._since(due)
            status = _status_of(connection, self._target.request())
            self.answered.append(Answered(took_s=self._since(due), late_s=late_s, status=status))
        connection.close()

    def _take(self) -> float | None:
        with self._next:
            return next(self._left, None)

    def _since(self, due: float) -> float:
        return time.monotonic() - self._begun - due


def _status_of(connection: http.client.HTTPConnection, request: Request) -> int:
    path, headers, body = request
    try:
        connection.request("POST", path, body, headers)
        answer = connection.getresponse()
        answer.read()
        return answer.status
    except (OSError, http.client.HTTPException):
        connection.close()  # the next request opens another
        return 0
