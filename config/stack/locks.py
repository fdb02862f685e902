"""A lock file: one holder at a time, released by the kernel when its holder dies, however it dies."""

import fcntl
from pathlib import Path
from typing import TextIO


def take(file: Path) -> TextIO | None:
    """Held until what is returned is closed or this process dies; None: somebody else holds it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    lock = file.open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        return None
    return lock
