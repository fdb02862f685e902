"""Passwords are hashed one at a time in each process, in a thread of its own: a hash is half a second of a core, and logins must not take the cores from the API.

Whoever comes meanwhile is told to come again (``Busy``). Nobody waits in line: each who waits would keep one of the few threads that answer the API.
"""

import contextlib
import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from django.contrib.auth.hashers import PBKDF2PasswordHasher

WITHIN_S = 20.0  # a hash that takes longer has no core; its request is answered, and it runs to its end
NICE = 5  # on Linux a thread has a priority of its own; on a machine that is full, more would keep operators out


class Busy(Exception):
    """Another password is being hashed, or this one took too long. Nothing was decided about it."""


class HashingThread:
    """Runs one hash at a time. The thread is started by the first one, so after any fork of the server."""

    def __init__(self) -> None:
        self._is_free = threading.Semaphore(1)
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="password-hash", initializer=_give_way)

    def run(self, compute: Callable[[], str]) -> str:
        """Raises Busy."""
        if not self._is_free.acquire(blocking=False):
            raise Busy
        try:
            return self._thread.submit(self._compute, compute).result(timeout=WITHIN_S)
        except TimeoutError:
            raise Busy from None

    def _compute(self, compute: Callable[[], str]) -> str:
        """It is free before the caller hears the answer: a change of password hashes twice in a row."""
        try:
            return compute()
        finally:
            self._is_free.release()


def _give_way() -> None:
    """The API's threads come first."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)


_hashing = HashingThread()


class OneAtATimePBKDF2(PBKDF2PasswordHasher):
    """Django's hasher, and its hashes. Checking a password, setting one and pretending to check one of nobody all come through ``encode``."""

    def encode(self, password: str, salt: str, iterations: int | None = None) -> str:
        """Raises Busy."""
        encode = super().encode
        return _hashing.run(lambda: encode(password, salt, iterations))
