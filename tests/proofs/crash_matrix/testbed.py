"""The testbed: what all cases of a run share, and the end of the run."""

import contextlib
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fulfillment.step import Step
from orders.management.placing_client import ShopClient


class Stopped(Exception):
    """The run is being ended; this case is not over."""


@dataclass
class Testbed:
    """What all cases share: the run directory with its folders, the shop's entry point, the steps, what to buy and how."""

    run_dir: Path
    shop: ShopClient
    steps: Sequence[Step]
    lease_s: float
    token: str
    sku: str
    placing: threading.Lock = field(default_factory=threading.Lock)  # an opening has no number yet: nobody else may reach its boundary
    stopping: threading.Event = field(default_factory=threading.Event)


@contextlib.contextmanager
def ended_by(stopping: threading.Event) -> Iterator[None]:
    """If the block is left by an exception or Ctrl-C, every experiment that still runs ends at its next check."""
    try:
        yield
    except BaseException:
        stopping.set()
        raise
