"""Promise: hundreds of orders under one kind of harm lose time only. Here the small versions; ``make storm`` runs the full ones."""

import json
import os
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.debian import install
from tests.engines import ROOT, RUN_DIR
from tests.proof_tests.commands import run_to_its_end
from tests.proofs.storms.scenarios import SCENARIOS

# What each small storm must have met, at least: a storm that met nothing has shown nothing.
MET = {
    "refunds": {"incidents": 6, "waited": 8, "refunded without a retry": 8, "kept": 2},
    "outage": {"waited at once": 15, "fulfilled": 48},
    "killed": {"in flight": 21, "in a provider call": 2},
    "wiped": {"messages lost": 2, "put in twice": 72, "mails": 24},
    "database": {"stops": 2, "more in the sweep": 1, "fulfilled": 61},
    "stalled": {"stalls": 4, "commits that hung": 4, "fulfilled": 100},
    "failover": {"failovers": 2, "refused with 503": 4, "fulfilled": 42},
    "restored": {"open in the backup": 8, "forgotten": 24, "listed": 20, "of them open": 3, "orders refused": 3, "decided by a person": 3},
    "leases": {"late at the provider": 5, "frozen": 10, "zombies that woke up": 10, "charges": 15},
    "divergences": {"clean orders": 60, "planted": 20, "found": 20},
    "broker": {"faults": 4},  # and a half-open line, where there are the means for it
    "stranded": {"stranded": 400, "poisonous incidents": 100, "relaunched": 300},
    "backlog": {"messages needed": 420},
    "starved": {"deliveries due": 1000, "delivered": 1000},
    "locked": {"cancelled": 1, "asked to come again": 1, "put off": 4},
    "exhausted": {"connections taken": 90, "of ours cut": 4, "answered 503": 30},
    "deploy": {"deploys": 2, "of the older release": 10, "of the newer release": 10, "left to newer code": 2},
    "poisoned": {"kinds": 70, "put in": 210, "refused": 210, "keys set aside": 3},
    "retries": {"keys": 40, "orders found": 40, "fulfilled": 40, "web workers killed": 3, "connections cut": 15, "without an answer": 5},
}
# In test_storm_money.py and test_storm_many.py, so that they run side by side.
OF_MONEY = ("refunds", "outage", "restored", "leases", "divergences")
OF_MANY = ("stranded", "backlog", "starved", "deploy", "poisoned", "retries")


def storm(folder: Path, run_dir: Path, name: str) -> tuple[int, dict[str, Any], str]:
    """(exit code, what the one storm printed, what a person sees)."""
    env = os.environ | {"RUN_DIR": str(run_dir)}
    words = [sys.executable, "manage.py", "storm", "--size", "small", "--only", name, "--json"]
    run = run_to_its_end(words, folder, env, within_s=420)
    assert run.stdout, run.stderr
    return run.returncode, json.loads(run.stdout)["storms"][0], run.stderr


@pytest.fixture(scope="module", autouse=True)
def lines_that_can_go_dead() -> None:
    """What the broker's storm needs for them, installed where that is possible."""
    if not shutil.which("ip"):
        install("iproute2")


def test_every_storm_has_its_small_version_here() -> None:
    assert set(MET) == {scenario.name for scenario in SCENARIOS}


def holds(name: str, show_figure: Callable[[str], None]) -> None:
    begun = time.monotonic()

    code, output, seen = storm(ROOT, RUN_DIR / "storm", name)

    assert output["breaches"] == []
    assert code == 0
    assert {what: output["counts"][what] for what in MET[name] if output["counts"][what] < MET[name][what]} == {}
    assert "not shown" not in output["counts"] or os.environ.get("CI") != "true", output["counts"]
    assert f"1 storms, {output['orders']:,} orders, 0 breaches" in seen
    show_figure(
        f"storm {name}: {', '.join(f'{what} {count}' for what, count in output['counts'].items())}; {time.monotonic() - begun:.0f} s"
    )


@pytest.mark.timeout(480)
@pytest.mark.parametrize("name", [name for name in MET if name not in OF_MONEY + OF_MANY])
def test_a_small_storm_holds(name: str, show_figure: Callable[[str], None]) -> None:
    """Whatever is down, killed, wiped or left behind: my order ends as it must, paid once or not at all."""
    holds(name, show_figure)
