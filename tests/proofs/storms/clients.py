"""Clients that place orders side by side, and stop at once when their storm is over."""

import math
import threading
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

import httpx

from tests.proofs.black_box.waiting import NothingCame

SIDE_BY_SIDE = 8
ANSWERED_WITHIN_S = 2.0  # whatever happens to the database


class Clients:
    """Each makes one of ``calls`` after the other, all of them ``per_s`` a second; a call returns the number of its order. Whoever leaves the block stops them."""

    def __init__(self, calls: Sequence[Callable[[], str]], per_s: float = math.inf, side_by_side: int = SIDE_BY_SIDE) -> None:
        self.count = len(calls)
        self.answered: list[str] = []
        self.failed: list[str] = []
        self._left = iter(calls)
        self._pause_s = side_by_side / per_s
        self._next, self._is_over = threading.Lock(), threading.Event()
        # Daemons: a call may go on for a minute where nobody answers, and no exit waits for it.
        self._threads = [threading.Thread(target=self._work, daemon=True) for _ in range(side_by_side)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._is_over.set()

    @property
    def are_done(self) -> bool:
        return len(self.answered) + len(self.failed) >= self.count

    def finish(self, show: Callable[[int], None]) -> list[str]:
        """The orders, in any order, when all calls are made. Raises NothingCame: some of them failed."""
        while not self.are_done:
            show(len(self.answered))
            time.sleep(0.05)
        if self.failed:
            raise NothingCame(f"{len(self.failed)} of {self.count} orders were not placed: {self.failed[0]}")
        return self.answered

    def _work(self) -> None:
        while (call := self._next_call()) is not None:
            begun = time.monotonic()
            try:
                self.answered.append(call())
            except Exception as failed:
                self.failed.append(f"{type(failed).__name__}: {failed}")
            self._is_over.wait(max(0.0, self._pause_s - (time.monotonic() - begun)))

    def _next_call(self) -> Callable[[], str] | None:
        with self._next:
            return None if self._is_over.is_set() else next(self._left, None)


def timed(call: Callable[[], httpx.Response]) -> tuple[httpx.Response, float]:
    """The answer, and after how many seconds it came."""
    begun = time.monotonic()
    return call(), time.monotonic() - begun
