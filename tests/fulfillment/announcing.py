"""What a forked sandbox runs. A module of its own: the process that is forked loads this and no test."""

from multiprocessing.connection import Connection
from pathlib import Path

from fulfillment.sandbox import server


def announced_through(pipe: "Connection[str, str]", port: int, ledger: Path, time_scale: float, demo_values: bool) -> None:
    server.run(port, ledger, time_scale, demo_values, announce=pipe.send)
