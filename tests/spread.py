"""Pytest plugin: which process of the run is given which file.

A test that starts a shop mostly waits for it, and one that calls our code never waits. Two processes that run the first kind and one that runs the second keep two
cores busy from the beginning to the end; three of the first kind do not, and three of the second only get in each other's way. Within both kinds the longest file
comes first, so that no process is left alone with one at the end.

Files that share the fixture ``stack`` are one piece of work: one shop is started for all of them, and none stands idle in the other processes meanwhile.
"""

from functools import cache

import pytest
from xdist.scheduler import LoadFileScheduling
from xdist.workermanage import WorkerController

from tests import budgets

AT_ONCE = 2  # processes that wait for shops
SHARED = "the shop that tests share"
SHARING = ("browser", "promises")  # folders of tests that use it
A_STACK_OF_ITS_OWN = "RunningStack("
COMPUTING = ("test_model.py", "test_simulate_command.py", "test_simulation.py")  # proofs that wait for nobody


@pytest.hookimpl(tryfirst=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> "Spread | None":
    return Spread(config, log) if config.getvalue("dist") == "loadfile" else None


class Spread(LoadFileScheduling):
    def _split_scope(self, nodeid: str) -> str:
        file = budgets.file_of(nodeid)
        return SHARED if _shares(file) else file

    def _assign_work_unit(self, node: WorkerController) -> None:
        waiting = sum(self._waits(other) for other in self.nodes if other is not node)
        kinds = {_starts_a_shop(scope) for scope in self.workqueue}
        wanted = waiting < AT_ONCE if len(kinds) == 2 else kinds.pop()
        chosen = max((scope for scope in self.workqueue if _starts_a_shop(scope) == wanted), key=_seconds)
        self.workqueue.move_to_end(chosen, last=False)
        super()._assign_work_unit(node)

    def _waits(self, node: WorkerController) -> bool:
        """What it was given last is what it is at, or will be soon."""
        given = list(self.assigned_work[node])
        return bool(given) and _starts_a_shop(given[-1])


@cache
def _shares(file: str) -> bool:
    return budgets.folder_of(file) in SHARING and A_STACK_OF_ITS_OWN not in (budgets.ROOT / file).read_text()


def _starts_a_shop(scope: str) -> bool:
    return scope == SHARED or (budgets.folder_of(scope) in budgets.STACKS and not scope.endswith(COMPUTING))


def _seconds(scope: str) -> int:
    """In the last run that was kept."""
    if scope == SHARED:
        return sum(seconds for file, seconds in budgets.kept().items() if _shares(file))
    return budgets.kept().get(scope, 0)
