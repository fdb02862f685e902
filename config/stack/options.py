"""Where and how a stack runs."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class StackOptions:
    """A port that is None may move when its default is taken; one that was asked for may not. Flower only watches: nobody misses it.

    ``folder``: the code. ``run_dir``: data, logs and ``stack.json``. ``database_url``, ``broker_url``: of servers that run elsewhere; empty: our own are started.
    """

    folder: Path
    run_dir: Path
    time_scale: float
    database_url: str = ""
    broker_url: str = ""
    web_port: int | None = None
    flower_port: int | None = None
    sandbox_port: int | None = None
    mail_port: int | None = None
    with_flower: bool = True
