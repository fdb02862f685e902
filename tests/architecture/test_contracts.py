"""Promise: arrows point down. The import contracts hold, and one that is broken is reported by name."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.engines import ROOT
from tests.proofs.checkout import CODE, copy_code

BROKEN = [
    ("fulfillment/stock.py", "import fulfillment.engine", "Steps call gateways and stock, never the engine, the journal or Celery"),
    ("fulfillment/engine/journal.py", "import fulfillment.engine.compensation", "The engine: what starts a transition is on top"),
    (
        "fulfillment/explanation/__init__.py",
        "import sideeffects.deliveries",
        "Arrows point down: entry points, then the core beside the side effects",
    ),
    ("orders/models.py", "import fulfillment.models", "Arrows point down: entry points, then the core beside the side effects"),
    (
        "tests/proofs/storms/storm.py",
        "import tests.proofs.storms.scenario",
        "Storms: scenarios and checks import the storm, the storm imports its means and no scenario",
    ),
    ("sideeffects/deliveries.py", "import celery", "Celery enters through two modules"),
    (
        "sideeffects/subscribers/email/subscriber.py",
        "import sideeffects.subscribers.loyalty.models",
        "Subscribers do not import each other",
    ),
]


def lint(folder: Path) -> tuple[int, str]:
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    run = subprocess.run(command, cwd=folder, env=os.environ | {"COLUMNS": "400"}, capture_output=True, text=True)
    return run.returncode, run.stdout + run.stderr


def test_all_contracts_are_kept() -> None:
    code, output = lint(ROOT)

    assert code == 0, output
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    assert f"{len(contracts)} kept, 0 broken" in output


@pytest.mark.parametrize(("file", "forbidden", "contract"), BROKEN, ids=[file for file, _, _ in BROKEN])
def test_a_contract_broken_on_purpose_is_reported(tmp_path: Path, file: str, forbidden: str, contract: str) -> None:
    copy_code(tmp_path, (*CODE, "tests", "pyproject.toml"))
    target = tmp_path / file
    target.write_text(f"{target.read_text()}\n{forbidden}\n")

    code, output = lint(tmp_path)

    assert code == 1, output
    assert any(line.startswith(contract) and "BROKEN" in line for line in _unwrapped(output)), output


def _unwrapped(output: str) -> list[str]:
    """One line per contract, however the terminal wrapped them."""
    return output.replace(" \n", " ").splitlines()
