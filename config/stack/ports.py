"""Ports on loopback: reserved among all stacks of this user, and proven to be our own process's.

Between choosing a port and a child's binding it lie seconds. Two stacks of one user keep out of each other's way by a lock file for each port, held while the
stack lives; whoever else takes the port meanwhile is recognised, because the listening socket is not in our child's hands.
"""

import os
import socket
import tempfile
from pathlib import Path
from typing import TextIO

import psutil

from config.stack import locks

TRIED = 200


class PortTaken(Exception):
    """The port that was asked for is somebody else's, or none is left; the message says which and what to do."""


class Port:
    """One reserved port. ``asked``: this one and no other; None: ``default``, or the next free one after it. Raises PortTaken."""

    def __init__(self, asked: int | None, default: int, variable: str) -> None:
        self.asked = asked
        self.variable = variable
        self._last = default + TRIED - 1
        self._lock: TextIO | None = None
        self.number = self._take(asked if asked is not None else default)

    def move(self) -> None:
        """Somebody else has it: take the next one. Raises PortTaken if this one was asked for by name."""
        self.release()
        if self.asked is not None:
            raise self._named()
        self.number = self._take(self.number + 1)

    def release(self) -> None:
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _take(self, first: int) -> int:
        for number in range(first, first + 1 if self.asked is not None else self._last + 1):
            self._lock = locks.take(private_folder() / f"port-{number}.lock")
            if self._lock is not None and is_free(number):
                return number
            self.release()
        if self.asked is not None:
            raise self._named()
        raise PortTaken(f"No port from {self._last - TRIED + 1} to {self._last} is free: set {self.variable}.")

    def _named(self) -> PortTaken:
        return PortTaken(f"Port {self.asked} is taken: set {self.variable} to another one, or leave it out to take the next free one.")


def private_folder() -> Path:
    """Shared by all checkouts of one user. Raises PermissionError: it is somebody else's."""
    folder = Path(tempfile.gettempdir()) / f"order-fulfilment-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    folder.chmod(0o700)
    return folder


def is_free(number: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", number))
        except OSError:
            return False
    return True


def listens(number: int) -> bool:
    """Somebody does, whoever it is."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", number)) == 0


def is_held_by(pid: int, number: int) -> bool:
    """The process ``pid`` or one of its children listens there."""
    try:
        main = psutil.Process(pid)
        family = [main, *main.children(recursive=True)]
    except psutil.NoSuchProcess:
        return False
    return any(_listens(process, number) for process in family)


def _listens(process: psutil.Process, number: int) -> bool:
    try:
        held = process.net_connections("inet")
    except psutil.Error:
        return False
    return any(one.status == psutil.CONN_LISTEN and one.laddr.port == number for one in held)
