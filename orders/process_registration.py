"""Registration: this process records in the database that it has started, that it lives, and that it ends as it was asked to. So a crash loop becomes an incident.

Nothing waits for it. Where the database does not answer within two seconds, the process starts without it, and a thread tries again until the process has lived.
"""

import logging
import os
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Self

import psutil
from django.conf import settings
from django.db import Error, connection

from orders import processes
from orders.database import limited

log = logging.getLogger(__name__)

WITHIN_S = 2.0
TRY_AGAIN_S = 5.0


class Registration:
    """Of one process called ``name`` (a worker's node name, or its role and its host), which runs the code of ``release``."""

    def __init__(self, name: str, release: int) -> None:
        self.name = name
        self._release = release
        self._row: int | None = None
        self._has_ended = threading.Event()

    @classmethod
    def of_role(cls, role: str, release: int) -> Self:
        return cls(f"{role}@{socket.gethostname()}", release)

    def begin(self) -> None:
        """At the very start, before anything that may end the process."""
        self._write(self._record_start)

    def watch(self) -> None:
        """Once it runs: a thread records that it has lived. Not before a worker has forked its pool."""
        threading.Thread(target=self._live, name="registration", daemon=True).start()

    def end(self) -> None:
        """It ends as it was asked to. A process that is killed, or ends by an error, does not come here: its successor finds it dead."""
        self._has_ended.set()
        if self._row is not None:
            self._write(partial(processes.record_end, self._row))

    def _live(self) -> None:
        deadline = time.monotonic() + settings.LIVED_LONG_S
        while self._row is None and not self._write(self._record_start):
            if self._has_ended.wait(TRY_AGAIN_S):
                return
        if self._has_ended.wait(max(0.0, deadline - time.monotonic())):
            return
        assert self._row is not None
        while not self._write(partial(processes.record_life, self._row)):
            if self._has_ended.wait(TRY_AGAIN_S):
                return

    def _record_start(self) -> None:
        self._row = processes.record_start(self.name, os.getpid(), psutil.Process().create_time(), self._release, lives)

    def _write(self, what: Callable[[], None]) -> bool:
        """False: the database does not take it now."""
        try:
            with limited(WITHIN_S):
                what()
        except Error as down:
            log.warning("%s could not be noted as a process: %s", self.name, type(down).__name__)
            return False
        finally:
            with suppress(Error):
                connection.close()
        return True


def lives(pid: int, born: float) -> bool:
    """On this host; a pid alone may be somebody else's by now."""
    try:
        process = psutil.Process(pid)
        return bool(abs(process.create_time() - born) < 1 and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
