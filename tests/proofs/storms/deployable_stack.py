"""A stack whose processes can be deployed one by one: each is started again with the code of another folder. Saga worker and sweep stand there twice, so that
an old one and a new one run side by side.

``python -m tests.proofs.storms.deployable_stack`` runs it as ``manage.py up --without-flower`` runs the shop's own.
"""

import os
from pathlib import Path

from config.stack.processes import Command
from config.stack.stop_signals import handle_signals
from config.stack.supervisor import Stack
from config.stack.terminal import options_from_settings

DEPLOYED = "deployed"  # a folder of the run directory: the file <role> names the folder whose code that role runs
TWINS = {"saga": "saga2", "sweep": "sweep2"}


class DeployableStack(Stack):
    def _folder_of(self, role: str) -> Path:
        file = self.run_dir / DEPLOYED / role
        return Path(file.read_text()) if file.exists() else super()._folder_of(role)

    def _commands(self) -> list[Command]:
        commands = super()._commands()
        twins = [
            Command(TWINS[one.role], [word.replace("saga@%h", "saga2@%h") for word in one.argv], one.env)
            for one in commands
            if one.role in TWINS
        ]
        return [*commands, *twins]

    def _everybody(self) -> dict[str, list[int]]:
        return super()._everybody() | {role: self.pids(role) for role in TWINS.values()}

    def _stop_everything(self) -> None:
        """The twins leave first."""
        self._stopping.set()
        twins = [self.children[role] for role in TWINS.values() if role in self.children]
        for twin in twins:
            twin.ask_to_stop()
        super()._stop_everything()
        for twin in twins:
            twin.wait_until_gone()


def run(kind: type[Stack]) -> None:
    """A stack of this kind, until it is asked to stop."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    handle_signals()
    try:
        with kind(options_from_settings(with_flower=False)) as stack:
            stack.wait()
    except KeyboardInterrupt:
        return


if __name__ == "__main__":
    run(DeployableStack)
