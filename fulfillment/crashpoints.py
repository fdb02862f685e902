"""Crash points (fault injection): named boundaries at which a test or a proof makes this process die, stop, or raise. Production refuses the setting.

A point is armed by a file in the folder of the setting CRASH_POINTS. Its name is ``<boundary>.<do|compensate|any>.<step|any>.<order|any>``, and its content the
action: ``kill`` (SIGKILL to this process), ``kill_worker`` (to its whole process group), ``stop`` (SIGSTOP to this process) or ``raise``. It fires once: the process
that reaches it renames the file to ``<name>.hit``, with its pid and the order inside, and then acts. Without the setting a point costs one comparison.
"""

import os
import signal
from collections.abc import Callable
from contextlib import suppress
from itertools import product
from pathlib import Path
from typing import Any

from django.conf import settings

BOUNDARIES = (
    "before_start",
    "after_start",
    "before_call",
    "after_call",
    "before_outcome_commit",
    "after_outcome_commit",
    "before_publish",
    "after_publish",
    "open",
    "launch",
    "failed",
    "sweep",
)
ANY = "any"


class CrashPointReached(RuntimeError):
    """A crash point was armed with ``raise``."""


# The simulation is called at every boundary: (boundary, step, compensating).
listener: Callable[[str, str, bool | None], None] | None = None


def are_armed() -> bool:
    """Whether a file or the simulation may say so."""
    return listener is not None or settings.CRASH_POINTS is not None


def crash_point(boundary: str, order: str = ANY, step: str = ANY, *, compensating: bool | None = None) -> None:
    """Die, stop or raise here, if a file or the simulation says so."""
    if listener is not None:
        listener(boundary, step, compensating)
    elif settings.CRASH_POINTS is not None:
        _reached(settings.CRASH_POINTS, boundary, order, step, compensating)


def crash_point_of_publish(boundary: str, task: str, body: Any) -> None:
    """Around the publishing of a step or its compensation, wherever that happens. Celery swallows what its signals raise: here a point kills or stops."""
    package, _, name = task.rpartition(".")
    if package == "fulfillment" and name not in ("failed", "probe", "dropped"):
        crash_point(boundary, body[1].get("order", ""), name.removeprefix("compensate_"), compensating=name.startswith("compensate_"))


def _reached(folder: Path, boundary: str, order: str, step: str, compensating: bool | None) -> None:
    assert boundary in BOUNDARIES, boundary
    direction = ANY if compensating is None else "compensate" if compensating else "do"
    for words in product(dict.fromkeys((direction, ANY)), dict.fromkeys((step, ANY)), dict.fromkeys((order, ANY))):
        armed = folder / ".".join((boundary, *words))
        hit, mine = (armed.with_name(f"{armed.name}.{end}") for end in ("hit", os.getpid()))
        try:
            action = armed.read_text().strip()
            armed.rename(mine)  # whoever succeeds has reached it first
        except FileNotFoundError:
            continue
        mine.write_text(f"{os.getpid()} {order} {action}\n")
        with suppress(FileNotFoundError):  # disarmed meanwhile
            mine.rename(hit)  # nobody reads half of it
        _act(action, hit.name)


def _act(action: str, name: str) -> None:
    if action == "raise":
        raise CrashPointReached(name)
    if action == "kill_worker":
        os.killpg(os.getpgrp(), signal.SIGKILL)
    os.kill(os.getpid(), {"kill": signal.SIGKILL, "stop": signal.SIGSTOP}[action])
