"""A stack of which roles can be taken down: as an operator stops the shop, and leaves its database, its broker and its provider running.

``python -m tests.proofs.storms.roles_down`` runs it as ``manage.py up`` runs the shop's own.
"""

from config.stack.commands import answers
from config.stack.supervisor import Stack
from tests.proofs.black_box.waiting import wait_for
from tests.proofs.storms.deployable_stack import run
from tests.proofs.storms.storm import Storm

DOWN = "roles_down"  # a folder of the run directory: whoever is named by a file there is not started again
PROGRAM = ("-m", "tests.proofs.storms.roles_down")
OF_THE_SHOP = ("web", "saga", "sideeffects", "sweep", "relay")
AT_WORK = "SELECT count(*) FROM pg_stat_activity WHERE application_name ~ '^shop-(web|worker|sweep|relay)'"


class StackWithRolesDown(Stack):
    def _comes_back(self, role: str) -> bool:
        return not (self.run_dir / DOWN / role).exists()


def take_down(storm: Storm, *roles: str) -> None:
    """SIGKILL, and nobody starts them again."""
    folder = storm.run_dir / DOWN
    folder.mkdir(exist_ok=True)
    for role in roles:
        (folder / role).touch()
        storm.shop.kill_whole(role)


def bring_up(storm: Storm, *roles: str) -> None:
    """Started again; returns when the web answers, where it is one of them."""
    dead = {role: storm.stack.pid(role) for role in roles}
    for role in roles:
        (storm.run_dir / DOWN / role).unlink()
    for role in roles:
        storm.shop.wait_for_respawn(role, dead[role])
    if "web" in roles:
        wait_for(lambda: answers(storm.stack.info["web"] + "/healthz"), 30)


def wait_until_nobody_is_at_work(storm: Storm) -> None:
    """The server has noticed that they are gone."""
    wait_for(lambda: not storm.shop.sql(AT_WORK)[0][0], 20)


if __name__ == "__main__":
    run(StackWithRolesDown)
