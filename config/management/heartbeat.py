"""Heartbeats of this host's loops, as files that an orchestrator's check reads: the database can only say that some process works, somewhere."""

import logging
import os
import time
from pathlib import Path

import psutil
from django.conf import settings

log = logging.getLogger(__name__)

DEAD_AFTER_S = 30.0
_logged: set[str] = set()


def touch(loop: str) -> None:
    """This process has done a round. A folder that cannot be written is logged once, and stops no loop."""
    try:
        _folder().mkdir(parents=True, exist_ok=True)
        (_folder() / f"{loop}.{os.getpid()}").touch()
    except OSError as unwritable:
        if loop not in _logged:
            log.warning("No sign of life of the %s can be left in %s: %s", loop, _folder(), unwritable)
            _logged.add(loop)


def ages_s(loop: str) -> dict[int, float]:
    """Seconds since each process of ``loop`` on this host has done a round, by pid. The files of those that have ended are removed.

    A heartbeat from the future was left before this host's clock was set back: whoever still works leaves another one within a second.
    """
    found: dict[int, float] = {}
    for file in _folder().glob(f"{loop}.*"):
        pid = int(file.suffix[1:])
        if psutil.pid_exists(pid):
            found[pid] = abs(time.time() - file.stat().st_mtime)
        else:
            file.unlink(missing_ok=True)
    return found


def _folder() -> Path:
    return Path(settings.RUN_DIR) / "alive"
