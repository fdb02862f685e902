"""Processes that stand still for a while (SIGSTOP), and go on."""

import contextlib
import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager


@contextmanager
def standing_still(pids: Sequence[int]) -> Iterator[None]:
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
