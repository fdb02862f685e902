"""A process of the shop that is measured by itself: ``relay``, or ``queries`` for how long the loops' queries take. It reads the variables that peers are given."""

import json
import os
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

from tests.bench.peers.programs.ours.program import VARIABLES

ROUNDS = 20
DUE = ("wake_at", "launched_at", "relayed_at")  # the columns by which a loop finds what is due


def relay() -> None:
    """Until SIGTERM."""
    from django.core.management import call_command

    call_command("relay")


def queries() -> None:
    from django.db import connection

    from fulfillment import recovery, tasks
    from sideeffects import relay as side_effects

    memory, marks = recovery.Memory(), side_effects.Marks()

    def sweep_round() -> None:
        for found in recovery.due(lambda: True, memory):
            tasks.launch_all(found)

    def relay_round() -> None:
        side_effects.run_round(lambda: True, marks)

    print(json.dumps({name: _slowest_ms(connection, one) for name, one in (("sweep", sweep_round), ("relay", relay_round))}))


def _slowest_ms(connection: Any, one_round: Callable[[], None]) -> float:
    """The median of the slowest statement that looks for what is due. The first rounds are left out: a loop that works has its marks."""
    times: dict[str, list[float]] = defaultdict(list)
    one_round()
    one_round()
    with connection.execute_wrapper(_timer(times)):
        for _ in range(ROUNDS):
            one_round()
    return max((statistics.median(found) for sql, found in times.items() if _looks_for_what_is_due(sql)), default=0.0)


def _looks_for_what_is_due(sql: str) -> bool:
    return sql.lstrip().startswith("SELECT") and any(column in sql for column in DUE)


def _timer(times: dict[str, list[float]]) -> Callable[..., Any]:
    def execute(run: Callable[..., Any], sql: str, values: Any, many: bool, context: Any) -> Any:
        begun = time.perf_counter()
        try:
            return run(sql, values, many, context)
        finally:
            times[sql].append(1000 * (time.perf_counter() - begun))

    return execute


def _set_up(process: str) -> None:
    os.environ |= VARIABLES | {"SAGA_PROCESS": process}
    import django

    django.setup()


if __name__ == "__main__":
    what, process = {"relay": (relay, "relay"), "queries": (queries, "sweep")}[sys.argv[1]]
    _set_up(process)
    what()
