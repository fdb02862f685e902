"""Where and how a stack runs."""

from dataclasses import dataclass
from pathlib import Path

WORKS_ON_ORDERS = ("web", "saga", "sideeffects", "sweep", "relay")


@dataclass(frozen=True, kw_only=True)
class StackOptions:
    """A port that is None may move when its default is taken; one that was asked for may not. Flower only watches: nobody misses it.

    ``in_maintenance``: nobody works on orders; engines, provider sandbox and mail are up.
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
    in_maintenance: bool = False

    @property
    def left_out(self) -> tuple[str, ...]:
        """The roles that do not run."""
        if self.in_maintenance:
            return (*WORKS_ON_ORDERS, "flower")
        return () if self.with_flower else ("flower",)
