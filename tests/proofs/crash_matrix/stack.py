"""The stack of the crash matrix: the shop's own, with a second saga worker, crash points, and the fault proxy between the workers and each provider."""

import shutil
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from config.stack.options import StackOptions
from config.stack.ports import Port, listens
from config.stack.processes import Command
from config.stack.supervisor import Stack
from tests.proofs.crash_matrix.rabbitmq import RabbitMq

CRASH, FAULTS = "crash", "faults"  # folders of the run directory
SECOND = "saga2"


class MatrixStack(Stack):
    """``through``: setting → URL of a provider; the workers get the proxy's address instead. The sandbox is always behind one."""

    def __init__(
        self, options: StackOptions, report: Callable[[str], None], through: Mapping[str, str], rabbitmq: RabbitMq | None = None
    ) -> None:
        super().__init__(options, report)
        self.through = through
        self.rabbitmq = rabbitmq
        self.routes: dict[str, Port] = {}  # setting → the proxy's port
        self._prover: int | None = None

    def note_the_prover(self, pid: int) -> None:
        """It leads a session of its own, and must not outlive this stack either."""
        self._prover = pid
        self._note()

    def _leaders(self) -> dict[str, int]:
        return super()._leaders() | ({} if self._prover is None else {"prove": self._prover})

    def start(self) -> None:
        super().start()
        self._wait_for(self.children["proxy"].command)

    def _start_engines(self) -> None:
        for folder in (CRASH, FAULTS):
            shutil.rmtree(self.run_dir / folder, ignore_errors=True)
            (self.run_dir / folder).mkdir()
        if self.rabbitmq is not None:
            self._start_rabbitmq(self.rabbitmq)
        super()._start_engines()
        first = 8950
        for setting in ("SANDBOX_URL", *self.through):
            self.routes[setting] = Port(None, first, setting)
            first = self.routes[setting].number + 1

    def _start_rabbitmq(self, rabbitmq: RabbitMq) -> None:
        rabbitmq.forget()
        for command in rabbitmq.commands():
            self._spawn(command)
            self._wait_for(command)

    def _env(self) -> dict[str, str]:
        proxied = {setting: f"http://127.0.0.1:{port.number}" for setting, port in self.routes.items()}
        return super()._env() | proxied | {"CRASH_POINTS": str(self.run_dir / CRASH)}

    def _commands(self) -> list[Command]:
        commands = super()._commands()
        saga = next(command for command in commands if command.role == "saga")
        second = Command(SECOND, [word.replace("saga@%h", f"{SECOND}@%h") for word in saga.argv], saga.env)
        return [self._proxy(), *commands, second]

    def _proxy(self) -> Command:
        behind = {"SANDBOX_URL": self.addresses.url("sandbox"), **self.through}
        routes = [f"--route={port.number}={behind[setting]}" for setting, port in self.routes.items()]
        words = [
            "-m",
            "tests.proofs.crash_matrix.proxy",
            *routes,
            "--folder",
            str(self.run_dir / FAULTS),
            "--time-scale",
            str(self.options.time_scale),
        ]
        return Command("proxy", [sys.executable, *words], {}, lambda: all(listens(port.number) for port in self.routes.values()))

    def _stop_everything(self) -> None:
        """What this stack has more than the shop's: the second worker leaves with the first, the broker after everybody."""
        self._stopping.set()
        if SECOND in self.children:
            self.children[SECOND].ask_to_stop()
        super()._stop_everything()
        for role in (SECOND, "proxy", "rabbitmq", "epmd"):
            if role in self.children:
                self.children[role].ask_to_stop()
                self.children[role].wait_until_gone()


def options(folder: Path, run_dir: Path, broker_url: str = "") -> StackOptions:
    """At the scale at which a lease is three seconds; the database is always its own."""
    return StackOptions(folder=folder, run_dir=run_dir, time_scale=0.1, broker_url=broker_url, with_flower=False)
